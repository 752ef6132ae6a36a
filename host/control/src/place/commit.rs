//! What was decided, as one transaction: volumes with their placements, ledgers with their claims, reasons and events.
//! It compares everything that the decision rests on: each volume, each node, each ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use symphony_core::condition::Truth;
use symphony_core::event::Severity;
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::place::{Candidates, Ledger, Removed, Request};
use symphony_core::quantity::Bytes;
use symphony_core::record::{self, RecordError};
use symphony_core::volume::{Decision, Placement, Volume, VolumePhase};
use symphony_store::{Compare, Txn};

use crate::clock;
use crate::events::{about_volume, event, with};
use crate::view::{State, Stored};
use crate::write::TxnRecords as _;

use super::round::{Choice, Decided, Round};

/// Largest decision that is kept with its verdicts; a batch of them stays well below what one transaction may have. A
/// larger one is kept without: then its explanation is worked out when asked for.
const DECISION_BYTES_MAX: usize = 24 << 10;

/// One transaction, and what to count once it is durable.
pub(super) struct Batch {
    pub(super) txn: Txn,
    pub(super) placed: Vec<String>,
    pub(super) unplaceable: u64,
}

/// A batch while it is put together.
struct Draft<'a> {
    state: &'a State,
    candidates: &'a Candidates,
    ledgers: BTreeMap<Name, Ledger>,
    batch: Batch,
    is_empty: bool,
}

impl Batch {
    /// Builds the transaction; none when nothing that is stored would change.
    pub(super) fn build(
        state: &State,
        candidates: &Candidates,
        new: &[Arc<Stored<Volume>>],
        growing: &[Arc<Stored<Volume>>],
        round: &Round,
    ) -> Result<Option<Self>, RecordError> {
        let batch = Self {
            txn: Txn::new(),
            placed: Vec::new(),
            unplaceable: 0,
        };
        let mut draft = Draft {
            state,
            candidates,
            ledgers: BTreeMap::new(),
            batch,
            is_empty: true,
        };
        for ((volume, request), decided) in new.iter().zip(&round.requests).zip(&round.decided) {
            match &decided.choice {
                Ok(choice) => draft.place(volume, request, *choice, decided)?,
                Err(removed) => draft.leave(volume, request, removed, decided)?,
            }
        }
        for volume in growing {
            draft.grow(volume)?;
        }
        draft.finish()
    }
}

