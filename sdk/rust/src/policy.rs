//! The simple way to write a scheduler: say which nodes are out, and how good the others are.
//!
//! Everything else is the SDK's: state, deltas, digests, the score cache, bookings in a batch, ties, explanations.

mod candidate;
mod columns;
mod request;
mod score;

pub use candidate::Candidate;
pub(crate) use candidate::View;
pub use columns::{Columns, StandardFilters};
pub use request::Request;
pub use score::{PARTS_MAX, Reason, Score};

/// A placement policy.
///
/// **The contract**: `filter` and `score` are pure functions of the request and of the node's row. They see no other
/// node, no counter, no memory of earlier calls. The score cache rests on it; [`crate::testing::Check`] tries it out.
///
/// A request is a volume, or a machine with the volumes that it brings ([`Request::is_for_machine`]); a row is a pool of
/// a node for both. Processors and memory are the node's: what a batch books of them is gone in all rows of the node.
///
/// Among equal scores the first row wins (by node name, then by pool name).
pub trait Policy: 'static {
    /// Lower case, digits and `-`; at most 63 bytes. The same as in `[package.metadata.symphony]`.
    const NAME: &'static str;

    /// JSON Schema of the configuration; empty when there is none to give.
    const CONFIG_SCHEMA: &'static str = "";

    /// The columns that the policy reads beside the standard ones.
    const COLUMNS: Columns = Columns::STANDARD;

    /// The filters that the SDK applies before the policy's own. Turning one off does not widen what the host accepts.
    const FILTERS: StandardFilters = StandardFilters::ALL;

    /// Whether scores may be kept per request shape. Turn it off to have each request scan all nodes.
    const CACHE: bool = true;

    /// Takes the configuration. Unless overridden, anything but an empty object is refused.
    ///
    /// # Errors
    /// What is wrong and where, for a person.
    fn configure(&mut self, json: &str) -> Result<(), String> {
        crate::config::expect_empty(json)
    }

    /// Says why this node may not take the request. Asked after the standard filters, cheapest check first.
    ///
    /// # Errors
    /// The reason, with the numbers that were compared.
    #[inline]
    fn filter(&self, request: &Request<'_>, node: &Candidate<'_>) -> Result<(), Reason> {
        let _ = (request, node);
        Ok(())
    }

    /// How good this node is for the request: higher is better. NaN and negative infinity mean "not this one".
    ///
    /// A scan asks for it row by row. `#[inline(always)]` lets the compiler leave out of a scan what the request does not
    /// ask for (a volume's has no branch for machines then) and the parts that nobody reads: up to five times as fast.
    fn score(&self, request: &Request<'_>, node: &Candidate<'_>) -> Score;
}
