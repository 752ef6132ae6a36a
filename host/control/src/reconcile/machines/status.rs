//! What was seen of a machine, written down; with the story that is told of it.

use symphony_core::condition::Truth;
use symphony_core::event::{Event, Severity};
use symphony_core::keys;
use symphony_core::machine::life::{self, Decision};
use symphony_core::machine::{Leaving, Machine, MachinePhase};
use symphony_core::plan::machine::{Domain, Exit, RunState};
use symphony_store::{Compare, Txn};

use crate::clock;
use crate::events::{about_machine, event, with};
use crate::view::{ResourceKey, State};
use crate::write::{TxnRecords as _, WriteError};

use super::super::outcome::PassError;
use super::super::{Context, TRIES, wait_for_change};
use super::Missing;

/// It waits for something that it needs.
pub(super) async fn preparing(context: &Context, seen: &Machine, missing: &Missing) -> Result<(), PassError> {
    let message = format!("waits for {}", missing.what);
    let change = |machine: &mut Machine| {
        // One that was stopped before it was seen to run is not prepared again.
        if life::may_follow(machine.status.phase, MachinePhase::Preparing) {
            machine.status.phase = MachinePhase::Preparing;
        }
        not_ready(machine, "waiting", &message);
    };
    write(context, seen, change, false).await
}

/// Steps are about to be done. The phase is shown when it can be; the next look writes it anyway.
pub(super) async fn begins(context: &Context, seen: &Machine, decision: &Decision) {
    let change = |machine: &mut Machine| {
        machine.status.phase = decision.phase;
        // What it waited for is there now, and what it was before is over.
        match decision.phase {
            MachinePhase::Starting => not_ready(machine, "starting", ""),
            MachinePhase::Stopping => not_ready(machine, "stopping", ""),
            _ => {}
        }
    };
    if let Err(error) = write(context, seen, change, false).await {
        tracing::debug!(%error, "a phase was not shown");
    }
}

/// It is as its life wants it; `whole` when nothing that it needs was missing.
pub(super) async fn seen(
    context: &Context,
    seen: &Machine,
    decision: &Decision,
    domain: Option<&Domain>,
    whole: bool,
) -> Result<(), PassError> {
    let exit = domain.and_then(|domain| match domain.state {
        RunState::Off(exit) => Some(exit),
        RunState::Running | RunState::Paused => None,
    });
    let change = |machine: &mut Machine| {
        machine.status.phase = decision.phase;
        machine.status.history = decision.history;
        machine.status.exit = exit;
        machine.status.hypervisor = domain.map(|domain| domain.description.hypervisor);
        if whole {
            machine.status.observed_generation = seen.meta.generation;
        }
        match decision.phase {
            MachinePhase::Running => {
                machine
                    .status
                    .conditions
                    .set("ready", Truth::True, "running", "", clock::now());
            }
            MachinePhase::BackOff => not_ready(machine, "died", &dead(exit, decision)),
            _ => not_ready(machine, "off", &off(exit)),
        }
    };
    write(context, seen, change, whole).await
}

/// Its driver says that it can't be made as asked.
pub(super) async fn failed(context: &Context, seen: &Machine, why: &str) -> Result<(), PassError> {
    let change = |machine: &mut Machine| {
        machine.status.phase = MachinePhase::Failed;
        machine.status.observed_generation = seen.meta.generation;
        not_ready(machine, "refused", why);
    };
    // What was taken from it stays its own: nobody knows whether its node has let go of it.
    write(context, seen, change, false).await
}

/// The pass did not get to its end. Its phase stays: nobody knows better.
pub(super) async fn stuck(context: &Context, seen: &Machine, error: &PassError) -> Result<(), PassError> {
    let (reason, message) = error.condition();
    let change = |machine: &mut Machine| not_ready(machine, reason, &message);
    write(context, seen, change, false).await
}

fn not_ready(machine: &mut Machine, reason: &str, message: &str) {
    machine
        .status
        .conditions
        .set("ready", Truth::False, reason, message, clock::now());
}

fn off(exit: Option<Exit>) -> String {
    match exit {
        Some(Exit::Guest) => "its guest shut itself down",
        Some(Exit::Crashed) => "it crashed",
        Some(Exit::Failed) => "it could not be started",
        Some(Exit::NeverRan) => "it has not run since its node came up",
        Some(Exit::Ordered) | None => "it is off",
    }
    .to_owned()
}

fn dead(exit: Option<Exit>, decision: &Decision) -> String {
    let again = decision.look_again.map_or_else(String::new, |then| {
        format!("; it is started again at {then} (start {})", decision.history.restarts)
    });
    format!("{}{again}", off(exit))
}

