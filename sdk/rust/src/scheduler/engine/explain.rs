//! Says why: each row's outcome for one request, and how many rows each filter removed.

use super::rate::{LABELS, judge, worth};
use crate::policy::{Candidate, Policy, Reason, Request, View};
use crate::scheduler::ranking::OUT;
use crate::scheduler::symbols::Symbol;
use crate::scheduler::{Outcome, Part, Refusal, Removed, Verdict};

/// How many filters an answer names at most.
const FILTERS_MAX: usize = 64;

/// What a row whose score is not a number was removed by.
const NO_SCORE: Reason = Reason::new("score").detail("the policy gave it no score");

/// One row's outcome.
pub(super) fn verdict<P: Policy>(policy: &P, request: &Request<'_>, node: &Candidate<'_>) -> Verdict {
    let row = node.row() as u32;
    let removed = |reason: Reason| Verdict {
        row,
        score: 0.0,
        outcome: Outcome::Removed(refusal(reason)),
    };
    if let Err(reason) = judge(policy, request, node) {
        let lacks = (reason.filter() == LABELS)
            .then(|| missing_label(request, node))
            .flatten();
        let mut verdict = removed(reason);
        if let (Outcome::Removed(refusal), Some(label)) = (&mut verdict.outcome, lacks) {
            refusal.detail = clip(&format!("lacks the label {label}")).to_owned();
        }
        return verdict;
    }
    let score = policy.score(request, node);
    if worth(score.total()) == OUT {
        return removed(NO_SCORE);
    }
    let parts = score
        .parts()
        .iter()
        .map(|&(name, value)| Part {
            name: name.to_owned(),
            value,
        })
        .collect();
    Verdict {
        row,
        score: score.total().min(f32::MAX),
        outcome: Outcome::Scored(parts),
    }
}

/// How many rows each filter removed, most first. What is beyond the limit is counted in the last entry.
pub(super) fn count_removed<P: Policy>(policy: &P, request: &Request<'_>, view: &View<'_>) -> Vec<Removed> {
    let mut counts: Vec<(&'static str, u32)> = Vec::new();
    for row in 0..view.rows {
        let node = view.candidate(row);
        let filter = judge(policy, request, &node).err().unwrap_or(NO_SCORE).filter();
        match counts.iter().position(|(known, _)| *known == filter) {
            Some(known) => counts[known].1 += 1,
            None if counts.len() < FILTERS_MAX => counts.push((filter, 1)),
            None => counts[FILTERS_MAX - 1].1 += 1,
        }
    }
    counts.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    counts
        .into_iter()
        .map(|(filter, rows)| Removed {
            filter: filter.to_owned(),
            rows,
        })
        .collect()
}

fn refusal(reason: Reason) -> Refusal {
    Refusal {
        filter: reason.filter.to_owned(),
        wanted: reason.wanted,
        available: reason.available,
        detail: clip(reason.detail).to_owned(),
    }
}

/// The first label that was asked for and is not there.
fn missing_label<'a>(request: &Request<'a>, node: &Candidate<'_>) -> Option<&'a str> {
    let missing = request
        .require()
        .iter()
        .find(|wanted| !node.labels().contains(wanted))?;
    Some(request.symbols.text(Symbol(*missing)))
}

/// At most 200 bytes may leave.
fn clip(text: &str) -> &str {
    let end = (0..=text.len().min(200)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
