//! One pass over the part of a network that is on one node; and the end of networks of which nothing is left.
//!
//! A node is marked before the first part of a network is made there, and the mark is taken away after the last is gone:
//! so nothing is ever left on a node that nobody knows of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use symphony_core::condition::Truth;
use symphony_core::counter::Generation;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::id::NetworkId;
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::network::{Network, Segment, Underlay, Vni};
use symphony_core::plan::Goal;
use symphony_core::plan::network::{Intent, Networks, Peer, Port};
use symphony_protocol::{Outcome, Seen, Task, Work};
use symphony_store::{Compare, Revision, Txn};

use crate::clock;
use crate::events::{about_network, event, with};
use crate::view::{SegmentKey, State, Stored, all_ports};
use crate::write::{TxnRecords as _, WriteError};

use super::drive::{Driven, End};
use super::outcome::PassError;
use super::{Context, commit, drive};

/// Most machines whose story a step belongs to.
const TOLD_MAX: usize = 16;

/// Which segments are as they should be: at which change of theirs, seen in which session of their node.
#[derive(Clone, Default)]
pub(crate) struct Settled {
    at: Arc<Mutex<HashMap<SegmentKey, (Revision, u64)>>>,
}

impl Settled {
    pub(super) fn is(&self, key: &SegmentKey, changed: Revision, session: u64) -> bool {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.get(key) == Some(&(changed, session))
    }

    /// Whether it was as it should be at this change of it or later.
    pub(super) fn has(&self, key: &SegmentKey, since: Revision, session: u64) -> bool {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.get(key).is_some_and(|(at, of)| *at >= since && *of == session)
    }

    fn set(&self, key: &SegmentKey, now: Option<(Revision, u64)>) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(now) => drop(at.insert(key.clone(), now)),
            None => drop(at.remove(key)),
        }
    }
}

/// Brings the part of a network that is on a node to what its ports there ask for.
pub(super) async fn pass(context: &Context, key: SegmentKey, session: u64) -> Result<(), PassError> {
    let Some(segment) = OneSegment::read(&context.view.read(), &key) else {
        return Err(PassError::Unready("the record of its network".to_owned()));
    };
    if segment.intent.goal == Goal::Present && segment.network.value.status.vni.is_none() {
        number(context, &segment.network).await?;
        // With its number it is another intent.
        return Err(PassError::Raced);
    }
    if segment.intent.goal == Goal::Present && !segment.is_marked {
        mark(context, &segment).await?;
    }
    match drive::drive(context, &segment, &segment.intent).await {
        Ok(End::Met(())) if segment.intent.goal == Goal::Absent => {
            unmark(context, &segment).await?;
            context.settled.set(&key, None);
            Ok(())
        }
        Ok(End::Met(())) => {
            context.settled.set(&key, Some((segment.changed, session)));
            connected(context, &segment).await?;
            if others_settled(context, &key) {
                let said = say(context, &segment, Truth::True, ("made", String::new())).await;
                if said.is_err() {
                    context.settled.set(&key, None);
                }
                said?;
            }
            Ok(())
        }
        Ok(End::Impossible(why)) => {
            let message = format!("node {}: {why}", segment.node);
            say(context, &segment, Truth::False, ("refused", message)).await?;
            Err(PassError::Unready(why))
        }
        Err(error) => {
            let (reason, message) = error.condition();
            let message = format!("node {}: {message}", segment.node);
            say(context, &segment, Truth::False, (reason, message)).await?;
            Err(error)
        }
    }
}

struct OneSegment {
    network: Arc<Stored<Network>>,
    node: Name,
    changed: Revision,
    is_marked: bool,
    intent: Intent,
    /// Nodes that have ports of the network and can't be reached by all the others that have.
    cut_off: Vec<Name>,
    /// The machines that wait for it, by name and with commas: what is done for it is part of their story.
    waiting: String,
}

