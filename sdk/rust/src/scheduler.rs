//! What a scheduler is made of: resident rows, the digest that proves them, the score cache, and the engine over all.
//!
//! Authors of a [`crate::Policy`] need none of it by name. Authors of a [`RawScheduler`] get the same [`Mirror`].

pub(crate) mod cache;
pub(crate) mod columns;
mod digest;
mod engine;
mod mirror;
pub(crate) mod ranking;
mod raw;
pub(crate) mod shapes;
pub(crate) mod symbols;

pub use columns::{SetRows, Values};
pub use digest::{mix, row_seed};
pub use engine::Engine;
pub use mirror::Mirror;
pub use raw::RawScheduler;
pub use symbols::{Symbol, Symbols};

pub use crate::bindings::scheduler::symphony::plugin::scheduling::{
    Batch, Column, ColumnData, Decisions, Delta, Descriptor, Error, Outcome, Part, Refusal, Removed, Sets, Snapshot,
    Stamp, Symbols as SymbolNames, Unplaceable, Verdict,
};

/// The row number that says "none" in [`Decisions::rows`].
pub const NO_ROW: u32 = u32::MAX;
