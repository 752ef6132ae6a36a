//! From a guest's answers to core's: lengths, positions and texts are checked here, numbers that make no sense refused.
//! Whether a choice is legal is not judged here.

use symphony_core::place::decision::{DETAIL_BYTES_MAX, FILTERS_MAX};
use symphony_core::place::mirror::COLUMNS_MAX;
use symphony_core::place::{Answer, Candidates, Outcome, Part, Refusal, Removed, Verdict};

use crate::bindings::scheduler::symphony::plugin::scheduling as wit;
use crate::fault::{FaultKind, clip};
use crate::smoke::{self, Descriptor};

/// The row that stands for "none".
const NONE: u32 = u32::MAX;
/// Longest name of a filter or of a part of a score, in bytes.
const FILTER_BYTES_MAX: usize = 63;
const PARTS_MAX: usize = 64;

type Result<T> = std::result::Result<T, FaultKind>;

fn bad<T>(text: String) -> Result<T> {
    Err(FaultKind::Answer(text))
}

pub(super) fn descriptor(said: wit::Descriptor, explains: bool) -> Result<Descriptor> {
    let columns = said.candidate_columns.len().max(said.request_columns.len());
    if columns > COLUMNS_MAX {
        return bad(format!("it wants {columns} columns, over the limit of {COLUMNS_MAX}"));
    }
    let Descriptor {
        name,
        version,
        config_schema,
        ..
    } = smoke::descriptor(said.name, said.version, said.config_schema)?;
    let (candidate_columns, request_columns) = (said.candidate_columns, said.request_columns);
    Ok(Descriptor {
        name,
        version,
        config_schema,
        candidate_columns,
        request_columns,
        explains,
    })
}

/// One answer per request.
pub(super) fn answers(requests: usize, said: wit::Decisions) -> Result<Vec<Answer>> {
    let (rows, scores) = (said.rows.len(), said.scores.len());
    if rows != requests || scores != requests {
        return bad(format!(
            "{rows} decisions and {scores} scores were given for {requests} requests"
        ));
    }
    let mut removed = reasons(&said.rows, said.unplaceable)?;
    let answer = |(request, (row, score)): (usize, (u32, f32))| match row {
        NONE => Answer::Unplaceable {
            removed: std::mem::take(&mut removed[request]),
        },
        // An infinity can't be written down as JSON; it orders the same as the largest number.
        _ => Answer::Chosen {
            row,
            score: score.clamp(f32::MIN, f32::MAX),
        },
    };
    Ok(said.rows.into_iter().zip(said.scores).enumerate().map(answer).collect())
}

/// For each request what removed its candidates.
fn reasons(rows: &[u32], said: Vec<wit::Unplaceable>) -> Result<Vec<Vec<Removed>>> {
    let mut reasons = vec![None; rows.len()];
    for wit::Unplaceable { request, removed } in said {
        let at = request as usize;
        if rows.get(at) != Some(&NONE) {
            return bad(format!(
                "it says why request {request} has no place, and it has one or does not exist"
            ));
        }
        if removed.len() > FILTERS_MAX {
            return bad(format!(
                "{} filters are named for request {request}, over the limit of {FILTERS_MAX}",
                removed.len()
            ));
        }
        let removed = removed.into_iter().map(|entry| Removed {
            filter: clip(&entry.filter, FILTER_BYTES_MAX),
            rows: entry.rows,
        });
        if reasons[at].replace(removed.collect()).is_some() {
            return bad(format!("it says twice why request {request} has no place"));
        }
    }
    Ok(reasons.into_iter().map(Option::unwrap_or_default).collect())
}

/// One verdict per candidate, in their order.
pub(super) fn verdicts(candidates: &Candidates, said: Vec<wit::Verdict>) -> Result<Vec<Verdict>> {
    let rows = candidates.rows();
    if said.len() != rows.len() {
        return bad(format!(
            "{} verdicts were given for {} candidates",
            said.len(),
            rows.len()
        ));
    }
    let verdict =
        |(at, (candidate, said)): (usize, (&std::sync::Arc<symphony_core::place::Candidate>, wit::Verdict))| {
            if said.row as usize != at {
                return bad(format!("the verdict at {at} is about candidate {}", said.row));
            }
            let outcome = outcome(said.score, said.outcome)?;
            Ok(Verdict {
                node: candidate.node.to_string(),
                pool: candidate.pool.to_string(),
                outcome,
            })
        };
    rows.iter().zip(said).enumerate().map(verdict).collect()
}

