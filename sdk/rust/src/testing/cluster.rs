//! What is there, and what is asked for.

use std::ops::Range;

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
    /// Virtual processors that the node's machines may claim; 0 on a node that runs none. The same in all rows of a node.
    pub cpus_total: u64,
    /// Virtual processors that no claim has taken.
    pub cpus_free: u64,
    /// Memory that the node's machines may claim, in bytes.
    pub memory_total: u64,
    /// Memory that no claim has taken, in bytes.
    pub memory_free: u64,
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

    /// Adds a pool of a node. The node has the processors and the memory of its other pools; the first one has none.
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
                cpus_total: 0,
                cpus_free: 0,
                memory_total: 0,
                memory_free: 0,
                labels,
                numbers,
                ratios,
            },
        );
        let node = self.rows_of_node(self.last);
        if let Some(sibling) = node.into_iter().find(|row| *row != self.last) {
            self.share_node(sibling);
        }
        self
    }

    /// Gives the node of the pool that was added last so many virtual processors for machines.
    #[must_use]
    pub fn cpus(mut self, total: u64, free: u64) -> Self {
        let row = self.added();
        (row.cpus_total, row.cpus_free) = (total, free);
        self.share_node(self.last);
        self
    }

    /// Gives the node of the pool that was added last so much memory for machines, in bytes.
    #[must_use]
    pub fn memory(mut self, total: u64, free: u64) -> Self {
        let row = self.added();
        (row.memory_total, row.memory_free) = (total, free);
        self.share_node(self.last);
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

    /// The rows of a row's node.
    pub(super) fn rows_of_node(&self, row: usize) -> Range<usize> {
        let node = &self.rows[row].node;
        let first = self.rows.partition_point(|row| row.node < *node);
        let count = self.rows[first..].iter().take_while(|row| row.node == *node).count();
        first..first + count
    }

    /// Gives all rows of a row's node its processors and memory, and says which they are.
    pub(super) fn share_node(&mut self, row: usize) -> Range<usize> {
        let Row {
            cpus_total,
            cpus_free,
            memory_total,
            memory_free,
            ..
        } = self.rows[row];
        let rows = self.rows_of_node(row);
        for sibling in &mut self.rows[rows.clone()] {
            (sibling.cpus_total, sibling.cpus_free) = (cpus_total, cpus_free);
            (sibling.memory_total, sibling.memory_free) = (memory_total, memory_free);
        }
        rows
    }

    fn added(&mut self) -> &mut Row {
        // Every caller has added a pool before: the builder offers nothing else to be changed.
        &mut self.rows[self.last]
    }
}

/// What one request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Want {
    /// Size on disk, in bytes.
    pub bytes: u64,
    /// Virtual processors; 0 for a volume.
    pub cpus: u64,
    /// Memory, in bytes; 0 for a volume.
    pub memory: u64,
    /// The pool that it must be in; any when there is none.
    pub pool: Option<String>,
    /// The labels that the node must have, each `key=value`.
    pub require: Vec<String>,
    /// The labels that the node should have, each `key=value`.
    pub prefer: Vec<String>,
    /// The node that it must be on; any when there is none.
    pub node: Option<String>,
    /// The nodes that it must not be on.
    pub avoid: Vec<String>,
    /// The nodes of which it must be on one; any when there is none.
    pub near: Vec<String>,
    /// The policy's own columns; whole numbers.
    pub numbers: Vec<(String, u64)>,
}

impl Want {
    /// So many bytes, anywhere.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self {
            bytes,
            cpus: 0,
            memory: 0,
            pool: None,
            require: Vec::new(),
            prefer: Vec::new(),
            node: None,
            avoid: Vec::new(),
            near: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// A machine with so many virtual processors and so many bytes of memory, anywhere; without new volumes.
    #[must_use]
    pub fn machine(cpus: u64, memory: u64) -> Self {
        Self {
            cpus,
            memory,
            ..Self::bytes(0)
        }
    }

    /// With volumes of so many bytes together.
    #[must_use]
    pub fn disk(self, bytes: u64) -> Self {
        Self { bytes, ..self }
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

    /// Rather on nodes with this label, given as `key=value`.
    #[must_use]
    pub fn prefer(mut self, label: &str) -> Self {
        self.prefer.push(label.to_owned());
        self
    }

    /// On this node only.
    #[must_use]
    pub fn node(self, node: &str) -> Self {
        Self {
            node: Some(node.to_owned()),
            ..self
        }
    }

    /// Not on this node: a machine is there that it must be apart from.
    #[must_use]
    pub fn avoid(mut self, node: &str) -> Self {
        self.avoid.push(node.to_owned());
        self
    }

    /// On this node or another that is named so: machines are there that it must be near.
    #[must_use]
    pub fn near(mut self, node: &str) -> Self {
        self.near.push(node.to_owned());
        self
    }

    /// A whole number in a column of the policy's own.
    #[must_use]
    pub fn number(mut self, column: &str, value: u64) -> Self {
        self.numbers.push((column.to_owned(), value));
        self
    }
}
