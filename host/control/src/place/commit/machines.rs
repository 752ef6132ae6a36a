//! Machines that were placed with their volumes, that no node takes, and that got another size.

use std::sync::Arc;

use symphony_core::condition::Truth;
use symphony_core::counter::Generation;
use symphony_core::event::Severity;
use symphony_core::keys;
use symphony_core::machine::{Machine, MachineDecision, MachinePhase, MachinePlacement};
use symphony_core::node::Compute;
use symphony_core::place::{Ledger, LedgerError, Removed, Request};
use symphony_core::quantity::Bytes;
use symphony_core::record::RecordError;
use symphony_core::volume::{Decider, Volume};

use crate::clock;
use crate::events::{about_machine, event, with};
use crate::view::Stored;

use super::super::round::{Choice, Decided};
use super::{Draft, kept, volumes, why_not, with_place};

/// Places a machine and those of its volumes that have no place, with all their claims: or nothing of it.
pub(super) fn place(
    draft: &mut Draft<'_>,
    stored: &Stored<Machine>,
    parts: &[Arc<Stored<Volume>>],
    choice: Choice,
    decided: &Decided,
) -> Result<(), RecordError> {
    let Some(candidate) = draft.chosen(choice) else {
        return Ok(());
    };
    let node = &candidate.node;
    let size = stored.value.spec.size;
    let mut ledger = draft.ledger(node);
    let claimed = claim(draft, node, &mut ledger, &stored.value).and_then(|()| {
        parts
            .iter()
            .try_for_each(|volume| ledger.claim(&candidate.pool, volume.value.spec.size.bytes(), candidate.total_bytes))
    });
    // The checks passed on the same numbers; a refusal here means that the table and the ledger differ: look again.
    if claimed.is_err() {
        return Ok(());
    }
    draft.keep(node, ledger);
    for volume in parts {
        let placed = volumes::placed(draft, volume, &candidate, choice.score, &decided.by);
        volumes::put(draft, volume, &placed)?;
    }
    let now = clock::now();
    let placement = MachinePlacement {
        node: node.clone(),
        claimed: size,
        decided_by: decided.by.clone(),
        score: choice.score,
        decided_at: now,
    };
    let mut machine = stored.value.clone();
    machine.placement = Some(placement.clone());
    machine.status.tenure = machine.status.tenure.next();
    machine.status.phase = MachinePhase::Preparing;
    let message = format!("on node {node} by {}", decided.by.name);
    machine
        .status
        .conditions
        .set("placed", Truth::True, "placed", &message, now);
    let decision = MachineDecision {
        placement,
        pool: candidate.pool.clone(),
        revision: draft.candidates.revision(),
        verdicts: kept(&decided.verdicts),
    };
    draft.put(keys::machine_decision(machine.meta.id), &decision)?;
    let told = event(
        Severity::Normal,
        "placed",
        about_machine(&machine),
        format!("placed {message}"),
    );
    draft.tell(&with_place(told, &candidate, &decided.by))?;
    put(draft, stored, &machine)?;
    draft.batch.placed.push(decided.by.name.clone());
    Ok(())
}

fn claim(
    draft: &Draft<'_>,
    node: &symphony_core::name::Name,
    ledger: &mut Ledger,
    machine: &Machine,
) -> Result<(), LedgerError> {
    let of = compute(draft, node);
    ledger.claim_machine(machine.spec.size, &of)
}

/// What the node has for machines; nothing where it runs none.
fn compute(draft: &Draft<'_>, node: &symphony_core::name::Name) -> Compute {
    let known = draft
        .state
        .nodes
        .get(node)
        .and_then(|node| node.value.status.compute.clone());
    known.unwrap_or(Compute {
        hypervisor: symphony_core::plan::machine::Hypervisor::Test,
        cpus: 0,
        cpu_overcommit_percent: 0,
        memory_bytes: 0,
    })
}

pub(super) fn leave(
    draft: &mut Draft<'_>,
    stored: &Stored<Machine>,
    request: &Request,
    removed: &[Removed],
    by: &Decider,
) -> Result<(), RecordError> {
    let mut machine = stored.value.clone();
    let message = why_not(request, removed, draft.candidates.rows().len());
    let before = machine.status.phase;
    machine.status.phase = MachinePhase::Unplaceable;
    let changed = machine
        .status
        .conditions
        .set("placed", Truth::False, "unplaceable", &message, clock::now());
    draft.batch.unplaceable += 1;
    if before == MachinePhase::Unplaceable && !changed {
        return Ok(());
    }
    let told = event(Severity::Warning, "unplaceable", about_machine(&machine), message);
    draft.tell(&with(told, "decided-by", &by.name))?;
    put(draft, stored, &machine)
}

/// Claims the size that a machine should have in place of the one that it has.
pub(super) fn resize(draft: &mut Draft<'_>, stored: &Stored<Machine>) -> Result<(), RecordError> {
    let mut machine = stored.value.clone();
    let size = machine.spec.size;
    let Some(placement) = machine.placement.as_mut() else {
        return Ok(());
    };
    let node = placement.node.clone();
    let now = clock::now();
    let mut ledger = draft.ledger(&node);
    if let Err(error) = ledger.release_machine(placement.claimed) {
        tracing::error!(machine = %machine.meta.id, %error, "the ledger lacks a claim that is to be changed; it stays as it is");
        return Ok(());
    }
    match ledger.claim_machine(size, &compute(draft, &node)) {
        Ok(()) => {
            draft.keep(&node, ledger);
            placement.claimed = size;
            // Its node has it with the old size, whatever was seen since it was asked for.
            machine.status.observed_generation = Generation(0);
            let message = format!(
                "{} virtual processors and {} of memory reserved on node {node}",
                size.cpus(),
                Bytes(size.memory_bytes())
            );
            machine
                .status
                .conditions
                .set("room", Truth::True, "claimed", &message, now);
            put(draft, stored, &machine)
        }
        Err(error) => {
            let message = format!(
                "the machine can't get its new size on node {node}: {error}; it keeps the old one until there is room"
            );
            if !machine
                .status
                .conditions
                .set("room", Truth::False, "full", &message, now)
            {
                return Ok(());
            }
            let told = event(Severity::Warning, "no-room-to-grow", about_machine(&machine), message);
            draft.tell(&told)?;
            put(draft, stored, &machine)
        }
    }
}

fn put(draft: &mut Draft<'_>, stored: &Stored<Machine>, machine: &Machine) -> Result<(), RecordError> {
    let key = keys::machine(&machine.meta.project, &machine.meta.name);
    draft.replace(key, stored.revision, machine)
}
