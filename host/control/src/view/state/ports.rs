//! Which ports are in which part of a network: a network has one part (a segment) on each node that has ports of it.
//!
//! A port that comes, goes or moves is news for all segments of its network: for its own as a port, for the others as a peer.
//!
//! A segment's revision says when anything about it changed last. It only grows, also over a restart of the manager: so it
//! can serve as the generation of what an agent is asked to do for the segment.

use std::collections::{BTreeMap, BTreeSet};

use symphony_core::id::{MachineId, NetworkId};
use symphony_core::machine::{Machine, Port};
use symphony_core::name::Name;
use symphony_store::Revision;

/// A network's part on a node.
pub(crate) type SegmentKey = (NetworkId, Name);

/// All segments that anything is known of.
#[derive(Default)]
pub(crate) struct Ports {
    segments: BTreeMap<NetworkId, BTreeMap<Name, Segment>>,
}

/// One segment.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    /// The machines that have ports in it.
    pub(crate) machines: BTreeSet<MachineId>,
    /// When it changed last, or what it has to know of the others.
    pub(crate) changed: Revision,
    /// When its own ports or the network's record changed last: what its machines wait for.
    pub(crate) own_changed: Revision,
    /// Whether its node is marked: it may have parts of the network.
    pub(crate) is_marked: bool,
}

impl Ports {
    pub(crate) fn get(&self, (network, node): &SegmentKey) -> Option<&Segment> {
        self.segments.get(network)?.get(node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NetworkId, &Name, &Segment)> {
        let of = |(network, nodes): (&NetworkId, _)| (*network, nodes);
        self.segments
            .iter()
            .map(of)
            .flat_map(|(network, nodes): (_, &BTreeMap<Name, Segment>)| {
                nodes.iter().map(move |(node, segment)| (network, node, segment))
            })
    }

    /// The parts of one network, by node.
    pub(crate) fn of(&self, network: NetworkId) -> impl Iterator<Item = (&Name, &Segment)> {
        self.segments.get(&network).into_iter().flatten()
    }

    /// Whether any node has, or may have, a part of the network.
    pub(crate) fn has_any(&self, network: NetworkId) -> bool {
        self.segments.contains_key(&network)
    }

    /// Takes note of a segment that is marked.
    pub(super) fn known(&mut self, (network, node): SegmentKey, at: Revision) {
        let nodes = self.segments.entry(network).or_default();
        let segment = nodes.entry(node).or_insert_with(|| Segment {
            changed: at,
            own_changed: at,
            ..Segment::default()
        });
        segment.is_marked = true;
    }

    /// Takes note of a segment whose mark is gone: nothing of it is on its node any more.
    pub(super) fn forget(&mut self, key: &SegmentKey) {
        if let Some(segment) = self.segments.get_mut(&key.0).and_then(|nodes| nodes.get_mut(&key.1)) {
            segment.is_marked = false;
        }
        self.drop_empty(key);
    }

    fn drop_empty(&mut self, (network, node): &SegmentKey) {
        let Some(nodes) = self.segments.get_mut(network) else {
            return;
        };
        if nodes
            .get(node)
            .is_some_and(|segment| segment.machines.is_empty() && !segment.is_marked)
        {
            nodes.remove(node);
        }
        if nodes.is_empty() {
            self.segments.remove(network);
        }
    }

    /// Takes note of a change of a machine.
    pub(super) fn changed(&mut self, before: Option<&Machine>, after: Option<&Machine>, at: Revision) {
        let same = |a: &Machine, b: &Machine| {
            node(a) == node(b) && a.spec.ports == b.spec.ports && a.status.leaving.ports == b.status.leaving.ports
        };
        if let (Some(before), Some(after)) = (before, after)
            && same(before, after)
        {
            return;
        }
        // The others of each network have another peer, one less, or one elsewhere.
        for (network, _) in before.into_iter().chain(after).flat_map(segments_of) {
            self.peers_changed(network, at);
        }
        if let Some(machine) = before {
            for (network, node) in segments_of(machine) {
                let segment = self.segments.get_mut(&network).and_then(|nodes| nodes.get_mut(&node));
                if let Some(segment) = segment {
                    segment.machines.remove(&machine.meta.id);
                    (segment.changed, segment.own_changed) = (at, at);
                }
            }
        }
        if let Some(machine) = after {
            for (network, node) in segments_of(machine) {
                let segment = self.segments.entry(network).or_default().entry(node).or_default();
                segment.machines.insert(machine.meta.id);
                (segment.changed, segment.own_changed) = (at, at);
            }
        }
        for key in before.into_iter().flat_map(segments_of) {
            self.drop_empty(&key);
        }
    }

    /// Takes note of a change of a network.
    pub(super) fn network_changed(&mut self, network: NetworkId, at: Revision) {
        for segment in self
            .segments
            .get_mut(&network)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            (segment.changed, segment.own_changed) = (at, at);
        }
    }

    fn peers_changed(&mut self, network: NetworkId, at: Revision) {
        let segments = self.segments.get_mut(&network).into_iter();
        segments
            .flat_map(BTreeMap::values_mut)
            .for_each(|segment| segment.changed = at);
    }

    /// Takes note of a node that is reached elsewhere now: all parts of the networks that it is in have to know.
    pub(super) fn node_moved(&mut self, node: &Name, at: Revision) {
        for nodes in self.segments.values_mut().filter(|nodes| nodes.contains_key(node)) {
            nodes.values_mut().for_each(|segment| segment.changed = at);
        }
    }
}

/// The ports of a machine that its node may have: those that were taken from it too, until the node has let go of them.
pub(crate) fn all_ports(machine: &Machine) -> impl Iterator<Item = &Port> {
    machine.spec.ports.iter().chain(&machine.status.leaving.ports)
}

fn segments_of(machine: &Machine) -> impl Iterator<Item = SegmentKey> {
    let node = node(machine).cloned();
    all_ports(machine).filter_map(move |port| Some((port.network, node.clone()?)))
}

fn node(machine: &Machine) -> Option<&Name> {
    machine.placement.as_ref().map(|placement| &placement.node)
}

/// From `NETWORK-ID/NODE`.
pub(super) fn segment(text: &str) -> Option<SegmentKey> {
    let (network, node) = text.split_once('/')?;
    Some((network.parse().ok()?, node.parse().ok()?))
}
