//! One pass over the part of a network that is on one node; and the end of networks of which nothing is left.
//!
//! A node is marked before the first part of a network is made there, and the mark is taken away after the last is gone:
//! so nothing is ever left on a node that nobody knows of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use symphony_core::condition::Truth;
use symphony_core::counter::Generation;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::network::{Network, Segment};
use symphony_core::plan::Goal;
use symphony_core::plan::network::{Intent, Networks, Port};
use symphony_protocol::{Outcome, Seen, Task, Work};
use symphony_store::{Compare, Revision, Txn};

use crate::clock;
use crate::events::{about_network, event, with};
use crate::view::{SegmentKey, State, Stored, all_ports};
use crate::write::{TxnRecords as _, WriteError};

use super::drive::{Driven, End};
use super::outcome::PassError;
use super::{Context, drive};

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
        Some(Self {
            intent: Intent::of(&network.value, &key.1, ports),
            network,
            node: key.1.clone(),
            changed: segment.changed,
            is_marked: segment.is_marked,
            waiting: waiting.join(","),
        })
    }
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

/// Says on the network's record how its part on a node is.
async fn say(
    context: &Context,
    segment: &OneSegment,
    truth: Truth,
    (reason, message): (&str, String),
) -> Result<(), PassError> {
    let Some(current) = context.view.read().network(segment.network.value.meta.id).cloned() else {
        return Ok(());
    };
    let mut network = current.value.clone();
    let was = network.status.conditions.of("ready").map(|ready| ready.truth);
    // Good news is news only after bad news, or when it is the first.
    if truth == Truth::True && was == Some(Truth::True) {
        return Ok(());
    }
    let conditions = &mut network.status.conditions;
    if !conditions.set("ready", truth, reason, &message, clock::now()) {
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
    let txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), stored.revision))
        .when(Compare::none_under(keys::segments_of(meta.id)))
        .delete(key)
        .delete(keys::network_id(meta.id))
        .tell(&told)
        .map_err(WriteError::from)?;
    symphony_crash::point("control.network.before_forget");
    commit(context, txn).await
}

async fn commit(context: &Context, txn: Txn) -> Result<(), PassError> {
    match context.writer.commit(txn).await {
        Ok(revision) => {
            context.view.seen(revision).await;
            Ok(())
        }
        Err(WriteError::Conflict) => Err(PassError::Raced),
        Err(error) => Err(error.into()),
    }
}