impl OneSegment {
    fn read(state: &State, key: &SegmentKey) -> Option<Self> {
        let segment = state.ports.get(key)?;
        let network = Arc::clone(state.network(key.0)?);
        let machines = segment.machines.iter().filter_map(|id| {
            let machine = state.machines.get(state.machine_keys.get(id)?)?;
            Some(&machine.value)
        });
        let waiting = machines.clone().filter(|machine| !machine.is_settled());
        let waiting: Vec<&str> = waiting
            .map(|machine| machine.meta.name.as_str())
            .take(TOLD_MAX)
            .collect();
        let mut ports: Vec<Port> = machines
            .flat_map(|machine| all_ports(machine).map(move |port| (machine, port)))
            .filter(|(_, port)| port.network == key.0)
            .map(|(machine, port)| Port::of(port, &machine.meta.name, &key.1))
            .collect();
        ports.sort_by(|a, b| a.id.cmp(&b.id));
        let local = underlay(state, &key.1);
        let peers = peers(state, key, local);
        Some(Self {
            intent: Intent::of(&network.value, &key.1, local, ports, peers),
            cut_off: cut_off(state, key.0),
            network,
            node: key.1.clone(),
            changed: segment.changed,
            is_marked: segment.is_marked,
            waiting: waiting.join(","),
        })
    }
}

fn underlay<'a>(state: &'a State, node: &Name) -> Option<&'a Underlay> {
    state.nodes.get(node)?.value.status.underlay.as_ref()
}

/// The network's ports on other nodes, as far as those can be reached. Those that machines are letting go of too: as long
/// as they may speak, they are who they were.
fn peers(state: &State, key: &SegmentKey, local: Option<&Underlay>) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (node, segment) in state.ports.of(key.0).filter(|(node, _)| **node != key.1) {
        let remote = underlay(state, node);
        let Some(remote) = remote.filter(|remote| local.is_some_and(|local| local.reaches(remote))) else {
            continue;
        };
        let machines = segment.machines.iter();
        for machine in machines.filter_map(|id| state.machines.get(state.machine_keys.get(id)?)) {
            let ports = all_ports(&machine.value).filter(|port| port.network == key.0);
            peers.extend(ports.map(|port| Peer::of(port, &machine.value.meta.name, remote)));
        }
    }
    peers.sort_by(|a, b| a.mac.cmp(&b.mac));
    peers
}

/// The nodes of a network that are not reached by all its others: the same from wherever it is looked at.
fn cut_off(state: &State, network: NetworkId) -> Vec<Name> {
    let nodes = state
        .ports
        .of(network)
        .filter(|(_, segment)| !segment.machines.is_empty());
    let nodes: Vec<(&Name, Option<&Underlay>)> = nodes.map(|(node, _)| (node, underlay(state, node))).collect();
    // Of those that are reached on their own kernel only and the others, the others are where a network belongs.
    let far = nodes.iter().filter_map(|(_, at)| *at).find(|at| !at.is_loopback());
    let first = far.or_else(|| nodes.iter().find_map(|(_, at)| *at));
    let is_cut_off = |at: Option<&Underlay>| at.is_none_or(|at| first.is_some_and(|first| !first.reaches(at)));
    let cut_off = nodes.iter().filter(|(_, at)| nodes.len() > 1 && is_cut_off(*at));
    cut_off.map(|(node, _)| (*node).clone()).collect()
}

impl Driven for OneSegment {
    type Kind = Networks;

    fn node(&self) -> &Name {
        &self.node
    }

    fn id(&self) -> String {
        self.network.value.meta.id.to_string()
    }

    fn generation(&self) -> Generation {
        // Grows with every change, also over a restart of the manager.
        Generation(self.changed.0)
    }

    fn work(&self, task: Task<Networks>) -> Work {
        Work::Network { task }
    }

    fn seen(outcome: Outcome) -> Option<Seen<Networks>> {
        match outcome {
            Outcome::Network(seen) => Some(seen),
            _ => None,
        }
    }

    fn subject(&self) -> Subject {
        about_network(&self.network.value)
    }

    fn story(&self, step: Event) -> Option<Event> {
        Some(match self.waiting.as_str() {
            "" => step,
            waiting => with(step, "machine", waiting),
        })
    }
}

async fn mark(context: &Context, segment: &OneSegment) -> Result<(), PassError> {
    let mark = Segment {
        network: segment.network.value.meta.id,
        node: segment.node.clone(),
    };
    let key = keys::segment(mark.network, &mark.node);
    let network = &segment.network.value.meta;
    let network = keys::network(&network.project, &network.name);
    let txn = Txn::new()
        // A network that is taken off the record meanwhile gets no new parts.
        .when(Compare::mod_revision(network, segment.network.revision))
        .when(Compare::absent(key.clone()))
        .put_record(key, &mark)
        .map_err(WriteError::from)?;
    commit(context, txn).await?;
    symphony_crash::point("control.segment.after_mark");
    Ok(())
}

async fn unmark(context: &Context, segment: &OneSegment) -> Result<(), PassError> {
    symphony_crash::point("control.segment.before_unmark");
    let key = keys::segment(segment.network.value.meta.id, &segment.node);
    commit(context, Txn::new().delete(key)).await
}

