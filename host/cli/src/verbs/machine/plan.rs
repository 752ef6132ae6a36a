//! What would become of a machine, and why it is where it is, as text. Never asks anybody.

use std::fmt::Write as _;

use symphony_api::v1::{AsOf, MachineExplanation, MachinePreview, Outcome, Part, Verdict};

use crate::table::{or_dash, render};
use crate::verdicts;

/// The whole plan of a dry run.
pub(crate) fn preview(name: &str, preview: &MachinePreview) -> String {
    let placement = &preview.placement;
    let mut text = format!(
        "machine {name} would go to {} (pool {}), score {}\ndecided by {}; nothing was stored\n\n{}",
        placement.node,
        placement.pool,
        verdicts::score(placement.score),
        verdicts::decider(&placement.decided_by),
        verdicts::table(&placement.verdicts, Some((&placement.node, &placement.pool))),
    );
    with_parts(&mut text, &preview.parts);
    if !preview.steps.is_empty() {
        _ = writeln!(text, "\nfirst steps of the agent on {}:", placement.node);
        let rows: Vec<_> = (1..)
            .zip(&preview.steps)
            .map(|(n, step)| {
                let subject = format!("{}/{}", step.kind, step.name);
                vec![format!("{n}."), step.action.clone(), subject]
            })
            .collect();
        text.push_str(&render(&["STEP", "ACTION", "FOR"], &rows));
    }
    text
}

/// Where a machine is and why, and how each of its parts is.
pub(crate) fn explanation(explanation: &MachineExplanation) -> String {
    let name = &explanation.machine;
    let mut text = match &explanation.node {
        Some(node) => {
            let verb = match explanation.as_of {
                AsOf::Decision => "is on",
                AsOf::Now => "would go to",
            };
            let score = explanation
                .score
                .map(|score| format!(", score {}", verdicts::score(score)))
                .unwrap_or_default();
            format!("machine {name} {verb} {node}{score}\n")
        }
        None => format!("no node takes machine {name}; it waits for room\n"),
    };
    let when = match explanation.as_of {
        AsOf::Decision => "when it was placed",
        AsOf::Now => "as it is now",
    };
    _ = writeln!(
        text,
        "decided by {} ({when}, revision {})\n",
        verdicts::decider(&explanation.decided_by),
        explanation.revision
    );
    let chosen = explanation
        .node
        .as_deref()
        .and_then(|node| best(&explanation.verdicts, node));
    text.push_str(&verdicts::table(&explanation.verdicts, chosen));
    with_parts(&mut text, &explanation.parts);
    text
}

/// The candidate of a node that was scored highest: a machine is placed on a node, a candidate is a pool of it.
fn best<'a>(verdicts: &'a [Verdict], node: &str) -> Option<(&'a str, &'a str)> {
    let scored = verdicts
        .iter()
        .filter(|verdict| verdict.node == node && verdict.outcome == Outcome::Scored);
    // Of equals the first: `max_by` would take the last.
    let best = scored.rev().max_by(|a, b| {
        let score = |verdict: &Verdict| verdict.score.unwrap_or(f32::NEG_INFINITY);
        score(a).total_cmp(&score(b))
    })?;
    Some((&best.node, &best.pool))
}

fn with_parts(text: &mut String, parts: &[Part]) {
    if parts.is_empty() {
        return;
    }
    let rows: Vec<_> = parts
        .iter()
        .map(|part| {
            vec![
                part.kind.clone(),
                part.name.clone(),
                part.state.clone(),
                or_dash(part.detail.clone()),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&render(&["PART", "NAME", "STATE", "DETAIL"], &rows));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts() -> serde_json::Value {
        let scored = |node: &str, pool: &str, score: f32| {
            serde_json::json!({"node": node, "pool": pool, "outcome": "scored", "score": score,
                "parts": [{"name": "free", "value": score}]})
        };
        serde_json::json!([
            {"node": "node-1", "pool": "default", "outcome": "removed", "filter": "memory",
                "wanted": 536_870_912, "available": 268_435_456},
            scored("node-2", "default", 0.25),
            scored("node-2", "fast", 0.5),
        ])
    }

    fn parts() -> serde_json::Value {
        serde_json::json!([
            {"kind": "volume", "name": "web1-root", "state": "new", "detail": "10GiB from image tiny"},
            {"kind": "port", "name": "net1", "state": "new", "detail": ""},
        ])
    }

    fn spread() -> serde_json::Value {
        serde_json::json!({"name": "spread", "version": "0.1.0"})
    }

    const TABLE: &str = "\
NODE    POOL     OUTCOME  FILTER  WANTED  FREE    SCORE  WHY
node-1  default  removed  memory  512MiB  256MiB  -      -
node-2  default  scored   -       -       -       0.25   free 0.25
node-2  fast     chosen   -       -       -       0.5    free 0.5

PART    NAME       STATE  DETAIL
volume  web1-root  new    10GiB from image tiny
port    net1       new    -
";

    #[test]
    fn a_preview_is_the_whole_plan() {
        let shown: MachinePreview = serde_json::from_value(serde_json::json!({
            "node": "node-2", "pool": "fast", "score": 0.5, "decided_by": spread(), "verdicts": verdicts(), "revision": 7,
            "parts": parts(),
            "steps": [
                {"kind": "volume", "name": "web1-root", "action": "fetch-image"},
                {"kind": "network", "name": "net1", "action": "bridge"},
            ],
        }))
        .unwrap();
        assert_eq!(
            preview("web1", &shown),
            format!(
                "machine web1 would go to node-2 (pool fast), score 0.5\n\
                 decided by spread@0.1.0; nothing was stored\n\n{TABLE}\n\
                 first steps of the agent on node-2:\n\
                 STEP  ACTION       FOR\n\
                 1.    fetch-image  volume/web1-root\n\
                 2.    bridge       network/net1\n"
            )
        );
    }

    #[test]
    fn an_explanation_names_every_node_and_part() {
        let mut shown: MachineExplanation = serde_json::from_value(serde_json::json!({
            "machine": "web1", "machine_id": "0192f0c1-2345-7abc-8def-0123456789ab", "as_of": "decision",
            "decided_by": spread(), "node": "node-2", "score": 0.5, "verdicts": verdicts(), "parts": parts(), "revision": 12,
        }))
        .unwrap();
        assert_eq!(
            explanation(&shown),
            format!(
                "machine web1 is on node-2, score 0.5\n\
                 decided by spread@0.1.0 (when it was placed, revision 12)\n\n{TABLE}"
            )
        );
        (shown.node, shown.score, shown.as_of) = (None, None, AsOf::Now);
        shown.verdicts.truncate(1);
        let text = explanation(&shown);
        assert!(
            text.starts_with("no node takes machine web1; it waits for room\n"),
            "{text}"
        );
        assert!(!text.contains("chosen"), "{text}");
    }

    #[test]
    fn of_equal_pools_the_first_is_marked() {
        let verdicts: Vec<Verdict> = serde_json::from_value(serde_json::json!([
            {"node": "n", "pool": "a", "outcome": "scored", "score": 1.0},
            {"node": "n", "pool": "b", "outcome": "scored", "score": 1.0},
            {"node": "m", "pool": "c", "outcome": "scored", "score": 2.0},
        ]))
        .unwrap();
        assert_eq!(best(&verdicts, "n"), Some(("n", "a")));
        assert_eq!(best(&verdicts, "x"), None);
    }
}
