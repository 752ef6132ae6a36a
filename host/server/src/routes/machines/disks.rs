//! Volumes that exist and that a machine takes: nobody else's, whole, and all on one node.

use symphony_api::Code;
use symphony_core::keys;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::volume::{Holder, Volume, VolumePhase};
use symphony_store::{Compare, Store, Txn};

use crate::event::Records as _;
use crate::failure::{Answer, Failure};
use crate::reading::{Reference, Stored, load, load_by_id};

/// A volume that no machine has, by name or id; `pointer` is where it is named.
pub(super) async fn unused(store: &dyn Store, project: &Name, name: &str, pointer: &str) -> Answer<Stored<Volume>> {
    let volume = named(store, project, name, pointer).await?;
    let wrong = |code, detail: String| Err(Failure::field(code, pointer, detail));
    if volume.value.meta.is_deleting() {
        return wrong(Code::Conflict, format!("the volume {name:?} is being deleted"));
    }
    if let Some(holder) = &volume.value.machine {
        let machine = &holder.name;
        let detail = format!("the machine {machine} has the volume {name:?}; detach it there first");
        return wrong(Code::VolumeInUse, detail);
    }
    if volume.value.status.phase == VolumePhase::Failed {
        let detail = format!("the volume {name:?} could not be made, see its conditions");
        return wrong(Code::Conflict, detail);
    }
    Ok(volume)
}

/// A volume of the project, by name or id; `pointer` is where it is named.
pub(super) async fn named(store: &dyn Store, project: &Name, name: &str, pointer: &str) -> Answer<Stored<Volume>> {
    let found: Option<Stored<Volume>> = match Reference::parse(name) {
        Some(Reference::Name(name)) => load(store, &keys::volume(project, &name)).await?,
        Some(Reference::Id(id)) => load_by_id(store, &keys::volume_id(symphony_core::id::VolumeId::new(id))).await?,
        None => None,
    };
    let own = found.filter(|found| found.value.meta.project == *project);
    own.ok_or_else(|| {
        let detail = format!("there is no volume {name:?} in project {project}");
        Failure::field(Code::NotFound, pointer, detail)
    })
}

/// The record of a machine's volume, if it is still there.
pub(super) async fn of_machine(store: &dyn Store, project: &Name, name: &Name) -> Answer<Option<Stored<Volume>>> {
    load(store, &keys::volume(project, name)).await
}

/// The records of a machine's volumes.
pub(super) async fn all_of(store: &dyn Store, machine: &Machine) -> Answer<Vec<Volume>> {
    let mut all = Vec::new();
    for attachment in &machine.spec.volumes {
        let volume = of_machine(store, &machine.meta.project, &attachment.name).await?;
        all.extend(volume.map(|volume| volume.value));
    }
    Ok(all)
}

/// Why a volume can't be together with others of a machine without a place: volumes are on one node, and those that are
/// placed with the machine are in one pool. `pool` is the one that new volumes must be in.
pub(super) fn apart<'a>(
    volume: &Volume,
    others: impl IntoIterator<Item = &'a Volume>,
    pool: Option<&Name>,
) -> Option<String> {
    let name = &volume.meta.name;
    let others: Vec<&Volume> = others.into_iter().collect();
    if let Some(own) = &volume.placement {
        let (other, there) = others.iter().find_map(|other| {
            let there = other.placement.as_ref()?;
            (there.node != own.node).then_some((&other.meta.name, &there.node))
        })?;
        let here = &own.node;
        return Some(format!(
            "the volume {name} is on node {here} and the volume {other} on {there}; a machine's volumes are on one node, \
             and a volume does not move: take others, or make new ones"
        ));
    }
    let waiting = others.iter().filter(|other| other.placement.is_none());
    let other = waiting
        .filter_map(|other| other.spec.pool.as_ref())
        .chain(pool)
        .next()?;
    let own = volume.spec.pool.as_ref().filter(|own| *own != other)?;
    Some(format!(
        "the volume {name} must be in pool {own}, and others of the machine in {other}; \
         volumes that are placed with a machine are in one pool"
    ))
}

/// Puts a volume into a machine's hands, if it is still as it was seen.
pub(super) fn take(txn: Txn, volume: &Stored<Volume>, machine: &Machine) -> Answer<Txn> {
    let holder = Holder {
        id: machine.meta.id,
        name: machine.meta.name.clone(),
    };
    replace(txn, volume, Some(holder))
}

/// Takes a volume out of a machine's hands: only for a machine that no node has anything of.
pub(super) fn let_go(txn: Txn, volume: &Stored<Volume>) -> Answer<Txn> {
    replace(txn, volume, None)
}

fn replace(txn: Txn, volume: &Stored<Volume>, machine: Option<Holder>) -> Answer<Txn> {
    let meta = &volume.value.meta;
    let key = keys::volume(&meta.project, &meta.name);
    let changed = Volume {
        machine,
        ..volume.value.clone()
    };
    Ok(txn
        .when(Compare::mod_revision(&key, volume.revision))
        .record(key, &changed)?)
}