/// Gives a network from before there were any its number between nodes.
async fn number(context: &Context, network: &Stored<Network>) -> Result<(), PassError> {
    let vni = Vni::by_chance(clock::new_uuid().as_u64_pair().1);
    let mut numbered = network.value.clone();
    numbered.status.vni = Some(vni);
    let meta = &numbered.meta;
    let key = keys::network(&meta.project, &meta.name);
    let txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), network.revision))
        .when(Compare::absent(keys::vni(vni)))
        .put(keys::vni(vni), meta.id.to_string().into_bytes())
        .put_record(key, &numbered)
        .map_err(WriteError::from)?;
    commit(context, txn).await
}

/// Most nodes that are named when they can't be reached.
const NAMED_MAX: usize = 5;

/// Says on the network's record when nodes that are in it can't reach one another at all. Whether packets do arrive is
/// nobody's to say here.
async fn connected(context: &Context, segment: &OneSegment) -> Result<(), PassError> {
    if segment.cut_off.is_empty() {
        let was_said = segment.network.value.status.conditions.of("connected").is_some();
        let said = (
            "reachable",
            "all its nodes have addresses that the others reach".to_owned(),
        );
        return match was_said {
            true => say_of(context, segment, "connected", Truth::True, said).await,
            false => Ok(()),
        };
    }
    let more = if segment.cut_off.len() > NAMED_MAX {
        " and others"
    } else {
        ""
    };
    let names: Vec<&str> = segment.cut_off.iter().take(NAMED_MAX).map(Name::as_str).collect();
    let message = format!(
        "machines on {}{more} reach none on other nodes: give each of these nodes an address that the others reach \
         (`underlay` in its agent.toml)",
        names.join(", ")
    );
    say_of(context, segment, "connected", Truth::False, ("no-underlay", message)).await
}

/// Says on the network's record how its part on a node is.
async fn say(context: &Context, segment: &OneSegment, truth: Truth, said: (&str, String)) -> Result<(), PassError> {
    say_of(context, segment, "ready", truth, said).await
}

async fn say_of(
    context: &Context,
    segment: &OneSegment,
    kind: &str,
    truth: Truth,
    (reason, message): (&str, String),
) -> Result<(), PassError> {
    let Some(current) = context.view.read().network(segment.network.value.meta.id).cloned() else {
        return Ok(());
    };
    let mut network = current.value.clone();
    let was = network.status.conditions.of(kind).map(|condition| condition.truth);
    // Good news is news only after bad news, or when it is the first.
    if truth == Truth::True && was == Some(Truth::True) {
        return Ok(());
    }
    let conditions = &mut network.status.conditions;
    if !conditions.set(kind, truth, reason, &message, clock::now()) {
        return Ok(());
    }
    network.status.observed_generation = network.meta.generation;
    let key = keys::network(&network.meta.project, &network.meta.name);
    let txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), current.revision))
        .put_record(key, &network)
        .map_err(WriteError::from)?;
    commit(context, txn).await
}

/// Whether the other parts of the network are as they should be, on the nodes that are there.
fn others_settled(context: &Context, key: &SegmentKey) -> bool {
    let state = context.view.read();
    let others = state.ports.of(key.0).filter(|(node, _)| **node != key.1);
    others.into_iter().all(|(node, segment)| {
        let session = context.agents.session_of(node);
        session.is_none_or(|session| context.settled.is(&(key.0, node.clone()), segment.changed, session))
    })
}

/// Takes a network off the record of which no node has anything any more.
pub(super) async fn forget(context: &Context, stored: Arc<Stored<Network>>) -> Result<(), PassError> {
    let meta = &stored.value.meta;
    if context.view.read().ports.has_any(meta.id) {
        return Err(PassError::Raced);
    }
    let key = keys::network(&meta.project, &meta.name);
    let told = event(
        Severity::Normal,
        "deleted",
        about_network(&stored.value),
        "nothing is left of it",
    );
    let mut txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), stored.revision))
        .when(Compare::none_under(keys::segments_of(meta.id)))
        .delete(key);
    if let Some(vni) = stored.value.status.vni {
        txn = txn.delete(keys::vni(vni));
    }
    let txn = txn
        .delete(keys::network_id(meta.id))
        .tell(&told)
        .map_err(WriteError::from)?;
    symphony_crash::point("control.network.before_forget");
    commit(context, txn).await
}
