//! Where the columns that a policy reads stand in the mirror.

use super::bookings::Left;
use crate::policy::{Columns, View};
use crate::scheduler::columns::{SetRows, Values};
use crate::scheduler::{Error, Mirror};

/// The positions of the columns in a snapshot, found and checked once per load.
pub(super) struct Layout {
    pool: usize,
    schedulable: usize,
    total: usize,
    labels: usize,
    node: usize,
    cpus_total: usize,
    memory_total: usize,
    own: Vec<usize>,
}

impl Layout {
    /// Finds all columns and checks their types.
    pub(super) fn new(mirror: &Mirror, columns: Columns) -> Result<Self, Error> {
        let find = |name: &str, fits: fn(&Values) -> bool| {
            let position = mirror.position(name).filter(|position| fits(mirror.values(*position)));
            let missing = || Error::Unsupported(format!("candidate column {name} is missing, or of another type"));
            position.ok_or_else(missing)
        };
        let u64s = |values: &Values| matches!(values, Values::U64s(_));
        let symbols = |values: &Values| matches!(values, Values::Symbols(_));
        for booked in ["disk.free", "cpu.free", "memory.free"] {
            find(booked, u64s)?;
        }
        Ok(Self {
            pool: find("pool", symbols)?,
            schedulable: find("schedulable", u64s)?,
            total: find("disk.total", u64s)?,
            labels: find("labels", |values| matches!(values, Values::Sets(_)))?,
            node: find("node", symbols)?,
            cpus_total: find("cpu.total", u64s)?,
            memory_total: find("memory.total", u64s)?,
            own: columns
                .candidate
                .iter()
                .map(|name| find(name, |_| true))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The policy's own columns.
    pub(super) fn own<'a>(&self, mirror: &'a Mirror) -> Vec<&'a Values> {
        self.own.iter().map(|position| mirror.values(*position)).collect()
    }

    /// The rows' nodes.
    #[inline]
    pub(super) fn nodes<'a>(&self, mirror: &'a Mirror) -> &'a [u32] {
        symbols(mirror, self.node)
    }

    /// All rows, with what is left according to the batch.
    #[inline]
    pub(super) fn view<'a>(&self, mirror: &'a Mirror, left: &'a Left, extra: &'a [&'a Values]) -> View<'a> {
        let rows = mirror.rows();
        View {
            rows,
            schedulable: u64s(mirror, self.schedulable),
            total: u64s(mirror, self.total),
            free: &left.disk[..rows],
            pool: symbols(mirror, self.pool),
            labels: sets(mirror, self.labels),
            node: self.nodes(mirror),
            cpus_total: u64s(mirror, self.cpus_total),
            cpus_free: &left.cpus[..rows],
            memory_total: u64s(mirror, self.memory_total),
            memory_free: &left.memory[..rows],
            extra,
            symbols: mirror.symbols(),
        }
    }
}

// The types were checked by `Layout::new`: the other arms are never taken.

#[inline]
fn u64s(mirror: &Mirror, position: usize) -> &[u64] {
    if let Values::U64s(values) = mirror.values(position) {
        &values[..mirror.rows()]
    } else {
        &[]
    }
}

#[inline]
fn symbols(mirror: &Mirror, position: usize) -> &[u32] {
    if let Values::Symbols(values) = mirror.values(position) {
        &values[..mirror.rows()]
    } else {
        &[]
    }
}

#[inline]
fn sets(mirror: &Mirror, position: usize) -> &SetRows {
    static NONE: SetRows = SetRows::EMPTY;
    if let Values::Sets(rows) = mirror.values(position) {
        rows
    } else {
        &NONE
    }
}
