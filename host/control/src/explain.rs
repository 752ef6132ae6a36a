//! Why: what was decided for a volume, or would be decided now.

use symphony_core::counter::Revision;
use symphony_core::keys;
use symphony_core::machine::{Machine, MachineDecision};
use symphony_core::place::check::Bookings;
use symphony_core::place::{Removed, Request, Verdict};
use symphony_core::record;
use symphony_core::volume::{Decider, Decision, Volume};

use crate::control::{Control, ControlError};
use crate::place::round::{self, Round};
use crate::place::{table, wanted};
use crate::preview::{self, PlannedStep};

/// What a policy would decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The policy.
    pub decided_by: Decider,
    /// The candidate; none: nothing fits.
    pub chosen: Option<Chosen>,
    /// Every candidate's outcome, in the order of nodes and pools.
    pub verdicts: Vec<Verdict>,
    /// How many candidates each filter removed, when nothing fits.
    pub removed: Vec<Removed>,
    /// The store's revision that it is of.
    pub revision: Revision,
}

/// A chosen candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The node.
    pub node: String,
    /// The pool.
    pub pool: String,
    /// Its score.
    pub score: f32,
}

/// What would become of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct MachinePreview {
    /// Where it would go with its volumes.
    pub preview: Preview,
    /// What the agent of that node would be asked to do first; none when nothing fits.
    pub steps: Vec<PlannedStep>,
}

/// Which moment an explanation is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// When the volume was placed.
    Decision,
    /// Now: it has no place yet, or there were too many candidates to keep their outcomes.
    Now,
}

/// Why a volume is where it is, or nowhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The decision.
    pub preview: Preview,
    /// Of which moment.
    pub as_of: AsOf,
}

impl Control {
    /// Decides without writing anything.
    ///
    /// # Errors
    /// None today; the signature leaves room for a manager that does not lead.
    pub async fn preview(&self, request: Request) -> Result<Preview, ControlError> {
        let candidates = table(&self.view().read(), None);
        let slots = self.slots();
        let decided = Round::decide(slots, &candidates, vec![request.clone()]).await.decided;
        let decided = decided.into_iter().next().ok_or(ControlError::NoDecision)?;
        let scheduler = slots.scheduler().filter(|_| decided.by.digest.is_some());
        let verdicts = if decided.verdicts.is_empty() {
            round::explain(
                slots,
                scheduler.as_ref(),
                &candidates,
                &Bookings::default(),
                &[],
                &request,
            )
            .await
        } else {
            decided.verdicts
        };
        let chosen = decided.choice.as_ref().ok().and_then(|choice| {
            let candidate = candidates.rows().get(choice.row as usize)?;
            Some(Chosen {
                node: candidate.node.to_string(),
                pool: candidate.pool.to_string(),
                score: choice.score,
            })
        });
        let removed = decided.choice.err().unwrap_or_default();
        Ok(Preview {
            decided_by: decided.by,
            chosen,
            verdicts,
            removed,
            revision: candidates.revision(),
        })
    }

    /// Decides for a machine that is not on record, with volumes of its own that are not either, without writing anything.
    ///
    /// # Errors
    /// None today; the signature leaves room for a manager that does not lead.
    pub async fn preview_machine(&self, machine: &Machine, new: &[Volume]) -> Result<MachinePreview, ControlError> {
        let request = self.machine_request(machine, new);
        let preview = self.preview(request).await?;
        let steps = match &preview.chosen {
            Some(chosen) => preview::steps(self, machine, new, chosen).await,
            None => Vec::new(),
        };
        Ok(MachinePreview { preview, steps })
    }

    /// Says why a machine is where it is; for one without a place, why it is not placed now.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn explain_machine(&self, machine: &Machine) -> Result<Explanation, ControlError> {
        let key = keys::machine_decision(machine.meta.id);
        let kept = self.store().get(&key.into(), None).await?;
        let kept: Option<MachineDecision> = kept.map(|kv| record::decode(&kv.value)).transpose()?;
        let Some(kept) = kept else {
            let preview = self.preview(self.machine_request(machine, &[])).await?;
            return Ok(Explanation {
                preview,
                as_of: AsOf::Now,
            });
        };
        let chosen = Some(Chosen {
            node: kept.placement.node.to_string(),
            pool: kept.pool.to_string(),
            score: kept.placement.score,
        });
        let mut preview = Preview {
            decided_by: kept.placement.decided_by,
            chosen,
            verdicts: kept.verdicts,
            removed: Vec::new(),
            revision: kept.revision,
        };
        let mut as_of = AsOf::Decision;
        if preview.verdicts.is_empty() {
            let now = self.preview(self.machine_request(machine, &[])).await?;
            preview.verdicts = now.verdicts;
            preview.revision = now.revision;
            as_of = AsOf::Now;
        }
        Ok(Explanation { preview, as_of })
    }

    fn machine_request(&self, machine: &Machine, new: &[Volume]) -> Request {
        wanted::request_of(&self.view().read(), machine, new)
    }

    /// Says why a volume is where it is; for one without a place, why it is not placed now.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn explain(&self, volume: &Volume) -> Result<Explanation, ControlError> {
        let Some(placement) = &volume.placement else {
            let preview = self.preview(Request::of(volume)).await?;
            return Ok(Explanation {
                preview,
                as_of: AsOf::Now,
            });
        };
        let chosen = Some(Chosen {
            node: placement.node.to_string(),
            pool: placement.pool.to_string(),
            score: placement.score,
        });
        let kept = self.store().get(&keys::decision(volume.meta.id).into(), None).await?;
        let kept: Option<Decision> = kept.map(|kv| record::decode(&kv.value)).transpose()?;
        let mut preview = Preview {
            decided_by: placement.decided_by.clone(),
            chosen,
            verdicts: kept.map(|decision| decision.verdicts).unwrap_or_default(),
            removed: Vec::new(),
            revision: placement.revision,
        };
        if !preview.verdicts.is_empty() {
            return Ok(Explanation {
                preview,
                as_of: AsOf::Decision,
            });
        }
        let now = self.preview(Request::of(volume)).await?;
        preview.verdicts = now.verdicts;
        preview.revision = now.revision;
        Ok(Explanation {
            preview,
            as_of: AsOf::Now,
        })
    }
}
