//! Placement: requests on one side, candidates on the other, a policy between them that nobody has to trust.
//!
//! - [`request`]: what is to be placed.
//! - [`candidate`]: who may take it; the table is rebuilt from nodes and ledgers, in an order that is always the same.
//! - [`decision`]: what a policy answers. [`check`]: what the host takes of it.
//! - [`ledger`]: claims, the only truth about capacity.
//! - [`mirror`]: the candidates as the columns that a resident plugin holds.
//! - [`builtin`]: the policy that serves when no plugin does; also the oracle in tests.

pub mod builtin;
pub mod candidate;
pub mod check;
pub mod decision;
pub mod ledger;
pub mod mirror;
pub mod request;

pub use candidate::{Candidate, Candidates, Room};
pub use check::{AnswerFault, Bookings, Left, Violation};
pub use decision::{Answer, Outcome, Part, Refusal, Removed, Verdict};
pub use ledger::{Ledger, LedgerError, MachineClaims};
pub use request::{Request, Surroundings};

#[cfg(test)]
mod tests;