/// What the change from one state to another is worth telling.
fn story(before: &Machine, after: &Machine) -> Option<Event> {
    let (was, is) = (before.status.phase, after.status.phase);
    if was == is {
        return None;
    }
    let node = after.placement.as_ref().map(|placement| placement.node.to_string());
    let node = node.unwrap_or_default();
    let about = about_machine(after);
    let told = |severity, reason, message: String| Some(event(severity, reason, about, message));
    match is {
        MachinePhase::Running => told(Severity::Normal, "running", format!("runs on node {node}")),
        MachinePhase::Stopped => told(Severity::Normal, "stopped", off(after.status.exit)),
        MachinePhase::BackOff => {
            let message = after.status.conditions.of("ready").map(|ready| ready.message.clone());
            told(Severity::Warning, "died", message.unwrap_or_default())
        }
        MachinePhase::Failed => {
            let message = after.status.conditions.of("ready").map(|ready| ready.message.clone());
            told(Severity::Warning, "failed", message.unwrap_or_default())
        }
        MachinePhase::Starting if was == MachinePhase::BackOff => told(
            Severity::Normal,
            "restarting",
            format!("is started again on node {node}"),
        ),
        _ => None,
    }
}

/// Changes the record as it is now. With `let_go`, what was taken from the machine before the generation that was seen is
/// given back in the same transaction: volumes to whoever wants them, addresses to their networks.
async fn write(
    context: &Context,
    seen: &Machine,
    change: impl Fn(&mut Machine),
    let_go: bool,
) -> Result<(), PassError> {
    let name = (seen.meta.project.clone(), seen.meta.name.clone());
    for _ in 0..TRIES {
        let (txn, is_news) = {
            let state = context.view.read();
            let current = state.machines.get(&name).ok_or(PassError::Raced)?;
            let is_same = current.value.meta.id == seen.meta.id;
            let is_there = current.value.status.tenure == seen.status.tenure;
            if !is_same || !is_there || current.value.is_leaving() != seen.is_leaving() {
                return Err(PassError::Raced);
            }
            let mut machine = current.value.clone();
            change(&mut machine);
            let key = keys::machine(&name.0, &name.1);
            let mut txn = Txn::new().when(Compare::mod_revision(key.clone(), current.revision));
            if let_go && machine.meta.generation == seen.meta.generation {
                let leaving = std::mem::take(&mut machine.status.leaving);
                txn = give_back(&state, txn, &name, &machine, &leaving)?;
            }
            let is_news = machine != current.value;
            if !life::may_follow(current.value.status.phase, machine.status.phase) {
                let (was, is) = (current.value.status.phase, machine.status.phase);
                tracing::error!(?was, ?is, machine = %machine.meta.id, "a phase that may not follow");
            }
            if let Some(mut told) = story(&current.value, &machine) {
                if let Some(since) = &seen.placement {
                    told = with(told, "node", &since.node);
                }
                txn = txn.tell(&told).map_err(WriteError::from)?;
            }
            (txn.put_record(key, &machine).map_err(WriteError::from)?, is_news)
        };
        if !is_news {
            return Ok(());
        }
        symphony_crash::point("control.machine.before_status");
        match context.writer.commit(txn).await {
            Ok(revision) => {
                symphony_crash::point("control.machine.after_status");
                context.view.seen(revision).await;
                return Ok(());
            }
            Err(WriteError::Conflict) => wait_for_change(context).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(PassError::Raced)
}

/// Lets go of what the node does not hold any more.
fn give_back(
    state: &State,
    mut txn: Txn,
    (project, _): &ResourceKey,
    machine: &Machine,
    leaving: &Leaving,
) -> Result<Txn, PassError> {
    for attachment in &leaving.volumes {
        let held = state.volumes.get(&(project.clone(), attachment.name.clone()));
        let held = held.filter(|volume| {
            volume.value.meta.id == attachment.id
                && volume.value.machine.as_ref().map(|holder| holder.id) == Some(machine.meta.id)
        });
        if let Some(held) = held {
            let mut volume = held.value.clone();
            volume.machine = None;
            let key = keys::volume(project, &attachment.name);
            txn = txn.when(Compare::mod_revision(key.clone(), held.revision));
            txn = txn.put_record(key, &volume).map_err(WriteError::from)?;
        }
    }
    for port in &leaving.ports {
        txn = txn
            .delete(keys::address(port.network, port.address))
            .delete(keys::mac(port.mac));
    }
    Ok(txn)
}
