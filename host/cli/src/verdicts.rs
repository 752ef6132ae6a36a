//! Why each candidate was removed or how it was scored, as a table.

use symphony_api::v1::{Decider, Outcome, Verdict};
use symphony_core::quantity::Bytes;

use crate::table::{or_dash, render};

/// From here on a number in a verdict is shown as a size: filters compare bytes, or small counts.
const SIZE_FROM: u64 = 4096;
/// Digits of a digest in a sentence.
const DIGEST_SHOWN: usize = 12;

/// One line a candidate; the chosen one (node, pool) is marked.
pub(crate) fn table(verdicts: &[Verdict], chosen: Option<(&str, &str)>) -> String {
    let rows: Vec<_> = verdicts.iter().map(|verdict| row(verdict, chosen)).collect();
    render(
        &["NODE", "POOL", "OUTCOME", "FILTER", "WANTED", "FREE", "SCORE", "WHY"],
        &rows,
    )
}

fn row(verdict: &Verdict, chosen: Option<(&str, &str)>) -> Vec<String> {
    let is_chosen = chosen == Some((verdict.node.as_str(), verdict.pool.as_str()));
    let outcome = match verdict.outcome {
        Outcome::Removed => "removed",
        Outcome::Scored if is_chosen => "chosen",
        Outcome::Scored => "scored",
    };
    let parts: Vec<_> = verdict
        .parts
        .iter()
        .map(|part| format!("{} {}", part.name, score(part.value)))
        .collect();
    let why = match (&verdict.detail, parts.is_empty()) {
        (Some(detail), true) => detail.clone(),
        (Some(detail), false) => format!("{} ({detail})", parts.join(" + ")),
        (None, _) => parts.join(" + "),
    };
    vec![
        verdict.node.clone(),
        verdict.pool.clone(),
        outcome.to_owned(),
        or_dash(verdict.filter.clone()),
        amount(verdict.wanted),
        amount(verdict.available),
        or_dash(verdict.score.map(score)),
        or_dash(why),
    ]
}

/// Who decided: `spread@0.1.0 sha256:0123456789ab`, and for whom it stood in.
pub(crate) fn decider(decider: &Decider) -> String {
    let mut text = format!("{}@{}", decider.name, decider.version);
    if let Some(digest) = &decider.digest {
        text.push(' ');
        text.push_str(short(digest));
    }
    if let Some(fault) = &decider.instead_of {
        text.push_str(" instead of ");
        text.push_str(fault);
    }
    text
}

/// A digest cut for people; long enough for the other verbs to take.
pub(crate) fn short(digest: &str) -> &str {
    let scheme = digest.find(':').map_or(0, |colon| colon + 1);
    digest.get(..scheme + DIGEST_SHOWN).unwrap_or(digest)
}

/// A score without noise.
pub(crate) fn score(value: f32) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn amount(number: Option<u64>) -> String {
    match number {
        None => "-".to_owned(),
        Some(number) if number >= SIZE_FROM => Bytes(number).to_string(),
        Some(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphony_api::v1::ScorePart;

    #[test]
    fn names_filters_numbers_scores_and_parts() {
        let removed = Verdict {
            node: "node-1".into(),
            pool: "default".into(),
            outcome: Outcome::Removed,
            score: None,
            parts: Vec::new(),
            filter: Some("capacity".into()),
            wanted: Some(30 << 30),
            available: Some(20 << 30),
            detail: Some("too little is free".into()),
        };
        let scored = Verdict {
            node: "node-2".into(),
            outcome: Outcome::Scored,
            score: Some(0.75),
            parts: vec![
                ScorePart {
                    name: "free".into(),
                    value: 0.5,
                },
                ScorePart {
                    name: "zone".into(),
                    value: 0.25,
                },
            ],
            filter: None,
            wanted: None,
            available: None,
            detail: None,
            ..removed.clone()
        };
        assert_eq!(
            table(&[removed, scored], Some(("node-2", "default"))),
            "NODE    POOL     OUTCOME  FILTER    WANTED  FREE   SCORE  WHY\n\
             node-1  default  removed  capacity  30GiB   20GiB  -      too little is free\n\
             node-2  default  chosen   -         -       -      0.75   free 0.5 + zone 0.25\n"
        );
    }

    #[test]
    fn says_who_decided_and_for_whom() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let mut who = Decider {
            name: "spread".into(),
            version: "0.1.0".into(),
            digest: Some(digest),
            instead_of: None,
        };
        assert_eq!(decider(&who), "spread@0.1.0 sha256:abababababab");
        who.digest = None;
        who.instead_of = Some("bad@1: trap".into());
        assert_eq!(decider(&who), "spread@0.1.0 instead of bad@1: trap");
        assert_eq!([score(1.0), score(0.0), score(-0.5)], ["1", "0", "-0.5"]);
    }
}
