//! What the host takes of a policy's answers. A plugin can place badly, never illegally.
//!
//! Two levels: an answer that is wrong as a whole (its length, a NaN) is an [`AnswerFault`] and none of it is used; a
//! single choice that breaks a hard rule is a [`Violation`] and only that choice is dropped.

use std::collections::HashMap;

use crate::name::Name;
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
    /// Not the node that the request is bound to.
    #[error("node {node} was chosen, and the request is for node {wanted}")]
    WrongNode {
        /// What was chosen.
        node: String,
        /// What was asked for.
        wanted: String,
    },
    /// On the node is a machine that it must be apart from.
    #[error("node {node} has a machine that this one must be apart from")]
    NotApart {
        /// The node.
        node: String,
    },
    /// On the node is none of the machines that it must be near.
    #[error("node {node} has none of the machines that this one must be near")]
    NotNear {
        /// The node.
        node: String,
    },
    /// The node runs no machines.
    #[error("node {node} runs no machines")]
    NoCompute {
        /// The node.
        node: String,
    },
    /// Too few virtual processors left, counting what the batch booked before.
    #[error("node {node} has {free} virtual processors free, and {wanted} are wanted")]
    Cpus {
        /// The node.
        node: String,
        /// What the request wants.
        wanted: u64,
        /// What is left.
        free: u64,
    },
    /// Too little memory left, counting what the batch booked before.
    #[error("node {node} has {} of memory free, and {} are wanted", Bytes(*free_bytes), Bytes(*wanted_bytes))]
    Memory {
        /// The node.
        node: String,
        /// What the request wants.
        wanted_bytes: u64,
        /// What is left.
        free_bytes: u64,
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
            Self::WrongNode { .. } => "wrong-node",
            Self::NotApart { .. } => "not-apart",
            Self::NotNear { .. } => "not-near",
            Self::NoCompute { .. } => "no-compute",
            Self::Cpus { .. } => "cpus",
            Self::Memory { .. } => "memory",
            Self::MissingLabel { .. } => "missing-label",
        }
    }
}

/// What a batch has booked so far, on top of the candidates' claims.
#[derive(Debug, Default)]
pub struct Bookings {
    bytes: HashMap<u32, u64>,
    /// Processors and memory belong to the node, whichever of its rows was chosen.
    machines: HashMap<Name, (u64, u64)>,
}

/// What a candidate has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// In the pool, in bytes.
    pub disk_bytes: u64,
    /// Virtual processors.
    pub cpus: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

impl Bookings {
    /// What a row has left, counting the bookings.
    #[must_use]
    pub fn left(&self, candidates: &Candidates, row: u32) -> Left {
        let Some(candidate) = candidates.rows().get(row as usize) else {
            return Left::default();
        };
        let (cpus, memory) = self.machines.get(&candidate.node).copied().unwrap_or_default();
        let bytes = self.bytes.get(&row).copied().unwrap_or(0);
        Left {
            disk_bytes: candidate.free_bytes.saturating_sub(bytes),
            cpus: candidate.room.cpus_free.saturating_sub(cpus),
            memory_bytes: candidate.room.memory_free_bytes.saturating_sub(memory),
        }
    }

    /// Books a choice that passed [`choice`].
    pub fn book(&mut self, candidates: &Candidates, row: u32, request: &Request) {
        let bytes = self.bytes.entry(row).or_default();
        *bytes = bytes.saturating_add(request.disk_bytes);
        if !request.is_for_machine() {
            return;
        }
        if let Some(candidate) = candidates.rows().get(row as usize) {
            let (cpus, memory) = self.machines.entry(candidate.node.clone()).or_default();
            *cpus = cpus.saturating_add(u64::from(request.cpus));
            *memory = memory.saturating_add(request.memory_bytes);
        }
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
    eligible(candidate, bookings.left(candidates, row), request)?;
    Ok(candidate)
}

/// A request with its node left out, when that is allowed and no pool of that node takes it.
#[must_use]
pub fn bound(candidates: &Candidates, bookings: &Bookings, request: Request) -> Request {
    let is_taken = |row: usize| {
        let row = u32::try_from(row).unwrap_or(u32::MAX);
        choice(candidates, bookings, &request, row).is_ok()
    };
    if !request.elsewhere || (0..candidates.rows().len()).any(is_taken) {
        return request;
    }
    request.anywhere()
}

/// The hard rules, for one candidate with this much left.
///
/// # Errors
/// The first rule that keeps the request from it.
pub fn eligible(candidate: &Candidate, left: Left, request: &Request) -> Result<(), Violation> {
    let node = || candidate.node.to_string();
    if !candidate.schedulable {
        return Err(Violation::Unschedulable { node: node() });
    }
    if let Some(wanted) = request.node.as_ref().filter(|wanted| **wanted != candidate.node) {
        return Err(Violation::WrongNode {
            node: node(),
            wanted: wanted.to_string(),
        });
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
    if request.avoid.contains(&candidate.node) {
        return Err(Violation::NotApart { node: node() });
    }
    if !request.near.is_empty() && !request.near.contains(&candidate.node) {
        return Err(Violation::NotNear { node: node() });
    }
    if request.is_for_machine() {
        runs(candidate, left, request)?;
    }
    if request.disk_bytes > left.disk_bytes {
        let pool = candidate.pool.to_string();
        return Err(Violation::OverCommit {
            node: node(),
            pool,
            wanted_bytes: request.disk_bytes,
            free_bytes: left.disk_bytes,
        });
    }
    Ok(())
}

/// Whether the node can run the machine.
fn runs(candidate: &Candidate, left: Left, request: &Request) -> Result<(), Violation> {
    let node = || candidate.node.to_string();
    if candidate.room.cpus_total == 0 {
        return Err(Violation::NoCompute { node: node() });
    }
    let wanted = u64::from(request.cpus);
    if wanted > left.cpus {
        return Err(Violation::Cpus {
            node: node(),
            wanted,
            free: left.cpus,
        });
    }
    if request.memory_bytes > left.memory_bytes {
        return Err(Violation::Memory {
            node: node(),
            wanted_bytes: request.memory_bytes,
            free_bytes: left.memory_bytes,
        });
    }
    Ok(())
}
