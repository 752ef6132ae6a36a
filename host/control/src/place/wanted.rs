//! What wants a place now, with the request that says so: volumes that no machine has, machines with their volumes, and
//! volumes of machines that have a place already.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use symphony_core::condition::Truth;
use symphony_core::machine::{Attachment, Machine};
use symphony_core::name::Name;
use symphony_core::place::{Request, Surroundings};
use symphony_core::record;
use symphony_core::volume::Volume;
use uuid::Uuid;

use crate::view::{ResourceKey, State, Stored};

use super::commit::DECISION_BYTES_MAX;

/// Most records that one batch reads and writes: with a ledger and an event for each they fit a transaction of 128
/// operations.
const RECORDS_MAX: usize = 90;
/// Most bytes that one batch writes, well below what a transaction may have.
const BYTES_MAX: usize = 1 << 20;
/// What a volume's record takes at most, and its decision and event.
const VOLUME_BYTES: usize = 8 << 10;

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

    /// How many records of a transaction it takes at most, and how many bytes.
    fn size(&self) -> (usize, usize) {
        match &self.what {
            What::Volume(_) => (3, VOLUME_BYTES + DECISION_BYTES_MAX),
            What::Machine(machine, volumes) => {
                // A record that can't be written was never read.
                let bytes = record::encode(&machine.value).map_or(0, |bytes| bytes.len());
                let parts = VOLUME_BYTES * volumes.len();
                (3 + volumes.len(), bytes + VOLUME_BYTES + DECISION_BYTES_MAX + parts)
            }
        }
    }

    pub(super) fn is_machine(&self) -> bool {
        matches!(self.what, What::Machine(..))
    }
}

/// Who waits, by id: so the oldest first.
enum Waiting<'a> {
    Volume(&'a ResourceKey, &'a Arc<Stored<Volume>>),
    Machine(&'a Arc<Stored<Machine>>),
}

/// The oldest that want a place now, as many as fit one batch; `is_known` says of which nothing new can be decided. Machines
/// that say where others may go are decided alone: what is true of their neighbours is known once they are placed. With
/// `apart`, machines and volumes are not mixed.
pub(super) fn batch(state: &State, apart: bool, is_known: impl Fn(&Wanted) -> bool) -> Vec<Wanted> {
    let volumes = state.waiting.volumes_to_place.iter().filter_map(|key| {
        let volume = state.volumes.get(key)?;
        Some((volume.value.meta.id.uuid(), Waiting::Volume(key, volume)))
    });
    let machines = state.waiting.machines_to_place.iter().filter_map(|key| {
        let machine = state.machines.get(key)?;
        Some((machine.value.meta.id.uuid(), Waiting::Machine(machine)))
    });
    let mut waiting: Vec<_> = volumes.chain(machines).collect();
    if waiting.is_empty() {
        return Vec::new();
    }
    waiting.sort_by_key(|(id, _)| *id);
    let neighbours = Neighbours::of(state);
    let mut batch = Batch::default();
    for (_, waiting) in waiting {
        let wanted = match waiting {
            Waiting::Volume(key, volume) => volume_wanted(state, key, volume),
            Waiting::Machine(machine) => machine_wanted(state, &neighbours, machine, &is_known),
        };
        let Some(wanted) = wanted.filter(|wanted| !is_known(wanted)) else {
            continue;
        };
        if !batch.may_mix(&wanted, apart) {
            continue;
        }
        if !batch.take(wanted) {
            break;
        }
    }
    batch.taken
}

fn volume_wanted(state: &State, key: &ResourceKey, volume: &Arc<Stored<Volume>>) -> Option<Wanted> {
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
}

fn machine_wanted(
    state: &State,
    neighbours: &Neighbours,
    machine: &Arc<Stored<Machine>>,
    is_known: impl Fn(&Wanted) -> bool,
) -> Option<Wanted> {
    let bare = Wanted {
        what: What::Machine(Arc::clone(machine), Vec::new()),
        request: None,
    };
    // Its request is work, and what is known of it does not depend on it.
    if machine.value.placement.is_some() || is_known(&bare) {
        return Some(bare);
    }
    let volumes = unplaced_volumes(state, &machine.value)?;
    let parts: Vec<&Volume> = volumes.iter().map(|volume| &volume.value).collect();
    let around = surroundings(state, neighbours, &machine.value, &parts)?;
    Some(Wanted {
        request: Some(request(&machine.value, &parts, around)),
        what: What::Machine(Arc::clone(machine), volumes),
    })
}

