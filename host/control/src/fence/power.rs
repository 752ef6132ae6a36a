//! Nodes whose power is to be cut: who may ask for it, and what their devices say.

use std::collections::BTreeSet;

use symphony_core::counter::Generation;
use symphony_core::event::Severity;
use symphony_core::id::NodeId;
use symphony_core::name::Name;
use symphony_core::node::{Node, NodePhase};
use symphony_core::plan::fence::{Fact, Fences, Intent, PowerFact};
use symphony_core::plan::{Kind, check_probes};
use symphony_core::power::{Fencing, NodePower};
use symphony_protocol::{Outcome, Task, Work};
use symphony_store::Txn;

use crate::agents::{Agents, Request};
use crate::clock;
use crate::control::Control;
use crate::events::{about_node, event};
use crate::reconcile::TRIES;
use crate::view::{State, Stored};
use crate::write::WriteError;

use super::{FenceError, changed};

/// What the devices of a node say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerSeen {
    /// The node that asked them.
    pub asked_by: Name,
    /// The devices, as they are on record.
    pub power: NodePower,
    /// What each says, in their order.
    pub facts: Vec<PowerFact>,
    /// Whether that is enough to fence the node.
    pub is_off: bool,
}

impl Control {
    /// Asks for a node's power to be cut; it is fenced once that was seen. Ends by itself when its agent is heard of.
    ///
    /// # Errors
    /// There is no such node, it is connected, nothing can cut its power, or the store can't be written.
    pub async fn cut_power(&self, name: &Name, why: &str) -> Result<Stored<Node>, FenceError> {
        for _ in 0..TRIES {
            let stored = self.node(name).await?;
            if self.agents().has_session(name) {
                return Err(FenceError::Connected(name.clone()));
            }
            if stored.value.spec.power.is_none() {
                return Err(FenceError::NoDevices(name.clone()));
            }
            if stored.value.phase() == NodePhase::Fenced || stored.value.status.fencing.is_some() {
                return Ok(stored);
            }
            let (node, txn) = begin(&stored, why)?;
            match self.writer().commit(txn).await {
                Ok(revision) => {
                    self.seen(revision).await;
                    return Ok(Stored { value: node, revision });
                }
                Err(WriteError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Conflict.into())
    }

    /// Asks the devices of a node; changes nothing.
    ///
    /// # Errors
    /// There is no such node, it has no devices, or nobody can ask them.
    pub async fn power(&self, name: &Name) -> Result<PowerSeen, FenceError> {
        let node = self.node(name).await?.value;
        let power = node
            .spec
            .power
            .clone()
            .ok_or_else(|| FenceError::NoDevices(name.clone()))?;
        let (asking, admission) = {
            let state = self.view().read();
            let asking = asking_nodes(&state, self.agents(), name, &power).into_iter().next();
            let asking = asking.ok_or_else(|| FenceError::NobodyAsks(name.clone(), programs(&power)))?;
            let admission = state.admission(&asking);
            (asking, admission)
        };
        let intent = Intent::of(name, &power);
        let failed = |why: String| FenceError::NotAsked(asking.clone(), why);
        let probes = check_probes::<Fences>(&intent, Vec::new()).map_err(|fault| failed(fault.to_string()))?;
        let request = Request {
            node: &asking,
            object: object(node.meta.id),
            generation: generation(&node),
            tenure: symphony_core::counter::Tenure(0),
            admission,
            work: Work::Fence {
                devices: power.devices.clone(),
                task: Task::Facts { probes },
            },
        };
        let seen = match self.agents().call(request, None).await {
            Ok(Outcome::Fence(seen)) => seen,
            Ok(_) => return Err(failed("it gave an answer of the wrong kind".to_owned())),
            Err(failure) => return Err(failed(failure.to_string())),
        };
        Ok(PowerSeen {
            is_off: Fences::met(&intent, &seen.facts).is_some(),
            facts: seen.facts.into_iter().map(|Fact::Power(fact)| fact).collect(),
            asked_by: asking,
            power,
        })
    }
}

/// Says in a node's record that its power is to be cut, if the record is still as it was read; with the record as it is then.
pub(crate) fn begin(stored: &Stored<Node>, why: &str) -> Result<(Node, Txn), WriteError> {
    let mut node = stored.value.clone();
    let name = node.meta.name.clone();
    node.status.fencing = Some(Fencing {
        since: clock::now(),
        why: why.to_owned(),
        held_by: String::new(),
    });
    let message = format!("the power of node {name} is to be cut: {why}");
    let told = event(Severity::Warning, "power-cut-wanted", about_node(&name), message);
    let txn = changed(stored, &node, &told)?;
    Ok((node, txn))
}

/// What calls about a node's power are about.
fn object(node: NodeId) -> String {
    format!("{}/{node}", Fences::NAME)
}

/// Raised by each fence: what was asked for before one is refused after it.
pub(crate) const fn generation(node: &Node) -> Generation {
    Generation(node.status.admission.0)
}

/// The programs of devices, for a person.
pub(crate) fn programs(power: &NodePower) -> String {
    let programs: BTreeSet<&str> = power.devices.iter().map(|device| device.program.as_str()).collect();
    programs.into_iter().collect::<Vec<_>>().join(", ")
}

/// Other nodes that can ask all devices of one level or more, in the order of their names.
pub(crate) fn asking_nodes(state: &State, agents: &Agents, of: &Name, power: &NodePower) -> Vec<Name> {
    let can_ask = |node: &Node| {
        let has = |program: &String| node.status.fence_programs.contains(program);
        let levels: BTreeSet<u8> = power.devices.iter().map(|device| device.level).collect();
        levels.into_iter().any(|level| {
            let mut of = power.devices.iter().filter(|device| device.level == level);
            of.all(|device| has(&device.program))
        })
    };
    let nodes = state.nodes.iter().filter(|(name, node)| {
        *name != of && node.value.phase() == NodePhase::Ready && can_ask(&node.value) && agents.has_session(name)
    });
    nodes.map(|(name, _)| name.clone()).collect()
}
