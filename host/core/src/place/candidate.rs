//! Who may take a request: one row per pool of each node, in an order that never depends on chance.

use std::collections::HashMap;
use std::sync::Arc;

use crate::counter::Revision;
use crate::labels::Labels;
use crate::name::Name;
use crate::node::Node;

use super::ledger::Ledger;

/// What a node has for machines; all zero where it runs none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Virtual processors that may be claimed.
    pub cpus_total: u64,
    /// Those that no claim has taken.
    pub cpus_free: u64,
    /// Memory that may be claimed, in bytes.
    pub memory_total_bytes: u64,
    /// What no claim has taken, in bytes.
    pub memory_free_bytes: u64,
}

/// One place that may take a volume, or a machine with its volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: Name,
    /// The pool on it.
    pub pool: Name,
    /// Whether new work may go there.
    pub schedulable: bool,
    /// What the pool can hold, in bytes.
    pub total_bytes: u64,
    /// What no claim has taken, in bytes.
    pub free_bytes: u64,
    /// What the node has for machines: the same in all rows of a node.
    pub room: Room,
    /// The node's labels.
    pub labels: Arc<Labels>,
}

/// All candidates, as of one revision of the store. Rows are ordered by node name, then pool name.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    revision: Revision,
    rows: Vec<Arc<Candidate>>,
    row_of: Arc<HashMap<(Name, Name), u32>>,
}

impl Candidates {
    /// Builds the table. Nodes may come in any order; a node without a ledger has no claims.
    #[must_use]
    pub fn build<'a>(revision: Revision, nodes: impl IntoIterator<Item = (&'a Node, Option<&'a Ledger>)>) -> Self {
        let rows = nodes
            .into_iter()
            .flat_map(|(node, ledger)| rows_of(node, ledger))
            .collect();
        Self::from_rows(revision, rows)
    }

    /// Builds the table from rows, in any order.
    #[must_use]
    pub fn from_rows(revision: Revision, mut rows: Vec<Candidate>) -> Self {
        rows.sort_by(|a, b| (&a.node, &a.pool).cmp(&(&b.node, &b.pool)));
        let row_of = (0_u32..)
            .zip(&rows)
            .map(|(row, c)| ((c.node.clone(), c.pool.clone()), row))
            .collect();
        Self {
            revision,
            rows: rows.into_iter().map(Arc::new).collect(),
            row_of: Arc::new(row_of),
        }
    }

    /// The same table at a later revision. Rows that did not change stay the same in memory, so that what differs from
    /// an earlier table is found by address. Nodes and pools must be the same, else the table is built anew.
    #[must_use]
    pub fn refreshed<'a>(
        &self,
        revision: Revision,
        nodes: impl IntoIterator<Item = (&'a Node, Option<&'a Ledger>)>,
    ) -> Self {
        let mut next = Self::build(revision, nodes);
        if self.rows.len() == next.rows.len() {
            for (old, new) in self.rows.iter().zip(&mut next.rows) {
                if old == new {
                    *new = Arc::clone(old);
                }
            }
        }
        next
    }

    /// The store's revision that the table is of.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Arc<Candidate>] {
        &self.rows
    }

    /// The row of a pool.
    #[must_use]
    pub fn row_of(&self, node: &Name, pool: &Name) -> Option<u32> {
        self.row_of.get(&(node.clone(), pool.clone())).copied()
    }

    /// Replaces one row's free bytes, as of a later revision.
    #[must_use]
    pub fn with_free_bytes(&self, revision: Revision, row: u32, free_bytes: u64) -> Self {
        let mut next = self.clone();
        next.revision = revision;
        if let Some(slot) = next.rows.get_mut(row as usize) {
            *slot = Arc::new(Candidate {
                free_bytes,
                ..(**slot).clone()
            });
        }
        next
    }
}

fn rows_of(node: &Node, ledger: Option<&Ledger>) -> Vec<Candidate> {
    let labels = Arc::new(node.meta.labels.clone());
    let room = room_of(node, ledger);
    let row = |pool: &crate::node::Pool| Candidate {
        node: node.meta.name.clone(),
        pool: pool.name.clone(),
        schedulable: node.is_schedulable(),
        total_bytes: pool.capacity_bytes,
        free_bytes: pool
            .capacity_bytes
            .saturating_sub(ledger.map_or(0, |ledger| ledger.claimed_bytes(&pool.name))),
        room,
        labels: Arc::clone(&labels),
    };
    node.status.pools.iter().map(row).collect()
}

fn room_of(node: &Node, ledger: Option<&Ledger>) -> Room {
    let Some(compute) = &node.status.compute else {
        return Room::default();
    };
    let claimed = ledger.map(Ledger::machines).unwrap_or_default();
    Room {
        cpus_total: compute.cpus_claimable(),
        cpus_free: compute.cpus_claimable().saturating_sub(claimed.cpus),
        memory_total_bytes: compute.memory_bytes,
        memory_free_bytes: compute.memory_bytes.saturating_sub(claimed.memory_bytes),
    }
}
