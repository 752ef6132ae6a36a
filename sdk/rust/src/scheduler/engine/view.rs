//! Where the columns that a policy reads stand in the mirror.

use crate::policy::{Columns, View};
use crate::scheduler::columns::{SetRows, Values};
use crate::scheduler::{Error, Mirror};

/// The positions of the columns in a snapshot, found and checked once per load.
pub(super) struct Layout {
    pool: usize,
    schedulable: usize,
    total: usize,
    labels: usize,
    node: Option<usize>,
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
        find("disk.free", u64s)?;
        Ok(Self {
            pool: find("pool", symbols)?,
            schedulable: find("schedulable", u64s)?,
            total: find("disk.total", u64s)?,
            labels: find("labels", |values| matches!(values, Values::Sets(_)))?,
            node: if columns.names {
                Some(find("node", symbols)?)
            } else {
                None
            },
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

    /// All rows, with what is free according to the batch.
    #[inline]
    pub(super) fn view<'a>(&self, mirror: &'a Mirror, free: &'a [u64], extra: &'a [&'a Values]) -> View<'a> {
        let rows = mirror.rows();
        View {
            rows,
            schedulable: u64s(mirror, self.schedulable),
            total: u64s(mirror, self.total),
            free: &free[..rows],
            pool: symbols(mirror, self.pool),
            labels: sets(mirror, self.labels),
            node: self.node.map(|position| symbols(mirror, position)),
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
