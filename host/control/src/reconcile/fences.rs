//! One pass over a node whose power is to be cut.
//!
//! ```text
//!   the record, as it is ─► nodes that can ask its devices ─► plans and steps there ─► seen off ─► seen off again, with
//!                                        nothing done in between ─► fenced, if the record is still as it was
//! ```
//!
//! The revision is read before the devices are asked. A node that is heard of meanwhile changes its record, and is not
//! fenced. Devices are not looked at in one moment: a second look tells that none was turned on between those of the first.
//! The protocol is searched as a model in `tests/models`: proof.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use symphony_core::counter::Generation;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::name::Name;
use symphony_core::node::{Node, NodePhase};
use symphony_core::plan::fence::{Fact, Fences, Intent, Off, Step};
use symphony_core::power::NodePower;
use symphony_protocol::{Outcome, Seen, Task, Work};

use crate::chain::chain;
use crate::events::{about_node, event};
use crate::fence::{asking_nodes, changed, fenced, generation, programs};
use crate::view::Stored;

use super::drive::{self, Driven, End};
use super::{Context, PassError, commit};

/// Most nodes that are asked to ask, in one pass.
const ASKING_MAX: usize = 3;
/// Most runs of plans until two looks show the same.
const RUNS_MAX: u32 = 4;
/// Longest text of what holds a fence up, in characters.
const HELD_MAX: usize = 1_000;

/// Cuts the power of one node, sees that it is off, and fences it.
pub(super) async fn pass(context: &Context, name: &Name) -> Result<(), PassError> {
    let stored = context.view.read().nodes.get(name).map(Arc::clone);
    let Some(stored) = stored.filter(|node| node.value.status.fencing.is_some()) else {
        return Ok(());
    };
    let node = &stored.value;
    if context.agents.has_session(name) || node.phase() == NodePhase::Readmitting {
        return end(context, &stored, "its agent is heard of").await;
    }
    let Some(power) = &node.spec.power else {
        return end(context, &stored, "it has no devices any more").await;
    };
    match node.phase() {
        NodePhase::Fenced => return end(context, &stored, "it is fenced").await,
        // Not heard of for some seconds only.
        NodePhase::Ready => return Err(PassError::Unready(format!("node {name} to be unknown"))),
        NodePhase::Unknown | NodePhase::Readmitting => {}
    }
    let asking = asking_nodes(&context.view.read(), &context.agents, name, power);
    let mut held: Vec<String> = Vec::new();
    for at in asking.iter().take(ASKING_MAX) {
        match see_off(context, node, power, at).await {
            Ok(End::Met(off)) => {
                let why = format!(
                    "its devices of level {} say that it is off, as node {at} saw",
                    off.level
                );
                return fence(context, &stored, &why).await;
            }
            Ok(End::Impossible(why)) => held.push(why),
            Err(error @ (PassError::Raced | PassError::Write(_))) => return Err(error),
            // Whoever asks, the driver is the same.
            Err(error @ (PassError::Driver(_) | PassError::Plan(_) | PassError::NoDriver)) => {
                say(context, &stored, &chain(&error)).await?;
                return Err(error);
            }
            Err(error) => held.push(format!("asked by node {at}: {}", chain(&error))),
        }
    }
    if asking.is_empty() {
        let programs = programs(power);
        held.push(format!("no node with a session has {programs} in its [fence_programs]"));
    }
    let held = held.join("; ");
    say(context, &stored, &held).await?;
    Err(PassError::Refused(held))
}

/// Has the power cut, and looks until two looks in a row show that it is, by the same devices.
async fn see_off(context: &Context, node: &Node, power: &NodePower, at: &Name) -> Result<End<Off>, PassError> {
    let intent = Intent::of(&node.meta.name, power);
    let mut seen: Option<Off> = None;
    for _ in 0..RUNS_MAX {
        let one = OneFence::new(context, node, power, at);
        let off = match drive::drive(context, &one, &intent).await? {
            End::Met(off) => off,
            End::Impossible(why) => return Ok(End::Impossible(why)),
        };
        if seen == Some(off) && !one.has_cut() {
            return Ok(End::Met(off));
        }
        seen = Some(off);
    }
    Err(PassError::Unsteady)
}

