//! The end of a machine: its record, its claim, its addresses, and its hold on volumes, in one transaction. Nothing of it is
//! on any node any more.

use symphony_core::event::Severity;
use symphony_core::keys;
use symphony_core::machine::{Attachment, Machine};
use symphony_core::volume::Volume;
use symphony_store::{Compare, Txn};

use crate::clock;
use crate::events::{about_machine, about_volume, event, with};
use crate::view::{ResourceKey, State, all_ports};
use crate::write::{TxnRecords as _, WriteError};

use super::super::outcome::PassError;
use super::super::{Context, TRIES, wait_for_change};

pub(super) async fn forget(context: &Context, seen: &Machine) -> Result<(), PassError> {
    let _one_at_a_time = context.releasing.lock().await;
    let name = (seen.meta.project.clone(), seen.meta.name.clone());
    for _ in 0..TRIES {
        let Some(txn) = last_transaction(&context.view.read(), &name, seen)? else {
            return Ok(());
        };
        symphony_crash::point("control.machine.before_forget");
        match context.writer.commit(txn).await {
            Ok(revision) => {
                symphony_crash::point("control.machine.after_forget");
                context.view.seen(revision).await;
                return Ok(());
            }
            Err(WriteError::Conflict) => wait_for_change(context).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(PassError::Raced)
}

/// Nothing when the machine is gone already.
fn last_transaction(state: &State, name: &ResourceKey, seen: &Machine) -> Result<Option<Txn>, PassError> {
    let Some(current) = state.machines.get(name) else {
        return Ok(None);
    };
    let machine = &current.value;
    if machine.meta.id != seen.meta.id || machine.status.tenure != seen.status.tenure {
        return Err(PassError::Raced);
    }
    let key = keys::machine(&name.0, &name.1);
    let mut txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), current.revision))
        .delete(key)
        .delete(keys::machine_id(machine.meta.id))
        .delete(keys::machine_decision(machine.meta.id));
    for port in all_ports(machine) {
        txn = txn
            .delete(keys::address(port.network, port.address))
            .delete(keys::mac(port.mac));
    }
    for attachment in machine.spec.volumes.iter().chain(&machine.status.leaving.volumes) {
        txn = let_volume_go(state, txn, machine, attachment)?;
    }
    if let Some(placement) = &machine.placement
        && let Some(ledger) = state.ledgers.get(&placement.node)
    {
        let mut next = ledger.value.clone();
        if let Err(error) = next.release_machine(placement.claimed) {
            tracing::error!(machine = %machine.meta.id, %error, "the ledger lacks a claim that is given back; it stays as it is");
        }
        let key = keys::ledger(&placement.node);
        txn = txn.when(Compare::mod_revision(key.clone(), ledger.revision));
        txn = txn.put_record(key, &next).map_err(WriteError::from)?;
    }
    let told = event(
        Severity::Normal,
        "deleted",
        about_machine(machine),
        "nothing is left of it",
    );
    Ok(Some(txn.tell(&told).map_err(WriteError::from)?))
}

/// A volume that goes with the machine is to be deleted from now on; any other is free for the next machine.
fn let_volume_go(state: &State, txn: Txn, machine: &Machine, attachment: &Attachment) -> Result<Txn, PassError> {
    let key = (machine.meta.project.clone(), attachment.name.clone());
    let is_held = |volume: &Volume| {
        let holder = volume.machine.as_ref().map(|holder| holder.id);
        volume.meta.id == attachment.id && holder == Some(machine.meta.id)
    };
    let Some(held) = state.volumes.get(&key).filter(|volume| is_held(&volume.value)) else {
        return Ok(txn);
    };
    let mut volume = held.value.clone();
    volume.machine = None;
    let mut txn = txn;
    if attachment.delete_with_machine && !volume.meta.is_deleting() {
        volume.meta.deleting_since = Some(clock::now());
        volume.meta.generation = volume.meta.generation.next();
        let message = format!("machine {} is gone", machine.meta.name);
        let told = event(Severity::Normal, "deletion-requested", about_volume(&volume), message);
        let told = with(told, "machine", &machine.meta.name);
        txn = txn.tell(&told).map_err(WriteError::from)?;
    }
    let key = keys::volume(&key.0, &key.1);
    txn = txn.when(Compare::mod_revision(key.clone(), held.revision));
    Ok(txn.put_record(key, &volume).map_err(WriteError::from)?)
}
