//! What the host takes of a policy's answers. A plugin can place badly, never illegally.
//!
//! Two levels: an answer that is wrong as a whole (its length, a NaN) is an [`AnswerFault`] and none of it is used; a
//! single choice that breaks a hard rule is a [`Violation`] and only that choice is dropped.

use crate::quantity::Bytes;

use super::candidate::{Candidate, Candidates};
use super::decision::Answer;
use super::request::Request;

/// Why a whole answer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// Not one decision for each request.
    #[error("{got} decisions were given for {wanted} requests")]
    Count {
        /// Requests in the batch.
        wanted: usize,
        /// Decisions in the answer.
        got: usize,
    },
    /// A score that is not a number.
    #[error("the score of request {request} is not a number")]
    Nan {
        /// Its position in the batch.
        request: usize,
    },
}

/// Why one choice is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// There is no such row.
    #[error("candidate {row} does not exist; there are {rows}")]
    UnknownCandidate {
        /// The row that was named.
        row: u32,
        /// How many there are.
        rows: usize,
    },
    /// The node takes no new work.
    #[error("node {node} takes no new work")]
    Unschedulable {
        /// The node.
        node: String,
    },
    /// Not enough room, counting what the batch booked before.
    #[error("node {node} has {} free in pool {pool}, and {} are wanted", Bytes(*free_bytes), Bytes(*wanted_bytes))]
    OverCommit {
        /// The node.
        node: String,
        /// The pool.
        pool: String,
        /// What the request wants.
        wanted_bytes: u64,
        /// What is left.
        free_bytes: u64,
    },
    /// Not the pool that the request names.
    #[error("pool {pool} was chosen, and the request is for pool {wanted}")]
    WrongPool {
        /// What was chosen.
        pool: String,
        /// What was asked for.
        wanted: String,
    },
    /// The node lacks a label that the request needs.
    #[error("node {node} lacks the label {label}")]
    MissingLabel {
        /// The node.
        node: String,
        /// The label.
        label: String,
    },
}

impl Violation {
    /// One word for events, metrics and explanations.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownCandidate { .. } => "unknown-candidate",
            Self::Unschedulable { .. } => "unschedulable",
            Self::OverCommit { .. } => "over-commit",
            Self::WrongPool { .. } => "wrong-pool",
            Self::MissingLabel { .. } => "missing-label",
        }
    }
}

/// What a batch has booked so far, on top of the candidates' claims.
#[derive(Debug, Default)]
pub struct Bookings {
    by_row: std::collections::HashMap<u32, u64>,
}

impl Bookings {
    /// What a row has left, counting the bookings.
    #[must_use]
    pub fn free_bytes(&self, candidates: &Candidates, row: u32) -> u64 {
        let free = candidates
            .rows()
            .get(row as usize)
            .map_or(0, |candidate| candidate.free_bytes);
        free.saturating_sub(self.by_row.get(&row).copied().unwrap_or(0))
    }

    /// Books a choice that passed [`choice`].
    pub fn book(&mut self, row: u32, bytes: u64) {
        *self.by_row.entry(row).or_default() += bytes;
    }
}

/// Checks an answer as a whole.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn answers(requests: usize, answers: &[Answer]) -> Result<(), AnswerFault> {
    if answers.len() != requests {
        return Err(AnswerFault::Count {
            wanted: requests,
            got: answers.len(),
        });
    }
    let nan = |answer: &Answer| matches!(answer, Answer::Chosen { score, .. } if score.is_nan());
    match answers.iter().position(nan) {
        Some(request) => Err(AnswerFault::Nan { request }),
        None => Ok(()),
    }
}

/// Checks one choice against the hard rules.
///
/// # Errors
/// The first rule that it breaks.
pub fn choice<'a>(
    candidates: &'a Candidates,
    bookings: &Bookings,
    request: &Request,
    row: u32,
) -> Result<&'a Candidate, Violation> {
    let rows = candidates.rows();
    let candidate = rows
        .get(row as usize)
        .ok_or(Violation::UnknownCandidate { row, rows: rows.len() })?;
    eligible(candidate, bookings.free_bytes(candidates, row), request)?;
    Ok(candidate)
}

/// The hard rules, for one candidate with this much room left.
///
/// # Errors
/// The first rule that keeps the request from it.
pub fn eligible(candidate: &Candidate, free_bytes: u64, request: &Request) -> Result<(), Violation> {
    let node = || candidate.node.to_string();
    if !candidate.schedulable {
        return Err(Violation::Unschedulable { node: node() });
    }
    if let Some(wanted) = request.pool.as_ref().filter(|wanted| **wanted != candidate.pool) {
        return Err(Violation::WrongPool {
            pool: candidate.pool.to_string(),
            wanted: wanted.to_string(),
        });
    }
    if let Err(label) = candidate.labels.covers(&request.require) {
        return Err(Violation::MissingLabel { node: node(), label });
    }
    if request.disk_bytes > free_bytes {
        let pool = candidate.pool.to_string();
        return Err(Violation::OverCommit {
            node: node(),
            pool,
            wanted_bytes: request.disk_bytes,
            free_bytes,
        });
    }
    Ok(())
}