fn outcome(score: f32, said: wit::Outcome) -> Result<Outcome> {
    match said {
        wit::Outcome::Removed(refusal) => Ok(Outcome::Removed(Refusal {
            filter: clip(&refusal.filter, FILTER_BYTES_MAX),
            wanted: refusal.wanted,
            available: refusal.available,
            detail: clip(&refusal.detail, DETAIL_BYTES_MAX),
        })),
        wit::Outcome::Scored(parts) => {
            if parts.len() > PARTS_MAX {
                return bad(format!(
                    "a score has {} parts, over the limit of {PARTS_MAX}",
                    parts.len()
                ));
            }
            let parts = parts.into_iter().map(|part| {
                Ok(Part {
                    name: clip(&part.name, FILTER_BYTES_MAX),
                    value: finite(part.value)?,
                })
            });
            Ok(Outcome::Scored {
                score: finite(score)?,
                parts: parts.collect::<Result<_>>()?,
            })
        }
    }
}

fn finite(value: f32) -> Result<f32> {
    if value.is_nan() {
        bad("a score is not a number".to_owned())
    } else {
        Ok(value.clamp(f32::MIN, f32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(rows: &[u32], scores: &[f32], unplaceable: Vec<wit::Unplaceable>) -> wit::Decisions {
        wit::Decisions {
            at: wit::Stamp {
                epoch: 0,
                revision: 0,
                digest: 0,
            },
            rows: rows.into(),
            scores: scores.into(),
            unplaceable,
        }
    }

    fn why(request: u32, filters: u32) -> wit::Unplaceable {
        let removed = (0..filters)
            .map(|rows| wit::Removed {
                filter: "room".into(),
                rows,
            })
            .collect();
        wit::Unplaceable { request, removed }
    }

    #[test]
    fn one_answer_per_request() {
        let answers = answers(2, decisions(&[3, NONE], &[f32::INFINITY, 0.0], vec![why(1, 1)])).unwrap();
        assert_eq!(
            answers[0],
            Answer::Chosen {
                row: 3,
                score: f32::MAX
            }
        );
        assert_eq!(
            answers[1],
            Answer::Unplaceable {
                removed: vec![Removed {
                    filter: "room".into(),
                    rows: 0
                }]
            }
        );
    }

    #[test]
    fn answers_that_are_wrong_as_a_whole() {
        for (what, said) in [
            ("few", decisions(&[1], &[1.0], vec![])),
            ("many", decisions(&[1; 3], &[1.0; 3], vec![])),
            ("few scores", decisions(&[1; 2], &[1.0], vec![])),
            (
                "a reason for one that is placed",
                decisions(&[1, NONE], &[1.0; 2], vec![why(0, 1)]),
            ),
            (
                "a reason for one that is not there",
                decisions(&[1, NONE], &[1.0; 2], vec![why(2, 1)]),
            ),
            (
                "two reasons",
                decisions(&[1, NONE], &[1.0; 2], vec![why(1, 1), why(1, 1)]),
            ),
            ("many filters", decisions(&[1, NONE], &[1.0; 2], vec![why(1, 65)])),
        ] {
            assert!(matches!(answers(2, said), Err(FaultKind::Answer(_))), "{what}");
        }
    }

    #[test]
    fn explanations_hold_no_surprises() {
        let refusal = wit::Refusal {
            filter: "x".repeat(100),
            wanted: 1,
            available: 0,
            detail: "\u{1b}".repeat(500),
        };
        let Ok(Outcome::Removed(refusal)) = outcome(0.0, wit::Outcome::Removed(refusal)) else {
            panic!("it should be taken")
        };
        assert!(refusal.filter.len() <= FILTER_BYTES_MAX && refusal.detail.len() <= DETAIL_BYTES_MAX);
        let part = |value| wit::Part {
            name: "free".into(),
            value,
        };
        assert!(outcome(1.0, wit::Outcome::Scored(vec![part(f32::NAN)])).is_err());
        assert!(outcome(f32::NAN, wit::Outcome::Scored(vec![])).is_err());
        assert!(outcome(1.0, wit::Outcome::Scored(vec![part(1.0); 65])).is_err());
    }
}
