//! Emptying a node that runs: no new work, and what can leave leaves, each machine once its agent shows nothing of it.
//!
//! A machine that runs is not moved; it is stopped when that was asked for, and leaves at the next drain. What holds a
//! machine is said, and nothing is done about it.

use symphony_core::event::Severity;
use symphony_core::keys;
use symphony_core::machine::{Machine, MachinePhase};
use symphony_core::name::Name;
use symphony_core::plan::machine::Power;
use symphony_store::{Compare, Txn};

use crate::control::Control;
use crate::events::{about_machine, about_node, event, with};
use crate::reconcile::TRIES;
use crate::view::{ResourceKey, State, Stored};
use crate::write::{TxnRecords as _, WriteError};

use super::{FenceError, held_by};

/// Most machines that are named in an answer, of each sort.
pub(super) const NAMED_MAX: usize = 1_000;

/// What became of a node's machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// They leave: project and name.
    pub leaving: Vec<(Name, Name)>,
    /// They are being stopped, and leave at the next drain.
    pub stopping: Vec<(Name, Name)>,
    /// They stay, and why.
    pub staying: Vec<Stays>,
}

/// A machine that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    /// Its project.
    pub project: Name,
    /// Its name.
    pub machine: Name,
    /// What holds it.
    pub why: String,
}

/// What is to be done with one machine.
enum Verdict {
    Leaves,
    LeavesAlready,
    Stops,
    Stays(String),
}

impl Control {
    /// Cordons a node and lets go what can go; with `stop`, what runs and could leave is asked to stop. May be repeated.
    ///
    /// # Errors
    /// There is no such node, or the store can't be written.
    pub async fn drain(&self, name: &Name, stop: bool) -> Result<Drained, FenceError> {
        self.cordon(name).await?;
        let there: Vec<ResourceKey> = {
            let state = self.view().read();
            let on = |machine: &Machine| machine.placement.as_ref().is_some_and(|place| place.node == *name);
            let machines = state.machines.iter().filter(|(_, machine)| on(&machine.value));
            machines.map(|(key, _)| key.clone()).collect()
        };
        let mut drained = Drained::default();
        for key in there {
            let verdict = self.drain_one(name, &key, stop).await?;
            match verdict {
                Some(Verdict::Leaves | Verdict::LeavesAlready) => drained.leaving.push(key),
                Some(Verdict::Stops) => drained.stopping.push(key),
                Some(Verdict::Stays(why)) => drained.staying.push(Stays {
                    project: key.0,
                    machine: key.1,
                    why,
                }),
                // It went while it was looked at.
                None => {}
            }
        }
        drained.leaving.truncate(NAMED_MAX);
        drained.stopping.truncate(NAMED_MAX);
        drained.staying.truncate(NAMED_MAX);
        Ok(drained)
    }

    async fn cordon(&self, name: &Name) -> Result<(), FenceError> {
        for _ in 0..TRIES {
            let Stored { mut value, revision } = self.node(name).await?;
            if value.spec.cordoned {
                return Ok(());
            }
            value.spec.cordoned = true;
            value.meta.generation = value.meta.generation.next();
            let told = event(
                Severity::Normal,
                "cordoned",
                about_node(name),
                "new work is kept away from it: it is drained",
            );
            let key = keys::node(name);
            let txn = Txn::new()
                .when(Compare::mod_revision(key.clone(), revision))
                .put_record(key, &value)
                .map_err(WriteError::from)?
                .tell(&told)
                .map_err(WriteError::from)?;
            match self.writer().commit(txn).await {
                Ok(revision) => {
                    // From here on nothing new is placed there, so what is there now is all.
                    self.seen(revision).await;
                    return Ok(());
                }
                Err(WriteError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Conflict.into())
    }

    async fn drain_one(&self, node: &Name, key: &ResourceKey, stop: bool) -> Result<Option<Verdict>, FenceError> {
        for _ in 0..TRIES {
            let (verdict, txn) = {
                let state = self.view().read();
                let current = state.machines.get(key);
                let on = |machine: &Machine| machine.placement.as_ref().is_some_and(|place| place.node == *node);
                let Some(current) = current.filter(|current| on(&current.value)) else {
                    return Ok(None);
                };
                let verdict = verdict(&state, &current.value, node, stop);
                let txn = write(current, node, &verdict).map_err(FenceError::from)?;
                (verdict, txn)
            };
            let Some(txn) = txn else { return Ok(Some(verdict)) };
            symphony_crash::point("control.drain.before_commit");
            match self.writer().commit(txn).await {
                Ok(revision) => {
                    symphony_crash::point("control.drain.after_commit");
                    self.seen(revision).await;
                    return Ok(Some(verdict));
                }
                Err(WriteError::Conflict) => {
                    // Somebody else wrote: what they wrote comes before the revision of now.
                    let now = self.store().status().await.map_err(WriteError::from)?.revision;
                    self.seen(now).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Conflict.into())
    }
}

fn verdict(state: &State, machine: &Machine, node: &Name, stop: bool) -> Verdict {
    if machine.meta.is_deleting() {
        return Verdict::Stays("it is being deleted".to_owned());
    }
    if machine.status.moving {
        return Verdict::LeavesAlready;
    }
    if let Some(volume) = held_by(state, machine, node) {
        return Verdict::Stays(format!("its volume {volume} is on this node"));
    }
    let is_off = machine.spec.power == Power::Off && machine.status.phase == MachinePhase::Stopped;
    let phase = machine.status.phase;
    let is_new = !machine.was_started() && matches!(phase, MachinePhase::Pending | MachinePhase::Preparing);
    if is_off || is_new {
        return Verdict::Leaves;
    }
    if machine.spec.power == Power::Off {
        return Verdict::Stays("it is being stopped".to_owned());
    }
    if stop {
        return Verdict::Stops;
    }
    Verdict::Stays("it is to run; stop it, or drain with --stop".to_owned())
}

/// What a verdict changes.
fn write(current: &Stored<Machine>, node: &Name, verdict: &Verdict) -> Result<Option<Txn>, WriteError> {
    let mut machine = current.value.clone();
    let (reason, message) = match verdict {
        Verdict::Leaves => {
            // From here on its agent takes nothing that was decided on for the placement before.
            machine.status.moving = true;
            machine.status.tenure = machine.status.tenure.next();
            ("leaves", format!("it is to leave node {node}, which is drained"))
        }
        Verdict::Stops => {
            machine.spec.power = Power::Off;
            machine.meta.generation = machine.meta.generation.next();
            ("stop-requested", format!("node {node} is drained"))
        }
        Verdict::LeavesAlready | Verdict::Stays(_) => return Ok(None),
    };
    let told = event(Severity::Normal, reason, about_machine(&machine), message);
    let told = with(told, "node", node);
    let key = keys::machine(&machine.meta.project, &machine.meta.name);
    let txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), current.revision))
        .put_record(key, &machine)?
        .tell(&told)?;
    Ok(Some(txn))
}
