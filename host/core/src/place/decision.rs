//! What a policy answers, and how it explains itself.

use serde::{Deserialize, Serialize};

/// Most filters named in one explanation.
pub const FILTERS_MAX: usize = 64;
/// Longest text of a refusal, in bytes.
pub const DETAIL_BYTES_MAX: usize = 200;

/// What a policy says of one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This candidate.
    Chosen {
        /// Its row.
        row: u32,
        /// Higher is better.
        score: f32,
    },
    /// None of them.
    Unplaceable {
        /// Which filters removed how many.
        removed: Vec<Removed>,
    },
}

/// How many candidates a filter removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The filter.
    pub filter: String,
    /// Candidates.
    pub rows: u32,
}

/// What became of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The node.
    pub node: String,
    /// The pool.
    pub pool: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Removed by a filter, or scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A filter removed it.
    Removed(Refusal),
    /// It was scored.
    Scored {
        /// The sum of the parts.
        score: f32,
        /// What it is made of.
        parts: Vec<Part>,
    },
}

/// Why a filter removed a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The filter.
    pub filter: String,
    /// What the request wants; 0 when the filter compares no numbers.
    pub wanted: u64,
    /// What the candidate has.
    pub available: u64,
    /// One line for a person.
    pub detail: String,
}

/// One part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it measures.
    pub name: String,
    /// How much it adds.
    pub value: f32,
}
