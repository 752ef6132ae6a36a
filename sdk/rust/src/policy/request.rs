//! One request as a policy sees it.

use crate::scheduler::columns::Values;
use crate::scheduler::symbols::{Symbol, Symbols};

/// What is to be placed.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub(crate) shape: usize,
    pub(crate) bytes: u64,
    pub(crate) pool: u32,
    pub(crate) require: &'a [u32],
    pub(crate) extra: &'a [&'a Values],
    pub(crate) symbols: &'a Symbols,
}

impl<'a> Request<'a> {
    /// Size on disk, in bytes.
    #[must_use]
    #[inline(always)]
    pub const fn disk_bytes(&self) -> u64 {
        self.bytes
    }

    /// The pool that was asked for; `Symbol::NONE` when any will do.
    #[must_use]
    #[inline(always)]
    pub const fn pool(&self) -> Symbol {
        Symbol(self.pool)
    }

    /// The labels that the node must have, each `key=value`, as symbols in ascending order.
    #[must_use]
    #[inline(always)]
    pub const fn require(&self) -> &'a [u32] {
        self.require
    }

    /// The whole number in the policy's own column at this position of `Columns::with_request`; 0 when that column
    /// holds something else.
    #[must_use]
    pub fn number(&self, column: usize) -> u64 {
        match self.extra[column] {
            Values::U64s(values) => values[self.shape],
            Values::Symbols(values) => u64::from(values[self.shape]),
            Values::F32s(_) | Values::Sets(_) => 0,
        }
    }

    /// The text of the symbol in the policy's own column at this position of `Columns::with_request`.
    #[must_use]
    pub fn text(&self, column: usize) -> &'a str {
        match self.extra[column] {
            Values::Symbols(values) => self.symbols.text(Symbol(values[self.shape])),
            Values::U64s(_) | Values::F32s(_) | Values::Sets(_) => "",
        }
    }
}