impl Draft<'_> {
    fn place(
        &mut self,
        stored: &Stored<Volume>,
        request: &Request,
        choice: Choice,
        decided: &Decided,
    ) -> Result<(), RecordError> {
        let Some(candidate) = self.candidates.rows().get(choice.row as usize).cloned() else {
            return Ok(());
        };
        // A node that changed since the decision (a cordon, another pool) is decided on again.
        let decided_on = self.candidates.revision().0;
        if self
            .state
            .nodes
            .get(&candidate.node)
            .is_none_or(|node| node.revision.0 > decided_on)
        {
            return Ok(());
        }
        let ledger = self.ledger(&candidate.node);
        // The checks passed on the same numbers; a refusal here means that the table and the ledger differ: look again.
        if ledger
            .claim(&candidate.pool, request.disk_bytes, candidate.total_bytes)
            .is_err()
        {
            return Ok(());
        }
        let now = clock::now();
        let placement = Placement {
            node: candidate.node.clone(),
            pool: candidate.pool.clone(),
            claimed_bytes: request.disk_bytes,
            decided_by: decided.by.clone(),
            score: choice.score,
            revision: self.candidates.revision(),
            decided_at: now,
        };
        let mut volume = stored.value.clone();
        volume.placement = Some(placement.clone());
        volume.status.phase = VolumePhase::Creating;
        let message = format!(
            "on node {} in pool {} by {}",
            candidate.node, candidate.pool, decided.by.name
        );
        volume
            .status
            .conditions
            .set("placed", Truth::True, "placed", &message, now);
        let mut told = event(
            Severity::Normal,
            "placed",
            about_volume(&volume),
            format!("placed {message}"),
        );
        told = with(told, "node", &candidate.node);
        told = with(told, "pool", &candidate.pool);
        told = with(told, "decided-by", &decided.by.name);
        if let Some(digest) = decided.by.digest {
            told = with(told, "digest", digest);
        }
        let mut decision = Decision {
            placement,
            verdicts: decided.verdicts.clone(),
        };
        if record::encode(&decision).map_or(usize::MAX, |bytes| bytes.len()) > DECISION_BYTES_MAX {
            decision.verdicts = Vec::new();
        }
        let txn = std::mem::take(&mut self.batch.txn)
            .put_record(keys::decision(volume.meta.id), &decision)?
            .tell(&told)?;
        self.batch.txn = txn;
        self.put_volume(stored, &volume)?;
        self.batch.placed.push(decided.by.name.clone());
        Ok(())
    }

    fn leave(
        &mut self,
        stored: &Stored<Volume>,
        request: &Request,
        removed: &[Removed],
        decided: &Decided,
    ) -> Result<(), RecordError> {
        let mut volume = stored.value.clone();
        let message = why_not(request, removed, self.candidates.rows().len());
        let before = volume.status.phase;
        volume.status.phase = VolumePhase::Unplaceable;
        let changed = volume
            .status
            .conditions
            .set("placed", Truth::False, "unplaceable", &message, clock::now());
        self.batch.unplaceable += 1;
        if before == VolumePhase::Unplaceable && !changed {
            return Ok(());
        }
        let told = event(Severity::Warning, "unplaceable", about_volume(&volume), message);
        let told = with(told, "decided-by", &decided.by.name);
        self.batch.txn = std::mem::take(&mut self.batch.txn).tell(&told)?;
        self.put_volume(stored, &volume)
    }

    /// Reserves what a volume that was made larger needs besides its claim.
    fn grow(&mut self, stored: &Stored<Volume>) -> Result<(), RecordError> {
        let mut volume = stored.value.clone();
        let Some(placement) = volume.placement.as_mut() else {
            return Ok(());
        };
        let more = volume.spec.size.bytes().saturating_sub(placement.claimed_bytes);
        let total = self
            .candidates
            .row_of(&placement.node, &placement.pool)
            .map_or(0, |row| self.candidates.rows()[row as usize].total_bytes);
        let now = clock::now();
        match self.ledger(&placement.node.clone()).grow(&placement.pool, more, total) {
            Ok(()) => {
                placement.claimed_bytes += more;
                let message = format!("{} reserved on node {}", Bytes(placement.claimed_bytes), placement.node);
                volume
                    .status
                    .conditions
                    .set("room", Truth::True, "claimed", &message, now);
                self.put_volume(stored, &volume)
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
                self.batch.txn = std::mem::take(&mut self.batch.txn).tell(&told)?;
                self.put_volume(stored, &volume)
            }
        }
    }

    fn put_volume(&mut self, stored: &Stored<Volume>, volume: &Volume) -> Result<(), RecordError> {
        let key = keys::volume(&volume.meta.project, &volume.meta.name);
        let txn = std::mem::take(&mut self.batch.txn).when(Compare::mod_revision(key.clone(), stored.revision));
        self.batch.txn = txn.put_record(key, volume)?;
        self.is_empty = false;
        Ok(())
    }

    fn ledger(&mut self, node: &Name) -> &mut Ledger {
        let known = || {
            self.state
                .ledgers
                .get(node)
                .map(|ledger| ledger.value.clone())
                .unwrap_or_default()
        };
        self.ledgers.entry(node.clone()).or_insert_with(known)
    }

    fn finish(self) -> Result<Option<Batch>, RecordError> {
        if self.is_empty {
            return Ok(None);
        }
        let mut batch = self.batch;
        for (node, ledger) in &self.ledgers {
            let unchanged = match self.state.ledgers.get(node) {
                Some(known) if known.value == *ledger => continue,
                Some(known) => Compare::mod_revision(keys::ledger(node), known.revision),
                None => Compare::absent(keys::ledger(node)),
            };
            let mut txn = batch.txn.when(unchanged);
            if let Some(known) = self.state.nodes.get(node) {
                txn = txn.when(Compare::mod_revision(keys::node(node), known.revision));
            }
            batch.txn = txn.put_record(keys::ledger(node), ledger)?;
        }
        Ok(Some(batch))
    }
}

/// One sentence that says why nothing fits.
fn why_not(request: &Request, removed: &[Removed], rows: usize) -> String {
    if rows == 0 {
        return "there is no node with a pool yet; start an agent with the role block".to_owned();
    }
    let reasons: Vec<String> = removed
        .iter()
        .map(|removed| format!("{} by {}", removed.rows, removed.filter))
        .collect();
    let reasons = if reasons.is_empty() {
        "no reason given".to_owned()
    } else {
        reasons.join(", ")
    };
    format!(
        "none of {rows} pools takes {}: removed {reasons}",
        Bytes(request.disk_bytes)
    )
}
