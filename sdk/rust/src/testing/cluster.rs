//! What is there, and what is asked for.

use super::session::{Placed, Session};
use crate::policy::Policy;
use crate::scheduler::Engine;

/// One pool of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The node's name.
    pub node: String,
    /// The pool's name.
    pub pool: String,
    /// Whether new work may go there.
    pub schedulable: bool,
    /// Size of the pool, in bytes.
    pub total: u64,
    /// What no claim has taken, in bytes.
    pub free: u64,
    /// Labels, each `key=value`.
    pub labels: Vec<String>,
    /// The policy's own columns that are whole numbers.
    pub numbers: Vec<(String, u64)>,
    /// The policy's own columns that are ratios.
    pub ratios: Vec<(String, f32)>,
}

/// The pools of all nodes, in the order that the host keeps them in: by node, then by pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cluster {
    rows: Vec<Row>,
    last: usize,
}

impl Cluster {
    /// No nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pool of a node.
    #[must_use]
    pub fn pool(mut self, node: &str, pool: &str, total: u64, free: u64) -> Self {
        let (node, pool) = (node.to_owned(), pool.to_owned());
        self.last = self.rows.partition_point(|row| (&row.node, &row.pool) < (&node, &pool));
        let (labels, numbers, ratios) = (Vec::new(), Vec::new(), Vec::new());
        self.rows.insert(
            self.last,
            Row {
                node,
                pool,
                schedulable: true,
                total,
                free,
                labels,
                numbers,
                ratios,
            },
        );
        self
    }

    /// Gives the pool that was added last these labels, each `key=value`.
    #[must_use]
    pub fn labels(mut self, labels: &[&str]) -> Self {
        self.added().labels = labels.iter().map(|&label| label.to_owned()).collect();
        self
    }

    /// Has the pool that was added last take no new work.
    #[must_use]
    pub fn cordoned(mut self) -> Self {
        self.added().schedulable = false;
        self
    }

    /// Gives the pool that was added last a whole number in a column of the policy's own.
    #[must_use]
    pub fn number(mut self, column: &str, value: u64) -> Self {
        self.added().numbers.push((column.to_owned(), value));
        self
    }

    /// Gives the pool that was added last a ratio in a column of the policy's own.
    #[must_use]
    pub fn ratio(mut self, column: &str, value: f32) -> Self {
        self.added().ratios.push((column.to_owned(), value));
        self
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Its rows, to be changed. Names are to stay.
    pub fn rows_mut(&mut self) -> &mut [Row] {
        &mut self.rows
    }

    /// Places requests in one batch, each seeing those before it. Takes nothing from the cluster.
    ///
    /// # Panics
    /// When the policy breaks the protocol.
    #[must_use]
    pub fn place<P: Policy>(&self, policy: P, wants: &[Want]) -> Vec<Placed> {
        Session::start(Engine::new(policy), self.clone()).place(wants)
    }

    fn added(&mut self) -> &mut Row {
        // Every caller has added a pool before: the builder offers nothing else to be changed.
        &mut self.rows[self.last]
    }
}

/// What one request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Want {
    /// Size on disk, in bytes.
    pub bytes: u64,
    /// The pool that it must be in; any when there is none.
    pub pool: Option<String>,
    /// The labels that the node must have, each `key=value`.
    pub require: Vec<String>,
    /// The policy's own columns; whole numbers.
    pub numbers: Vec<(String, u64)>,
}

impl Want {
    /// So many bytes, anywhere.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self {
            bytes,
            pool: None,
            require: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// In this pool only.
    #[must_use]
    pub fn pool(self, pool: &str) -> Self {
        Self {
            pool: Some(pool.to_owned()),
            ..self
        }
    }

    /// Only on nodes with this label, given as `key=value`.
    #[must_use]
    pub fn require(mut self, label: &str) -> Self {
        self.require.push(label.to_owned());
        self
    }

    /// A whole number in a column of the policy's own.
    #[must_use]
    pub fn number(mut self, column: &str, value: u64) -> Self {
        self.numbers.push((column.to_owned(), value));
        self
    }
}
