//! Placements and why they were made.

use symphony_core::place;
use symphony_core::volume::{Decider, Decision, Placement, Volume};

use crate::v1;

/// The policy that made a decision.
#[must_use]
pub fn decider(decider: &Decider) -> v1::Decider {
    v1::Decider {
        name: decider.name.clone(),
        version: decider.version.clone(),
        digest: decider.digest.map(|digest| digest.to_string()),
        instead_of: decider.instead_of.clone(),
    }
}

/// What became of one candidate.
#[must_use]
pub fn verdict(verdict: &place::Verdict) -> v1::Verdict {
    let mut wire = v1::Verdict {
        node: verdict.node.clone(),
        pool: verdict.pool.clone(),
        outcome: v1::Outcome::Removed,
        score: None,
        parts: Vec::new(),
        filter: None,
        wanted: None,
        available: None,
        detail: None,
    };
    match &verdict.outcome {
        place::Outcome::Scored { score, parts } => {
            wire.outcome = v1::Outcome::Scored;
            wire.score = Some(*score);
            wire.parts = parts
                .iter()
                .map(|part| v1::ScorePart {
                    name: part.name.clone(),
                    value: part.value,
                })
                .collect();
        }
        place::Outcome::Removed(refusal) => {
            let compares = (refusal.wanted, refusal.available) != (0, 0);
            wire.filter = Some(refusal.filter.clone());
            wire.wanted = compares.then_some(refusal.wanted);
            wire.available = compares.then_some(refusal.available);
            wire.detail = Some(refusal.detail.clone());
        }
    }
    wire
}

/// What became of every candidate.
#[must_use]
pub fn verdicts(verdicts: &[place::Verdict]) -> Vec<v1::Verdict> {
    verdicts.iter().map(verdict).collect()
}

pub(super) fn placement(placement: &Placement) -> v1::Placement {
    v1::Placement {
        node: placement.node.to_string(),
        pool: placement.pool.to_string(),
        claimed_bytes: placement.claimed_bytes,
        score: placement.score,
        decided_by: decider(&placement.decided_by),
        decided_at: placement.decided_at,
        revision: placement.revision.0,
    }
}

/// Why a volume is where it is, as it was kept with the placement.
#[must_use]
pub fn explanation_of_decision(volume: &Volume, decision: &Decision) -> v1::Explanation {
    v1::Explanation {
        volume: volume.meta.name.to_string(),
        volume_id: volume.meta.id.uuid(),
        as_of: v1::AsOf::Decision,
        decided_by: decider(&decision.placement.decided_by),
        node: Some(decision.placement.node.to_string()),
        pool: Some(decision.placement.pool.to_string()),
        score: Some(decision.placement.score),
        verdicts: verdicts(&decision.verdicts),
        revision: decision.placement.revision.0,
    }
}
