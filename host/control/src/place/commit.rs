//! What was decided, as one transaction: resources with their placements, ledgers with their claims, reasons and events.
//! It compares everything that the decision rests on: each resource, each node, each ledger.
//!
//! Here is the draft that all decisions of a batch are put into; [`volumes`] and [`machines`] put them there.

mod machines;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use symphony_core::event::Event;
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::place::{Candidate, Candidates, Ledger, Removed, Request, Verdict};
use symphony_core::quantity::Bytes;
use symphony_core::record::{self, RecordError};
use symphony_core::volume::Decider;
use symphony_store::{Compare, Revision, Txn};

use crate::events::with;
use crate::view::State;
use crate::write::TxnRecords as _;

use super::round::{Choice, Round};
use super::wanted::{Wanted, What};

/// Largest decision that is kept with its verdicts; a batch of them stays well below what one transaction may have. A
/// larger one is kept without: then its explanation is worked out when asked for.
pub(super) const DECISION_BYTES_MAX: usize = 24 << 10;

/// One transaction, and what to count once it is durable.
pub(super) struct Batch {
    pub(super) txn: Txn,
    pub(super) placed: Vec<String>,
    pub(super) unplaceable: u64,
}

impl Batch {
    /// Builds the transaction; none when nothing that is stored would change.
    pub(super) fn build(
        state: &State,
        candidates: &Candidates,
        new: &[Wanted],
        growing: &[Wanted],
        round: &Round,
    ) -> Result<Option<Self>, RecordError> {
        let mut draft = Draft {
            state,
            candidates,
            ledgers: BTreeMap::new(),
            batch: Self {
                txn: Txn::new(),
                placed: Vec::new(),
                unplaceable: 0,
            },
            is_empty: true,
        };
        for ((wanted, request), decided) in new.iter().zip(&round.requests).zip(&round.decided) {
            match (&wanted.what, &decided.choice) {
                (What::Volume(volume), Ok(choice)) => volumes::place(&mut draft, volume, *choice, decided)?,
                (What::Volume(volume), Err(removed)) => {
                    volumes::leave(&mut draft, volume, request, removed, &decided.by)?;
                }
                (What::Machine(machine, parts), Ok(choice)) => {
                    machines::place(&mut draft, machine, parts, *choice, decided)?;
                }
                (What::Machine(machine, _), Err(removed)) => {
                    machines::leave(&mut draft, machine, request, removed, &decided.by)?;
                }
            }
        }
        for wanted in growing {
            match &wanted.what {
                What::Volume(volume) => volumes::grow(&mut draft, volume)?,
                What::Machine(machine, _) => machines::resize(&mut draft, machine)?,
            }
        }
        draft.finish()
    }
}

/// A batch while it is put together.
struct Draft<'a> {
    state: &'a State,
    candidates: &'a Candidates,
    ledgers: BTreeMap<Name, Ledger>,
    batch: Batch,
    is_empty: bool,
}

impl Draft<'_> {
    /// The candidate that was chosen; nothing when its node changed since the decision (a cordon, another pool): then it
    /// is decided on again.
    fn chosen(&self, choice: Choice) -> Option<Arc<Candidate>> {
        let candidate = self.candidates.rows().get(choice.row as usize)?;
        let decided_on = self.candidates.revision().0;
        let node = self.state.nodes.get(&candidate.node)?;
        (node.revision.0 <= decided_on).then(|| Arc::clone(candidate))
    }

    /// The ledger of a node, with what the batch claimed so far.
    fn ledger(&self, node: &Name) -> Ledger {
        let known = || self.state.ledgers.get(node).map(|ledger| ledger.value.clone());
        self.ledgers.get(node).cloned().or_else(known).unwrap_or_default()
    }

    fn keep(&mut self, node: &Name, ledger: Ledger) {
        self.ledgers.insert(node.clone(), ledger);
    }

    /// Replaces a record, if it is still the one that was read.
    fn replace<T: Serialize>(&mut self, key: String, read_at: Revision, value: &T) -> Result<(), RecordError> {
        let txn = std::mem::take(&mut self.batch.txn).when(Compare::mod_revision(key.clone(), read_at));
        self.batch.txn = txn.put_record(key, value)?;
        self.is_empty = false;
        Ok(())
    }

    fn put<T: Serialize>(&mut self, key: String, value: &T) -> Result<(), RecordError> {
        self.batch.txn = std::mem::take(&mut self.batch.txn).put_record(key, value)?;
        Ok(())
    }

    fn tell(&mut self, event: &Event) -> Result<(), RecordError> {
        self.batch.txn = std::mem::take(&mut self.batch.txn).tell(event)?;
        Ok(())
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

/// The verdicts that are kept with a decision: none when they would make it too large.
fn kept(verdicts: &[Verdict]) -> Vec<Verdict> {
    let size = record::encode(&Kept { verdicts }).map_or(usize::MAX, |bytes| bytes.len());
    if size > DECISION_BYTES_MAX {
        Vec::new()
    } else {
        verdicts.to_vec()
    }
}

#[derive(Serialize)]
struct Kept<'a> {
    verdicts: &'a [Verdict],
}

/// Adds where it goes and who said so.
fn with_place(mut told: Event, candidate: &Candidate, by: &Decider) -> Event {
    told = with(told, "node", &candidate.node);
    told = with(told, "pool", &candidate.pool);
    told = with(told, "decided-by", &by.name);
    match by.digest {
        Some(digest) => with(told, "digest", digest),
        None => told,
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
    let what = if request.is_for_machine() {
        format!(
            "{} virtual processors, {} of memory and {} of disk",
            request.cpus,
            Bytes(request.memory_bytes),
            Bytes(request.disk_bytes)
        )
    } else {
        Bytes(request.disk_bytes).to_string()
    };
    format!("none of {rows} pools takes {what}: removed {reasons}")
}
