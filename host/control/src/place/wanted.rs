//! What wants a place now, with the request that says so: volumes that no machine has, machines with their volumes, and
//! volumes of machines that have a place already.

use std::collections::BTreeSet;
use std::sync::Arc;

use symphony_core::machine::{Attachment, Machine};
use symphony_core::name::Name;
use symphony_core::place::{Request, Surroundings};
use symphony_core::volume::Volume;
use uuid::Uuid;

use crate::view::{State, Stored};

/// Most records that one batch reads and writes: with a ledger and an event for each they fit a transaction of 128
/// operations.
pub(super) const RECORDS_MAX: usize = 90;

/// Something that wants a place, or more of the place that it has.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) what: What,
    /// Nothing for what only grows: its place is decided.
    pub(super) request: Option<Request>,
}

/// What it is.
#[derive(Clone)]
pub(super) enum What {
    /// A volume alone.
    Volume(Arc<Stored<Volume>>),
    /// A machine with those of its volumes that have no place.
    Machine(Arc<Stored<Machine>>, Vec<Arc<Stored<Volume>>>),
}

impl Wanted {
    pub(super) fn id(&self) -> Uuid {
        match &self.what {
            What::Volume(volume) => volume.value.meta.id.uuid(),
            What::Machine(machine, _) => machine.value.meta.id.uuid(),
        }
    }

    pub(super) fn generation(&self) -> symphony_core::counter::Generation {
        match &self.what {
            What::Volume(volume) => volume.value.meta.generation,
            What::Machine(machine, _) => machine.value.meta.generation,
        }
    }

    /// How many records of a transaction it takes at most.
    pub(super) fn records(&self) -> usize {
        match &self.what {
            What::Volume(_) => 3,
            What::Machine(_, volumes) => 3 + volumes.len(),
        }
    }

    pub(super) fn is_machine(&self) -> bool {
        matches!(self.what, What::Machine(..))
    }
}

/// All that wants a place now and can be asked about.
pub(super) fn all(state: &State) -> Vec<Wanted> {
    let volumes = state.waiting.volumes_to_place.iter().filter_map(|key| {
        let volume = state.volumes.get(key)?;
        let request = match (&volume.value.placement, &volume.value.machine) {
            (Some(_), _) => None,
            (None, None) => Some(Request::of(&volume.value)),
            // One that a machine has goes where the machine is; with it, when it has no place either.
            (None, Some(holder)) => {
                let machine = state.machines.get(&(key.0.clone(), holder.name.clone()))?;
                let placement = machine.value.placement.as_ref()?;
                Some(Request {
                    node: Some(placement.node.clone()),
                    ..Request::of(&volume.value)
                })
            }
        };
        Some(Wanted {
            what: What::Volume(Arc::clone(volume)),
            request,
        })
    });
    let machines = state.waiting.machines_to_place.iter().filter_map(|key| {
        let machine = state.machines.get(key)?;
        if machine.value.placement.is_some() {
            return Some(Wanted {
                what: What::Machine(Arc::clone(machine), Vec::new()),
                request: None,
            });
        }
        let volumes = unplaced_volumes(state, &machine.value)?;
        let parts: Vec<&Volume> = volumes.iter().map(|volume| &volume.value).collect();
        let around = surroundings(state, &machine.value, &parts)?;
        Some(Wanted {
            request: Some(request(&machine.value, &parts, around)),
            what: What::Machine(Arc::clone(machine), volumes),
        })
    });
    machines.chain(volumes).collect()
}

/// The oldest of them, as many as fit one batch. Machines that say where others may go are decided alone: what is true of
/// their neighbours is known once they are placed. With `apart`, machines and volumes are not mixed.
pub(super) fn batch(mut all: Vec<Wanted>, apart: bool) -> Vec<Wanted> {
    all.sort_by_key(Wanted::id);
    let mut taken: Vec<Wanted> = Vec::new();
    let mut records = 0;
    let mut has_neighbours = false;
    for wanted in all {
        if apart
            && taken
                .first()
                .is_some_and(|first| first.is_machine() != wanted.is_machine())
        {
            continue;
        }
        let minds = minds_neighbours(&wanted);
        if (minds || has_neighbours) && wanted.is_machine() && taken.iter().any(Wanted::is_machine) {
            continue;
        }
        records += wanted.records();
        if records > RECORDS_MAX {
            break;
        }
        has_neighbours |= minds;
        taken.push(wanted);
    }
    taken
}