/// A batch while it is filled.
#[derive(Default)]
struct Batch {
    taken: Vec<Wanted>,
    records: usize,
    bytes: usize,
    has_machine: bool,
    minds: bool,
}

impl Batch {
    fn may_mix(&self, wanted: &Wanted, apart: bool) -> bool {
        let first = self.taken.first();
        if apart && first.is_some_and(|first| first.is_machine() != wanted.is_machine()) {
            return false;
        }
        !(wanted.is_machine() && self.has_machine && (self.minds || minds_neighbours(wanted)))
    }

    /// Takes one, if there is room for it; there is always room for one.
    fn take(&mut self, wanted: Wanted) -> bool {
        let (records, bytes) = wanted.size();
        let fits = self.records + records <= RECORDS_MAX && self.bytes + bytes <= BYTES_MAX;
        if !fits && !self.taken.is_empty() {
            return false;
        }
        self.records += records;
        self.bytes += bytes;
        self.has_machine |= wanted.is_machine();
        self.minds |= minds_neighbours(&wanted);
        self.taken.push(wanted);
        true
    }
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
    let around = surroundings(state, &Neighbours::of(state), machine, &volumes).unwrap_or_default();
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
fn surroundings(
    state: &State,
    neighbours: &Neighbours,
    machine: &Machine,
    unplaced: &[&Volume],
) -> Option<Surroundings> {
    let project = &machine.meta.project;
    let placed = machine.spec.volumes.iter().find_map(|attachment| {
        let volume = recorded(state, machine, attachment)?;
        Some(volume.value.placement.as_ref()?.node.clone())
    });
    // A volume of a node of which nothing is heard can't be served.
    let can_serve = |attachment: &Attachment| {
        let volume = recorded(state, machine, attachment);
        let place = volume.and_then(|volume| volume.value.placement.as_ref());
        let node = place.map(|place| state.nodes.get(&place.node));
        node.is_none_or(|node| node.is_some_and(|node| node.value.status.ready.truth == Truth::True))
    };
    let node_of = |name: &Name| {
        let other = state.machines.get(&(project.clone(), name.clone()))?;
        Some(other.value.placement.as_ref()?.node.clone())
    };
    let wishes = &machine.spec.wishes;
    let mut avoid: BTreeSet<Name> = wishes.apart_from.iter().filter_map(node_of).collect();
    avoid.extend(neighbours.shun(machine));
    let mut near = BTreeSet::new();
    for name in &wishes.near {
        let other = state.machines.get(&(project.clone(), name.clone()));
        // One that is gone, or going, is no reason to wait; and of two that want to be near each other the older is first.
        let other = other
            .map(|other| &other.value)
            .filter(|other| !other.meta.is_deleting());
        let Some(other) = other.filter(|other| other.meta.id != machine.meta.id) else {
            continue;
        };
        let is_mutual = other.spec.wishes.near.contains(&machine.meta.name);
        match &other.placement {
            Some(placement) => drop(near.insert(placement.node.clone())),
            None if is_mutual && machine.meta.id < other.meta.id => {}
            None => return None,
        }
    }
    Some(Surroundings {
        disk_bytes: unplaced.iter().map(|volume| volume.spec.size.bytes()).sum(),
        pool: unplaced.iter().find_map(|volume| volume.spec.pool.clone()),
        node: placed,
        elsewhere: machine.spec.volumes.iter().all(can_serve),
        avoid,
        near,
    })
}

/// Where the machines are that want to be apart from others: they said so, and it counts for both.
struct Neighbours {
    shunning: HashMap<ResourceKey, Vec<Name>>,
}

impl Neighbours {
    fn of(state: &State) -> Self {
        let mut shunning: HashMap<ResourceKey, Vec<Name>> = HashMap::new();
        for machine in state.machines.values().map(|machine| &machine.value) {
            let Some(placement) = &machine.placement else { continue };
            for other in &machine.spec.wishes.apart_from {
                let other = (machine.meta.project.clone(), other.clone());
                shunning.entry(other).or_default().push(placement.node.clone());
            }
        }
        Self { shunning }
    }

    fn shun(&self, machine: &Machine) -> impl Iterator<Item = Name> {
        let key = (machine.meta.project.clone(), machine.meta.name.clone());
        self.shunning.get(&key).into_iter().flatten().cloned()
    }
}