async fn fence(context: &Context, stored: &Stored<Node>, why: &str) -> Result<(), PassError> {
    // On the list before its node is registered: so either this sees it, or the record changes under what is written here.
    if context.agents.has_session(&stored.value.meta.name) {
        return Err(PassError::Raced);
    }
    let (_, txn) = fenced(stored, why)?;
    symphony_crash::point("control.fence.before_commit");
    commit(context, txn).await?;
    symphony_crash::point("control.fence.after_commit");
    Ok(())
}

/// The fence is not wanted any more.
async fn end(context: &Context, stored: &Stored<Node>, why: &str) -> Result<(), PassError> {
    let mut node = stored.value.clone();
    node.status.fencing = None;
    let name = &node.meta.name;
    let message = format!("the power of node {name} is not to be cut any more: {why}");
    let told = event(Severity::Normal, "power-cut-ended", about_node(name), message);
    commit(context, changed(stored, &node, &told)?).await
}

/// Writes down what holds a fence up.
async fn say(context: &Context, stored: &Stored<Node>, held: &str) -> Result<(), PassError> {
    let mut node = stored.value.clone();
    let held: String = held.chars().take(HELD_MAX).collect();
    match &mut node.status.fencing {
        Some(fencing) if fencing.held_by != held => fencing.held_by.clone_from(&held),
        _ => return Ok(()),
    }
    let name = &node.meta.name;
    let message = format!("the power of node {name} could not be cut: {held}");
    let told = event(Severity::Warning, "power-cut-failed", about_node(name), message);
    commit(context, changed(stored, &node, &told)?).await
}

/// A node's power, as another node asks for it.
struct OneFence<'a> {
    context: &'a Context,
    node: &'a Node,
    power: &'a NodePower,
    /// The node that asks.
    at: &'a Name,
    /// Devices that were told to cut the power.
    tried: Mutex<BTreeSet<u32>>,
}

impl<'a> OneFence<'a> {
    fn new(context: &'a Context, node: &'a Node, power: &'a NodePower, at: &'a Name) -> Self {
        Self {
            context,
            node,
            power,
            at,
            tried: Mutex::default(),
        }
    }
}

impl OneFence<'_> {
    /// Whether a device was told to cut the power.
    fn has_cut(&self) -> bool {
        !self.tried.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Driven for OneFence<'_> {
    type Kind = Fences;

    fn node(&self) -> &Name {
        self.at
    }

    fn id(&self) -> String {
        self.node.meta.id.to_string()
    }

    fn generation(&self) -> Generation {
        generation(self.node)
    }

    fn work(&self, task: Task<Fences>) -> Work {
        if let Task::Steps { plan, .. } = &task {
            let cut = plan.steps().iter().map(|Step::Cut { device }| *device);
            self.tried.lock().unwrap_or_else(PoisonError::into_inner).extend(cut);
        }
        Work::Fence {
            devices: self.power.devices.clone(),
            task,
        }
    }

    fn seen(outcome: Outcome) -> Option<Seen<Fences>> {
        match outcome {
            Outcome::Fence(seen) => Some(seen),
            _ => None,
        }
    }

    fn adapt(&self, intent: &mut Intent, _: &[Fact]) -> Result<(), PassError> {
        // Nothing more is cut of a node that is there.
        if self.context.agents.has_session(&self.node.meta.name) {
            return Err(PassError::Raced);
        }
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        for device in &mut intent.devices {
            device.tried = tried.contains(&device.number);
        }
        Ok(())
    }

    fn subject(&self) -> Subject {
        about_node(&self.node.meta.name)
    }

    fn story(&self, step: Event) -> Option<Event> {
        Some(step)
    }
}
