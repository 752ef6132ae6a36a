//! What passes are to be made over now.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use symphony_core::counter::Generation;
use symphony_core::digest::Digest;
use symphony_core::id::VolumeId;
use symphony_core::image::Image;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::network::Network;
use symphony_core::node::NodePhase;
use symphony_core::volume::Volume;
use tokio::time::Instant;

use crate::view::{ResourceKey, SegmentKey, State, Stored};

use super::exports;
use super::machines::Needs;
use super::{MACHINES_MAX, PASSES_MAX, Reconciler};

/// What passes are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Volume(ResourceKey),
    Image(ResourceKey, Digest),
    Machine(ResourceKey),
    Segment(SegmentKey),
    Network(ResourceKey),
    Export(VolumeId),
    Fence(Name),
}

/// What is never worked on twice at once: a resource, or an image's bytes, whichever images name them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Volume(ResourceKey),
    Bytes(Digest),
    Machine(ResourceKey),
    Segment(SegmentKey),
    Network(ResourceKey),
    Export(VolumeId),
    Fence(Name),
}

impl Subject {
    pub(super) fn lane(&self) -> Lane {
        match self {
            Self::Volume(key) => Lane::Volume(key.clone()),
            Self::Image(_, digest) => Lane::Bytes(*digest),
            Self::Machine(key) => Lane::Machine(key.clone()),
            Self::Segment(key) => Lane::Segment(key.clone()),
            Self::Network(key) => Lane::Network(key.clone()),
            Self::Export(volume) => Lane::Export(*volume),
            Self::Fence(node) => Lane::Fence(node.clone()),
        }
    }
}

/// What makes a new attempt worth it at once: the spec's generation, whether it is to go, and how much of what it needs is
/// there (the bytes that are claimed, the parts that are ready, the session of the node).
pub(super) type Spec = (Generation, bool, u64);

pub(super) enum Work {
    Volume(Arc<Stored<Volume>>),
    Image(Arc<Stored<Image>>),
    Machine(Arc<Stored<Machine>>),
    Segment(SegmentKey, u64),
    Network(Arc<Stored<Network>>),
    Export(VolumeId),
    Fence(Name),
}

type Item = (Subject, Spec, Work);

impl Reconciler {
    /// Those that a pass may begin with now, as many as there is room for.
    pub(super) fn due(&self, now: Instant) -> Vec<Item> {
        let state = self.context.view.read();
        let may_run = |item: &Item| self.may_run(&item.0, item.1, now);
        let machines_running = self.running.iter().filter(|lane| matches!(lane, Lane::Machine(_)));
        let machines_running = machines_running.count();
        let room = PASSES_MAX.saturating_sub(self.running.len() - machines_running);
        let room_for_machines = MACHINES_MAX.saturating_sub(machines_running);
        // What others wait for first.
        let others = self
            .fences(&state)
            .chain(self.images(&state))
            .chain(self.segments(&state))
            .chain(self.networks(&state))
            .chain(self.volumes(&state))
            .chain(self.exports(&state))
            .filter(may_run)
            .take(room);
        let machines = self.machines(&state, now).filter(may_run).take(room_for_machines);
        others.chain(machines).collect()
    }

    fn may_run(&self, subject: &Subject, spec: Spec, now: Instant) -> bool {
        let paused = self
            .pauses
            .get(subject)
            .is_some_and(|pause| pause.spec == spec && pause.until > now);
        !paused && !self.running.contains(&subject.lane())
    }

