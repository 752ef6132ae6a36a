//! The decoded records, and what the loops have to look at.

mod exporting;
mod ports;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use symphony_core::counter::Admission;
use symphony_core::digest::Digest;
use symphony_core::export::Export;
use symphony_core::id::{MachineId, NetworkId, VolumeId};
use symphony_core::image::{Image, ImagePhase};
use symphony_core::machine::Machine;
use symphony_core::member::{Authority, Enrolment, Manager, Revoked};
use symphony_core::name::Name;
use symphony_core::network::Network;
use symphony_core::node::Node;
use symphony_core::place::Ledger;
use symphony_core::plugin::{Activation, Plugin, Slot};
use symphony_core::volume::Volume;
use symphony_core::{keys, record};
use symphony_store::{Event, KeyValue, Revision, WatchBatch};

use crate::election::Leader;

pub(crate) use exporting::Exporting;
use ports::Ports;
pub(crate) use ports::{SegmentKey, all_ports};

/// The place of a tenant's resource in the store: project and name.
pub(crate) type ResourceKey = (Name, Name);

/// A record and the revision of its last change.
#[derive(Debug)]
pub struct Stored<T> {
    /// The record.
    pub value: T,
    /// When it was last changed; what a write of it compares.
    pub revision: Revision,
}

type Held<T> = Arc<Stored<T>>;

/// All records that the loops care for.
#[derive(Default)]
pub(crate) struct State {
    revision: Revision,
    pub(crate) volumes: BTreeMap<ResourceKey, Held<Volume>>,
    pub(crate) images: BTreeMap<ResourceKey, Held<Image>>,
    pub(crate) machines: BTreeMap<ResourceKey, Held<Machine>>,
    pub(crate) networks: BTreeMap<ResourceKey, Held<Network>>,
    /// What volumes are, or were, served to other nodes.
    pub(crate) exports: BTreeMap<VolumeId, Held<Export>>,
    /// Volumes that are to be served to another node.
    pub(crate) exporting: BTreeSet<VolumeId>,
    pub(crate) nodes: BTreeMap<Name, Held<Node>>,
    pub(crate) ledgers: HashMap<Name, Held<Ledger>>,
    pub(crate) plugins: HashMap<Digest, Held<Plugin>>,
    pub(crate) activations: HashMap<Slot, Held<Activation>>,
    /// Nodes that may have parts of a network, as marked.
    pub(crate) segments: BTreeSet<SegmentKey>,
    /// Machines' ports by the part of the network that they are in.
    pub(crate) ports: Ports,
    /// Where a network's record is.
    pub(crate) network_keys: HashMap<NetworkId, ResourceKey>,
    /// Where a volume's record is.
    pub(crate) volume_keys: HashMap<VolumeId, ResourceKey>,
    /// Where a machine's record is.
    pub(crate) machine_keys: HashMap<MachineId, ResourceKey>,
    pub(crate) waiting: Waiting,
    /// Changes with every change of a node or a ledger.
    pub(crate) capacity: Revision,
    /// How many events there are, by key.
    pub(crate) events: BTreeSet<String>,
    /// Who leads, as far as is seen.
    pub(crate) leader: Option<Leader>,
    /// What lets members in, by key.
    pub(crate) enrolments: HashMap<String, Held<Enrolment>>,
    /// Certificates that are worth nothing though they are in time, by serial number.
    pub(crate) revoked: HashMap<String, Held<Revoked>>,
    /// What certificates are issued with.
    pub(crate) authority: Option<Held<Authority>>,
    /// The managers that were let in.
    pub(crate) managers: BTreeMap<Name, Held<Manager>>,
}

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Volumes without a placement or with a claim that is smaller than the spec; those that a machine has too.
    pub(crate) volumes_to_place: BTreeSet<ResourceKey>,
    /// Volumes that are not as their spec says, as far as was seen.
    pub(crate) volumes: BTreeSet<ResourceKey>,
    /// Machines without a placement, or with a claim that is another than the spec's.
    pub(crate) machines_to_place: BTreeSet<ResourceKey>,
    /// Machines that are not as their spec says, as far as was seen.
    pub(crate) machines: BTreeSet<ResourceKey>,
}

