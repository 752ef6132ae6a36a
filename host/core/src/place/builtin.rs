//! The policy that serves when no plugin does: most free space first, ties to the first row.
//!
//! It is as plain as can be, because it is what everything falls back to, and the oracle that plugins are tested against.

use super::candidate::{Candidate, Candidates};
use super::check::{self, Bookings, Left, Violation};
use super::decision::{Answer, Outcome, Part, Refusal, Removed, Verdict};
use super::request::Request;

/// The name under which its decisions are recorded.
pub const NAME: &str = "built-in";

/// Decides for one request, counting what was booked before it.
#[must_use]
pub fn place(candidates: &Candidates, bookings: &Bookings, request: &Request) -> Answer {
    let mut best: Option<(u32, f32)> = None;
    let mut removed: Vec<Removed> = Vec::new();
    for (row, candidate) in (0_u32..).zip(candidates.rows()) {
        let left = bookings.left(candidates, row);
        match check::eligible(candidate, left, request) {
            Ok(()) => {
                let score = total(&parts(candidate, left, request));
                if best.is_none_or(|(_, highest)| score > highest) {
                    best = Some((row, score));
                }
            }
            Err(violation) => count(&mut removed, violation.reason()),
        }
    }
    match best {
        Some((row, score)) => Answer::Chosen { row, score },
        None => {
            removed.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.filter.cmp(&b.filter)));
            Answer::Unplaceable { removed }
        }
    }
}

/// Says what became of every candidate.
#[must_use]
pub fn explain(candidates: &Candidates, bookings: &Bookings, request: &Request) -> Vec<Verdict> {
    let verdict = |(row, candidate): (u32, &std::sync::Arc<super::Candidate>)| {
        let left = bookings.left(candidates, row);
        let outcome = match check::eligible(candidate, left, request) {
            Ok(()) => {
                let parts = parts(candidate, left, request);
                Outcome::Scored {
                    score: total(&parts),
                    parts,
                }
            }
            Err(violation) => Outcome::Removed(refusal(&violation)),
        };
        Verdict {
            node: candidate.node.to_string(),
            pool: candidate.pool.to_string(),
            outcome,
        }
    };
    (0_u32..).zip(candidates.rows()).map(verdict).collect()
}

/// A violation in the form of an explanation.
#[must_use]
pub fn refusal(violation: &Violation) -> Refusal {
    let (wanted, available) = match violation {
        Violation::OverCommit {
            wanted_bytes,
            free_bytes,
            ..
        }
        | Violation::Memory {
            wanted_bytes,
            free_bytes,
            ..
        } => (*wanted_bytes, *free_bytes),
        Violation::Cpus { wanted, free, .. } => (*wanted, *free),
        _ => (0, 0),
    };
    Refusal {
        filter: violation.reason().to_owned(),
        wanted,
        available,
        detail: violation.to_string(),
    }
}

/// What a label that the request prefers is worth: more than any room.
const PREFERRED: f32 = 1e7;

/// What makes a candidate good: room left in the pool, memory left for a machine, and the labels that are preferred.
#[expect(
    clippy::cast_precision_loss,
    reason = "a score orders candidates; it need not be exact to the byte"
)]
fn parts(candidate: &Candidate, left: Left, request: &Request) -> Vec<Part> {
    let part = |name: &str, value: f32| Part {
        name: name.to_owned(),
        value,
    };
    let gib = |bytes: u64| bytes as f32 / (1_u64 << 30) as f32;
    let mut parts = vec![part("free-gib-left", gib(left.disk_bytes - request.disk_bytes))];
    if request.is_for_machine() {
        parts.push(part("memory-gib-left", gib(left.memory_bytes - request.memory_bytes)));
    }
    let preferred = request
        .prefer
        .iter()
        .filter(|(key, value)| candidate.labels.value(key) == Some(value));
    let preferred = preferred.count();
    if preferred > 0 {
        parts.push(part("preferred-labels", preferred as f32 * PREFERRED));
    }
    parts
}

fn total(parts: &[Part]) -> f32 {
    parts.iter().map(|part| part.value).sum()
}

fn count(removed: &mut Vec<Removed>, filter: &str) {
    match removed.iter_mut().find(|entry| entry.filter == filter) {
        Some(entry) => entry.rows += 1,
        None => removed.push(Removed {
            filter: filter.to_owned(),
            rows: 1,
        }),
    }
}
