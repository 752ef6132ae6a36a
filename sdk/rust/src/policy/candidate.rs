//! One row as a policy sees it: a node, or one pool of a node.

use crate::scheduler::columns::{SetRows, Values};
use crate::scheduler::symbols::{Symbol, Symbols};

/// The columns of all rows, each exactly as long as there are rows.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) rows: usize,
    pub(crate) schedulable: &'a [u64],
    pub(crate) total: &'a [u64],
    pub(crate) free: &'a [u64],
    pub(crate) pool: &'a [u32],
    pub(crate) labels: &'a SetRows,
    pub(crate) node: &'a [u32],
    pub(crate) cpus_total: &'a [u64],
    pub(crate) cpus_free: &'a [u64],
    pub(crate) memory_total: &'a [u64],
    pub(crate) memory_free: &'a [u64],
    pub(crate) extra: &'a [&'a Values],
    pub(crate) symbols: &'a Symbols,
}

impl<'a> View<'a> {
    /// One row.
    #[inline(always)]
    pub(crate) fn candidate(&'a self, row: usize) -> Candidate<'a> {
        Candidate::new(
            self,
            row,
            self.schedulable[row],
            self.total[row],
            self.free[row],
            self.pool[row],
        )
    }
}

/// A node (or one pool of a node) that may take a request.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    row: usize,
    schedulable: bool,
    total: u64,
    free: u64,
    pool: u32,
    view: &'a View<'a>,
}

impl<'a> Candidate<'a> {
    /// A row whose values were read already: in a scan the compiler drops those that the policy never asks for.
    #[inline(always)]
    pub(crate) const fn new(
        view: &'a View<'a>,
        row: usize,
        schedulable: u64,
        total: u64,
        free: u64,
        pool: u32,
    ) -> Self {
        Self {
            row,
            schedulable: schedulable != 0,
            total,
            free,
            pool,
            view,
        }
    }

    /// Its position in the fixed order of rows.
    #[must_use]
    #[inline(always)]
    pub const fn row(&self) -> usize {
        self.row
    }

    /// Whether new work may go there.
    #[must_use]
    #[inline(always)]
    pub const fn schedulable(&self) -> bool {
        self.schedulable
    }

    /// Size of the pool, in bytes.
    #[must_use]
    #[inline(always)]
    pub const fn disk_total(&self) -> u64 {
        self.total
    }

    /// What no claim has taken of the pool, in bytes. Within a batch, less what earlier requests were given.
    #[must_use]
    #[inline(always)]
    pub const fn disk_free(&self) -> u64 {
        self.free
    }

    /// The pool's name as a symbol: comparing symbols is comparing numbers.
    #[must_use]
    #[inline(always)]
    pub const fn pool(&self) -> Symbol {
        Symbol(self.pool)
    }

    /// How many virtual processors the node's machines may claim; 0 on a node that runs none. The node's, not the
    /// pool's: all rows of a node say the same.
    #[must_use]
    #[inline(always)]
    pub fn cpus_total(&self) -> u64 {
        self.view.cpus_total[self.row]
    }

    /// How many virtual processors of the node no claim has taken. Within a batch, less what earlier requests were
    /// given, whichever of the node's rows they went to.
    #[must_use]
    #[inline(always)]
    pub fn cpus_free(&self) -> u64 {
        self.view.cpus_free[self.row]
    }

    /// Memory that the node's machines may claim, in bytes; 0 on a node that runs none. The node's, not the pool's.
    #[must_use]
    #[inline(always)]
    pub fn memory_total(&self) -> u64 {
        self.view.memory_total[self.row]
    }

    /// Memory of the node that no claim has taken, in bytes. Within a batch, less what earlier requests were given,
    /// whichever of the node's rows they went to.
    #[must_use]
    #[inline(always)]
    pub fn memory_free(&self) -> u64 {
        self.view.memory_free[self.row]
    }

    /// The node's name as a symbol: the same in all rows of a node.
    #[must_use]
    #[inline(always)]
    pub fn node(&self) -> Symbol {
        Symbol(self.view.node[self.row])
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.view.symbols.text(self.node())
    }

    /// Its labels, each `key=value`, as symbols. Their order is that of the symbols' numbers, which differs from one load
    /// to the next: a score must not depend on it.
    #[must_use]
    #[inline]
    pub fn labels(&self) -> &'a [u32] {
        self.view.labels.row(self.row)
    }

    /// Whether it has this label, given as `key=value`.
    #[must_use]
    pub fn has_label(&self, label: &str) -> bool {
        self.labels()
            .iter()
            .any(|symbol| self.view.symbols.text(Symbol(*symbol)) == label)
    }

    /// The value of a label by its key; the first in the alphabet when it has several.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'a str> {
        let texts = self
            .labels()
            .iter()
            .map(|symbol| self.view.symbols.text(Symbol(*symbol)));
        texts
            .filter_map(|text| text.split_once('='))
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .min()
    }

    /// The whole number in the policy's own column at this position of `Columns::with_candidate`; 0 when that column
    /// holds something else.
    #[must_use]
    #[inline]
    pub fn number(&self, column: usize) -> u64 {
        match self.view.extra[column] {
            Values::U64s(values) => values[self.row],
            Values::Symbols(values) => u64::from(values[self.row]),
            Values::F32s(_) | Values::Sets(_) => 0,
        }
    }

    /// The ratio in the policy's own column at this position of `Columns::with_candidate`; 0 when that column holds
    /// something else.
    #[must_use]
    #[inline]
    pub fn ratio(&self, column: usize) -> f32 {
        match self.view.extra[column] {
            Values::F32s(values) => values[self.row],
            Values::U64s(_) | Values::Symbols(_) | Values::Sets(_) => 0.0,
        }
    }

    /// The text of the symbol in the policy's own column at this position of `Columns::with_candidate`.
    #[must_use]
    pub fn text(&self, column: usize) -> &'a str {
        match self.view.extra[column] {
            Values::Symbols(values) => self.view.symbols.text(Symbol(values[self.row])),
            Values::U64s(_) | Values::F32s(_) | Values::Sets(_) => "",
        }
    }
}
