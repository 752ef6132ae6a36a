//! Volumes that were placed, that no node takes, and that were made larger.

use symphony_core::condition::Truth;
use symphony_core::event::Severity;
use symphony_core::keys;
use symphony_core::place::{Candidate, Removed, Request};
use symphony_core::quantity::Bytes;
use symphony_core::record::RecordError;
use symphony_core::volume::{Decider, Decision, Placement, Volume, VolumePhase};

use crate::clock;
use crate::events::{about_volume, event, with};
use crate::view::Stored;

use super::super::round::{Choice, Decided};
use super::{Draft, kept, why_not, with_place};

pub(super) fn place(
    draft: &mut Draft<'_>,
    stored: &Stored<Volume>,
    choice: Choice,
    decided: &Decided,
) -> Result<(), RecordError> {
    let Some(candidate) = draft.chosen(choice) else {
        return Ok(());
    };
    let bytes = stored.value.spec.size.bytes();
    let mut ledger = draft.ledger(&candidate.node);
    // The checks passed on the same numbers; a refusal here means that the table and the ledger differ: look again.
    if ledger.claim(&candidate.pool, bytes, candidate.total_bytes).is_err() {
        return Ok(());
    }
    draft.keep(&candidate.node, ledger);
    let volume = placed(draft, stored, &candidate, choice.score, &decided.by);
    let decision = volume.placement.clone().map(|placement| Decision {
        placement,
        verdicts: kept(&decided.verdicts),
    });
    if let Some(decision) = decision {
        draft.put(keys::decision(volume.meta.id), &decision)?;
    }
    let message = format!("placed {}", place_of(&candidate, &decided.by));
    let told = event(Severity::Normal, "placed", about_volume(&volume), message);
    draft.tell(&with_place(told, &candidate, &decided.by))?;
    put(draft, stored, &volume)?;
    draft.batch.placed.push(decided.by.name.clone());
    Ok(())
}

/// The volume in its place, which was claimed.
pub(super) fn placed(
    draft: &Draft<'_>,
    stored: &Stored<Volume>,
    candidate: &Candidate,
    score: f32,
    by: &Decider,
) -> Volume {
    let now = clock::now();
    let mut volume = stored.value.clone();
    volume.placement = Some(Placement {
        node: candidate.node.clone(),
        pool: candidate.pool.clone(),
        claimed_bytes: volume.spec.size.bytes(),
        decided_by: by.clone(),
        score,
        revision: draft.candidates.revision(),
        decided_at: now,
    });
    volume.status.phase = VolumePhase::Creating;
    let message = place_of(candidate, by);
    volume
        .status
        .conditions
        .set("placed", Truth::True, "placed", &message, now);
    volume
}

fn place_of(candidate: &Candidate, by: &Decider) -> String {
    format!("on node {} in pool {} by {}", candidate.node, candidate.pool, by.name)
}

pub(super) fn leave(
    draft: &mut Draft<'_>,
    stored: &Stored<Volume>,
    request: &Request,
    removed: &[Removed],
    by: &Decider,
) -> Result<(), RecordError> {
    let mut volume = stored.value.clone();
    let message = why_not(request, removed, draft.candidates.rows().len());
    let before = volume.status.phase;
    volume.status.phase = VolumePhase::Unplaceable;
    let changed = volume
        .status
        .conditions
        .set("placed", Truth::False, "unplaceable", &message, clock::now());
    draft.batch.unplaceable += 1;
    if before == VolumePhase::Unplaceable && !changed {
        return Ok(());
    }
    let told = event(Severity::Warning, "unplaceable", about_volume(&volume), message);
    draft.tell(&with(told, "decided-by", &by.name))?;
    put(draft, stored, &volume)
}

/// Reserves what a volume that was made larger needs besides its claim.
pub(super) fn grow(draft: &mut Draft<'_>, stored: &Stored<Volume>) -> Result<(), RecordError> {
    let mut volume = stored.value.clone();
    let Some(placement) = volume.placement.as_mut() else {
        return Ok(());
    };
    let more = volume.spec.size.bytes().saturating_sub(placement.claimed_bytes);
    let total = draft
        .candidates
        .row_of(&placement.node, &placement.pool)
        .map_or(0, |row| draft.candidates.rows()[row as usize].total_bytes);
    let now = clock::now();
    let mut ledger = draft.ledger(&placement.node);
    match ledger.grow(&placement.pool, more, total) {
        Ok(()) => {
            draft.keep(&placement.node.clone(), ledger);
            placement.claimed_bytes += more;
            let message = format!("{} reserved on node {}", Bytes(placement.claimed_bytes), placement.node);
            volume
                .status
                .conditions
                .set("room", Truth::True, "claimed", &message, now);
            put(draft, stored, &volume)
        }
        Err(error) => {
            let message = format!(
                "the volume can't grow on node {}: {error}; it stays as it is until there is room",
                placement.node
            );
            if !volume
                .status
                .conditions
                .set("room", Truth::False, "full", &message, now)
            {
                return Ok(());
            }
            let told = event(Severity::Warning, "no-room-to-grow", about_volume(&volume), message);
            draft.tell(&told)?;
            put(draft, stored, &volume)
        }
    }
}

pub(super) fn put(draft: &mut Draft<'_>, stored: &Stored<Volume>, volume: &Volume) -> Result<(), RecordError> {
    let key = keys::volume(&volume.meta.project, &volume.meta.name);
    draft.replace(key, stored.revision, volume)
}