    fn volumes<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Item> + 'a {
        state.waiting.volumes.iter().filter_map(|key| {
            let volume = state.volumes.get(key)?;
            let claimed = volume.value.placement.as_ref();
            let claimed = claimed.map_or(0, |placement| placement.claimed_bytes);
            let spec = (volume.value.meta.generation, volume.value.meta.is_deleting(), claimed);
            Some((Subject::Volume(key.clone()), spec, Work::Volume(Arc::clone(volume))))
        })
    }

    fn images<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Item> + 'a {
        let mut digests = HashSet::new();
        let unsettled = state.images.values().filter(|image| !image.value.is_settled());
        unsettled.filter_map(move |image| {
            let spec = (image.value.meta.generation, image.value.meta.is_deleting(), 0);
            let key = (image.value.meta.project.clone(), image.value.meta.name.clone());
            let subject = Subject::Image(key, image.value.spec.digest);
            // Of images with the same bytes one at a time, and the next when this one pauses.
            (self.may_run(&subject, spec, Instant::now()) && digests.insert(image.value.spec.digest))
                .then(|| (subject, spec, Work::Image(Arc::clone(image))))
        })
    }

    /// Those that are not settled, and those whose look is due.
    fn machines<'a>(&'a self, state: &'a State, now: Instant) -> impl Iterator<Item = Item> + 'a {
        let unsettled = &state.waiting.machines;
        let due = self.looks.due(now).filter(|key| !unsettled.contains(*key));
        unsettled.iter().chain(due).filter_map(|key| {
            let stored = state.machines.get(key)?;
            let machine = &stored.value;
            let there = machine.placement.as_ref().map(|placement| {
                let needs = Needs::of(state, &self.context, machine, placement);
                let mut hasher = DefaultHasher::new();
                (needs.there(), placement.claimed, machine.waits_for_room()).hash(&mut hasher);
                (machine.status.tenure, state.admission(&placement.node)).hash(&mut hasher);
                hasher.finish()
            });
            let spec = (
                machine.meta.generation,
                machine.meta.is_deleting(),
                there.unwrap_or_default(),
            );
            Some((Subject::Machine(key.clone()), spec, Work::Machine(Arc::clone(stored))))
        })
    }

    /// Those of connected nodes that changed since they were settled, or since their agent came.
    fn segments<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Item> + 'a {
        state.ports.iter().filter_map(|(network, node, segment)| {
            let session = *self.sessions.get(node)?;
            let key = (network, node.clone());
            let is_nothing = segment.machines.is_empty() && !segment.is_marked;
            if is_nothing || self.context.settled.is(&key, segment.changed, session) {
                return None;
            }
            let spec = (Generation(segment.changed.0), false, session);
            Some((Subject::Segment(key.clone()), spec, Work::Segment(key, session)))
        })
    }

    /// Those that are to be served and were not seen to be, or not lately; and those that are not to be served any more.
    fn exports<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Item> + 'a {
        let ended = state
            .exports
            .iter()
            .filter(|(id, export)| export.value.writer.is_some() && !state.exporting.contains(id));
        let all = state.exporting.iter().chain(ended.map(|(id, _)| id));
        all.filter_map(|id| {
            let (generation, session) = exports::is_due(state, &self.context, *id)?;
            let phase = state.volume(*id).map(|volume| volume.value.status.phase);
            let mut hasher = DefaultHasher::new();
            (session, phase).hash(&mut hasher);
            let spec = (generation, !state.exporting.contains(id), hasher.finish());
            Some((Subject::Export(*id), spec, Work::Export(*id)))
        })
    }

    /// Nodes whose power is to be cut.
    fn fences<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Item> + 'a {
        let wanted = state
            .nodes
            .iter()
            .filter(|(_, node)| node.value.status.fencing.is_some());
        wanted.map(|(name, node)| {
            let spec = (node.value.meta.generation, node.value.phase() == NodePhase::Unknown, 0);
            (Subject::Fence(name.clone()), spec, Work::Fence(name.clone()))
        })
    }

    /// Those that are to go, and of which no node has anything any more.
    fn networks<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Item> + 'a {
        let going = state
            .networks
            .iter()
            .filter(|(_, network)| network.value.meta.is_deleting() && !state.ports.has_any(network.value.meta.id));
        going.map(|(key, network)| {
            let spec = (network.value.meta.generation, true, 0);
            (Subject::Network(key.clone()), spec, Work::Network(Arc::clone(network)))
        })
    }
}