fn minds_neighbours(wanted: &Wanted) -> bool {
    match &wanted.what {
        What::Machine(machine, _) => {
            let wishes = &machine.value.spec.wishes;
            !wishes.apart_from.is_empty() || !wishes.near.is_empty()
        }
        What::Volume(_) => false,
    }
}

/// The machine's volumes without a place; nothing when one of its volumes is not on record.
fn unplaced_volumes(state: &State, machine: &Machine) -> Option<Vec<Arc<Stored<Volume>>>> {
    let mut unplaced = Vec::new();
    for attachment in &machine.spec.volumes {
        let volume = recorded(state, machine, attachment)?;
        if volume.value.placement.is_none() {
            unplaced.push(Arc::clone(volume));
        }
    }
    Some(unplaced)
}

/// A volume of the machine, if it is on record.
fn recorded<'a>(state: &'a State, machine: &Machine, attachment: &Attachment) -> Option<&'a Arc<Stored<Volume>>> {
    let key = (machine.meta.project.clone(), attachment.name.clone());
    state
        .volumes
        .get(&key)
        .filter(|volume| volume.value.meta.id == attachment.id)
}

/// The request of a machine as it would be now: with volumes that are not on record yet, or with those of its own that have
/// no place.
pub(crate) fn request_of(state: &State, machine: &Machine, new: &[Volume]) -> Request {
    let on_record = machine
        .spec
        .volumes
        .iter()
        .filter_map(|attachment| recorded(state, machine, attachment));
    let unplaced = on_record
        .map(|volume| &volume.value)
        .filter(|volume| volume.placement.is_none());
    let volumes: Vec<&Volume> = new.iter().chain(unplaced).collect();
    let around = surroundings(state, machine, &volumes).unwrap_or_default();
    request(machine, &volumes, around)
}

fn request(machine: &Machine, volumes: &[&Volume], around: Surroundings) -> Request {
    let mut request = Request::of_machine(machine, around);
    for volume in volumes {
        request.require.extend(&volume.spec.require);
    }
    request
}

/// What the rest of the cluster has to say about a machine's place; nothing while a machine that it must be near has no
/// place itself.
fn surroundings(state: &State, machine: &Machine, unplaced: &[&Volume]) -> Option<Surroundings> {
    let project = &machine.meta.project;
    let placed = machine.spec.volumes.iter().find_map(|attachment| {
        let volume = recorded(state, machine, attachment)?;
        Some(volume.value.placement.as_ref()?.node.clone())
    });
    let node_of = |name: &Name| {
        let other = state.machines.get(&(project.clone(), name.clone()))?;
        Some(other.value.placement.as_ref()?.node.clone())
    };
    let wishes = &machine.spec.wishes;
    let mut avoid: BTreeSet<Name> = wishes.apart_from.iter().filter_map(node_of).collect();
    avoid.extend(shunned_by(state, machine));
    let mut near = BTreeSet::new();
    for name in &wishes.near {
        // One that is gone is no reason to wait for ever.
        if state.machines.contains_key(&(project.clone(), name.clone())) {
            near.insert(node_of(name)?);
        }
    }
    Some(Surroundings {
        disk_bytes: unplaced.iter().map(|volume| volume.spec.size.bytes()).sum(),
        pool: unplaced.iter().find_map(|volume| volume.spec.pool.clone()),
        node: placed,
        avoid,
        near,
    })
}

/// Where the machines are that want to be apart from this one: they said so, and it counts for both.
fn shunned_by<'a>(state: &'a State, machine: &'a Machine) -> impl Iterator<Item = Name> + 'a {
    let from = (machine.meta.project.clone(), "0".parse().expect("`0` is a name"));
    state
        .machines
        .range(from..)
        .take_while(|(key, _)| key.0 == machine.meta.project)
        .filter(|(_, other)| other.value.spec.wishes.apart_from.contains(&machine.meta.name))
        .filter_map(|(_, other)| Some(other.value.placement.as_ref()?.node.clone()))
}
