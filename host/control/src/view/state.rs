//! The decoded records, and what the loops have to look at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use symphony_core::digest::Digest;
use symphony_core::image::{Image, ImagePhase};
use symphony_core::name::Name;
use symphony_core::node::Node;
use symphony_core::place::Ledger;
use symphony_core::plugin::{Activation, Plugin, Slot};
use symphony_core::volume::Volume;
use symphony_core::{keys, record};
use symphony_store::{Event, KeyValue, Revision, WatchBatch};

/// A volume's or an image's place in the store: project and name.
pub(crate) type VolumeKey = (Name, Name);

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
    pub(crate) volumes: BTreeMap<VolumeKey, Held<Volume>>,
    pub(crate) images: BTreeMap<VolumeKey, Held<Image>>,
    pub(crate) nodes: BTreeMap<Name, Held<Node>>,
    pub(crate) ledgers: HashMap<Name, Held<Ledger>>,
    pub(crate) plugins: HashMap<Digest, Held<Plugin>>,
    pub(crate) activations: HashMap<Slot, Held<Activation>>,
    /// Volumes without a placement, or with a claim that is smaller than the spec.
    pub(crate) unplaced: BTreeSet<VolumeKey>,
    /// Volumes that are not as their spec says, as far as was seen.
    pub(crate) unsettled: BTreeSet<VolumeKey>,
    /// Changes with every change of a node or a ledger.
    pub(crate) capacity: Revision,
    /// How many events there are, by key.
    pub(crate) events: BTreeSet<String>,
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
    pub(crate) fn is_shared(&self, digest: &Digest, except: &VolumeKey) -> bool {
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

    pub(crate) fn apply(&mut self, batch: &WatchBatch) {
        for event in &batch.events {
            match event {
                Event::Put { kv, .. } => self.put(kv),
                Event::Delete { key, .. } => {
                    if let Some(key) = key.as_str() {
                        self.delete(key, batch.revision);
                    }
                }
            }
        }
        self.revision = batch.revision;
    }

    pub(crate) fn put(&mut self, kv: &KeyValue) {
        let Some(key) = kv.key.as_str() else { return };
        if let Some(name) = key.strip_prefix(keys::VOLUMES).and_then(pair) {
            if let Some(volume) = decode::<Volume>(kv) {
                self.index(&name, &volume.value);
                self.volumes.insert(name, volume);
            }
        } else if let Some(name) = key.strip_prefix(keys::IMAGES).and_then(pair) {
            if let Some(image) = decode(kv) {
                self.images.insert(name, image);
            }
        } else if let Some(name) = key.strip_prefix(keys::NODES).and_then(|name| name.parse().ok()) {
            if let Some(node) = decode(kv) {
                self.nodes.insert(name, node);
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
        }
    }

    fn delete(&mut self, key: &str, at: Revision) {
        if let Some(name) = key.strip_prefix(keys::VOLUMES).and_then(pair) {
            self.volumes.remove(&name);
            self.unplaced.remove(&name);
            self.unsettled.remove(&name);
        } else if let Some(name) = key.strip_prefix(keys::IMAGES).and_then(pair) {
            self.images.remove(&name);
        } else if let Some(name) = key.strip_prefix(keys::NODES).and_then(|name| name.parse::<Name>().ok()) {
            self.nodes.remove(&name);
            self.capacity = at;
        } else if let Some(name) = key
            .strip_prefix(keys::LEDGERS)
            .and_then(|name| name.parse::<Name>().ok())
        {
            self.ledgers.remove(&name);
            self.capacity = at;
        } else if key.starts_with(keys::EVENTS) {
            self.events.remove(key);
        }
    }

    fn index(&mut self, key: &VolumeKey, volume: &Volume) {
        let short = volume
            .placement
            .as_ref()
            .is_some_and(|placement| placement.claimed_bytes < volume.spec.size.bytes());
        set(
            &mut self.unplaced,
            key,
            volume.wants_placement() || (short && !volume.meta.is_deleting()),
        );
        let can_act = volume.placement.is_some() || volume.meta.is_deleting();
        set(&mut self.unsettled, key, can_act && !volume.is_settled());
    }
}

fn set(keys: &mut BTreeSet<VolumeKey>, key: &VolumeKey, member: bool) {
    if member {
        keys.insert(key.clone());
    } else {
        keys.remove(key);
    }
}

fn pair(text: &str) -> Option<VolumeKey> {
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