impl State {
    pub(crate) fn new(revision: Revision) -> Self {
        Self {
            revision,
            capacity: revision,
            ..Self::default()
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether another image than the one of this key has the same bytes at the same service, and is not going.
    pub(crate) fn is_shared(&self, digest: &Digest, except: &ResourceKey) -> bool {
        let node = self.images.get(except).map(|image| &image.value.spec.node);
        let same =
            |image: &Image| image.spec.digest == *digest && Some(&image.spec.node) == node && !image.meta.is_deleting();
        self.images
            .iter()
            .any(|(key, image)| key != except && same(&image.value))
    }

    /// The node that has an image's bytes ready.
    pub(crate) fn image_node(&self, digest: &Digest) -> Option<Name> {
        let ready = |image: &Image| image.spec.digest == *digest && image.status.phase == ImagePhase::Ready;
        self.images
            .values()
            .find(|image| ready(&image.value))
            .map(|image| image.value.spec.node.clone())
    }

    /// How often a node was let in.
    pub(crate) fn admission(&self, node: &Name) -> Admission {
        let node = self.nodes.get(node);
        node.map_or(Admission(0), |node| node.value.status.admission)
    }

    /// A network, by its id.
    pub(crate) fn network(&self, id: NetworkId) -> Option<&Held<Network>> {
        self.networks.get(self.network_keys.get(&id)?)
    }

    pub(crate) fn apply(&mut self, batch: &WatchBatch) {
        self.revision = batch.revision;
        for event in &batch.events {
            match event {
                Event::Put { kv, .. } => self.put(kv),
                Event::Delete { key, .. } => {
                    if let Some(key) = key.as_str() {
                        self.delete(key);
                    }
                }
            }
        }
    }

    pub(crate) fn put(&mut self, kv: &KeyValue) {
        let Some(key) = kv.key.as_str() else { return };
        if let Some(name) = key.strip_prefix(keys::VOLUMES).and_then(pair) {
            if let Some(volume) = decode(kv) {
                self.put_volume(&name, volume);
            }
        } else if let Some(name) = key.strip_prefix(keys::MACHINES).and_then(pair) {
            if let Some(machine) = decode(kv) {
                self.put_machine(name, machine);
            }
        } else if let Some(name) = key.strip_prefix(keys::NETWORKS).and_then(pair) {
            if let Some(network) = decode(kv) {
                self.put_network(name, network);
            }
        } else if let Some(segment) = key.strip_prefix(keys::SEGMENTS).and_then(ports::segment) {
            self.segments.insert(segment.clone());
            self.ports.known(segment, self.revision);
        } else if let Some(name) = key.strip_prefix(keys::IMAGES).and_then(pair) {
            if let Some(image) = decode(kv) {
                self.images.insert(name, image);
            }
        } else if let Some(id) = key.strip_prefix(keys::EXPORTS).and_then(|id| id.parse().ok()) {
            if let Some(export) = decode(kv) {
                self.exports.insert(id, export);
            }
        } else if let Some(name) = key.strip_prefix(keys::NODES).and_then(|name| name.parse().ok()) {
            if let Some(node) = decode(kv) {
                self.put_node(name, node);
                self.capacity = self.capacity.max(kv.mod_revision);
            }
        } else if let Some(name) = key.strip_prefix(keys::LEDGERS).and_then(|name| name.parse().ok()) {
            if let Some(ledger) = decode(kv) {
                self.ledgers.insert(name, ledger);
                self.capacity = self.capacity.max(kv.mod_revision);
            }
        } else if let Some(digest) = key.strip_prefix(keys::PLUGINS).and_then(|hex| hex.parse().ok()) {
            if let Some(plugin) = decode(kv) {
                self.plugins.insert(digest, plugin);
            }
        } else if let Some(slot) = key.strip_prefix(keys::ACTIVATIONS).and_then(|slot| slot.parse().ok()) {
            if let Some(activation) = decode(kv) {
                self.activations.insert(slot, activation);
            }
        } else if key.starts_with(keys::EVENTS) {
            self.events.insert(key.to_owned());
        } else {
            self.put_membership(key, kv);
        }
    }

    fn put_membership(&mut self, key: &str, kv: &KeyValue) {
        if key == keys::LEADER {
            self.leader = record::decode(&kv.value).ok();
        } else if key == keys::AUTHORITY {
            self.authority = decode(kv);
        } else if key.starts_with(keys::ENROLMENTS) {
            if let Some(enrolment) = decode(kv) {
                self.enrolments.insert(key.to_owned(), enrolment);
            }
        } else if let Some(serial) = key.strip_prefix(keys::REVOKED) {
            if let Some(revoked) = decode(kv) {
                self.revoked.insert(serial.to_owned(), revoked);
            }
        } else if let Some(name) = key.strip_prefix(keys::MANAGERS).and_then(|name| name.parse().ok())
            && let Some(manager) = decode(kv)
        {
            self.managers.insert(name, manager);
        }
    }

    fn put_node(&mut self, name: Name, node: Held<Node>) {
        let underlay = node.value.status.underlay;
        let before = self.nodes.insert(name.clone(), node);
        if before.and_then(|before| before.value.status.underlay) != underlay {
            self.ports.node_moved(&name, self.revision);
        }
    }

    fn put_volume(&mut self, name: &ResourceKey, volume: Held<Volume>) {
        self.waiting.volume(name, &volume.value);
        self.volume_keys.insert(volume.value.meta.id, name.clone());
        self.volumes.insert(name.clone(), volume);
        self.volume_changed(name);
    }

    fn put_machine(&mut self, name: ResourceKey, machine: Held<Machine>) {
        self.waiting.machine(&name, &machine.value);
        self.machine_keys.insert(machine.value.meta.id, name.clone());
        let before = self.machines.insert(name, Arc::clone(&machine));
        let before = before.as_ref().map(|before| &before.value);
        self.ports.changed(before, Some(&machine.value), self.revision);
        for machine in before.into_iter().chain([&machine.value]) {
            self.volumes_of_changed(machine);
        }
    }

    fn put_network(&mut self, name: ResourceKey, network: Held<Network>) {
        let id = network.value.meta.id;
        self.network_keys.insert(id, name.clone());
        let before = self.networks.insert(name, Arc::clone(&network));
        let news = |network: &Network| (network.meta.generation, network.status.vni);
        if before.is_none_or(|before| news(&before.value) != news(&network.value)) {
            self.ports.network_changed(id, self.revision);
        }
    }

    fn delete(&mut self, key: &str) {
        if let Some(name) = key.strip_prefix(keys::VOLUMES).and_then(pair) {
            if let Some(gone) = self.volumes.remove(&name) {
                self.volume_keys.remove(&gone.value.meta.id);
                self.exporting.remove(&gone.value.meta.id);
            }
            self.waiting.volumes_to_place.remove(&name);
            self.waiting.volumes.remove(&name);
        } else if let Some(name) = key.strip_prefix(keys::MACHINES).and_then(pair) {
            self.waiting.machines_to_place.remove(&name);
            self.waiting.machines.remove(&name);
            if let Some(gone) = self.machines.remove(&name) {
                self.machine_keys.remove(&gone.value.meta.id);
                self.ports.changed(Some(&gone.value), None, self.revision);
                self.volumes_of_changed(&gone.value);
            }
        } else if let Some(name) = key.strip_prefix(keys::NETWORKS).and_then(pair) {
            if let Some(gone) = self.networks.remove(&name) {
                self.network_keys.remove(&gone.value.meta.id);
            }
        } else if let Some(segment) = key.strip_prefix(keys::SEGMENTS).and_then(ports::segment) {
            self.segments.remove(&segment);
            self.ports.forget(&segment);
        } else if let Some(name) = key.strip_prefix(keys::IMAGES).and_then(pair) {
            self.images.remove(&name);
        } else if let Some(id) = key.strip_prefix(keys::EXPORTS).and_then(|id| id.parse().ok()) {
            self.exports.remove(&id);
        } else if let Some(name) = key.strip_prefix(keys::NODES).and_then(|name| name.parse::<Name>().ok()) {
            self.nodes.remove(&name);
            self.ports.node_moved(&name, self.revision);
            self.capacity = self.revision;
        } else if let Some(name) = key
            .strip_prefix(keys::LEDGERS)
            .and_then(|name| name.parse::<Name>().ok())
        {
            self.ledgers.remove(&name);
            self.capacity = self.revision;
        } else if key.starts_with(keys::EVENTS) {
            self.events.remove(key);
        } else if key == keys::LEADER {
            self.leader = None;
        } else if key.starts_with(keys::ENROLMENTS) {
            self.enrolments.remove(key);
        } else if let Some(serial) = key.strip_prefix(keys::REVOKED) {
            self.revoked.remove(serial);
        } else if let Some(name) = key
            .strip_prefix(keys::MANAGERS)
            .and_then(|name| name.parse::<Name>().ok())
        {
            self.managers.remove(&name);
        }
    }
}

impl Waiting {
    fn volume(&mut self, key: &ResourceKey, volume: &Volume) {
        let claimed = volume.placement.as_ref().map(|placement| placement.claimed_bytes);
        let lacks = claimed.is_none_or(|claimed| claimed < volume.spec.size.bytes());
        set(&mut self.volumes_to_place, key, lacks && !volume.meta.is_deleting());
        let can_act = volume.placement.is_some() || volume.meta.is_deleting();
        set(&mut self.volumes, key, can_act && !volume.is_settled());
    }

    fn machine(&mut self, key: &ResourceKey, machine: &Machine) {
        let claimed = machine.placement.as_ref().map(|placement| placement.claimed);
        let lacks = claimed != Some(machine.spec.size);
        set(&mut self.machines_to_place, key, lacks && !machine.meta.is_deleting());
        let can_act = machine.placement.is_some() || machine.meta.is_deleting();
        set(&mut self.machines, key, can_act && !machine.is_settled());
    }
}

fn set(keys: &mut BTreeSet<ResourceKey>, key: &ResourceKey, member: bool) {
    if member {
        keys.insert(key.clone());
    } else {
        keys.remove(key);
    }
}

fn pair(text: &str) -> Option<ResourceKey> {
    let (project, name) = text.split_once('/')?;
    Some((project.parse().ok()?, name.parse().ok()?))
}

/// A record that can't be read is left as it is, and said loudly: guessing could destroy what it stands for.
fn decode<T: DeserializeOwned>(kv: &KeyValue) -> Option<Held<T>> {
    match record::decode(&kv.value) {
        Ok(value) => Some(Arc::new(Stored {
            value,
            revision: kv.mod_revision,
        })),
        Err(error) => {
            tracing::error!(key = ?kv.key, %error, "a record can't be read and is left alone");
            None
        }
    }
}
