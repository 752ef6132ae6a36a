//! Nodes and services.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Condition, Kind, Labels, Metadata};

/// A server with an agent on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// `node`.
    pub kind: Kind,
    /// Identity and life. Nodes belong to no tenant; their project is `default`.
    #[serde(flatten)]
    pub meta: Metadata,
    /// What operators want.
    pub spec: NodeSpec,
    /// What its agent said.
    pub status: NodeStatus,
}

/// What operators want of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeSpec {
    /// Whether new work is kept away from it.
    pub cordoned: bool,
    /// How its power is cut; absent when only a person can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<NodePower>,
}

/// What was seen of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// `Ready`, `Unknown` (nothing is heard of it; what it runs may still run), `Fenced` (somebody said that it is off) or
    /// `Readmitting` (its agent settles what it may keep).
    #[serde(default)]
    pub phase: String,
    /// Whether new work may go there: its agent has a session, and it is not cordoned.
    pub schedulable: bool,
    /// `ready`: whether its agent has a session.
    pub conditions: Vec<Condition>,
    /// Version of its agent.
    pub version: String,
    /// Where its data port listens.
    pub data_url: String,
    /// What it can be asked to do.
    pub services: Vec<NodeService>,
    /// Where it keeps volumes.
    pub pools: Vec<NodePool>,
    /// What it has for machines; absent where it runs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<NodeCompute>,
    /// Where other nodes reach it with the packets of networks; absent when nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay: Option<String>,
    /// Programs that its agent may run to cut the power of other nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fence_programs: Vec<String>,
    /// Its power is being cut: it is fenced once that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing: Option<NodeFencing>,
}

/// A fence that is under way. It ends by itself when the node's agent is heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeFencing {
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Who or what asked for it.
    pub why: String,
    /// What holds it up; absent while nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub held_by: String,
}

/// How a node's power is cut, by programs of the fence agents' convention that other nodes' agents run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePower {
    /// What can cut it: at most 8.
    pub devices: Vec<PowerDevice>,
    /// For how many seconds the node must be `Unknown` until its power is cut without anybody asking for it; at least 30. A
    /// manager that begins to lead counts anew. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_s: Option<u32>,
}

/// Something that can cut a node's power.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerDevice {
    /// From 1 to 4. All devices of one level together cut the power, as those of a server's two supplies; a later level is for
    /// when an earlier one fails.
    #[serde(default = "first_level")]
    pub level: u8,
    /// A name in `[fence_programs]` of the agent that asks the device: `fence_ipmilan`.
    pub program: String,
    /// What the program is told, but for the action. `@NAME` stands for a secret: what is in `fence/NAME` of that agent's
    /// folder.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

const fn first_level() -> u8 {
    1
}

/// What the devices of a node say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodePowerSeen {
    /// The node.
    pub node: String,
    /// The node that asked them.
    pub asked_by: String,
    /// Whether that is enough to fence the node: each device of one level says that it is off.
    pub off: bool,
    /// What each says.
    pub devices: Vec<PowerDeviceSeen>,
}

/// What a device says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PowerDeviceSeen {
    /// Its place in the list.
    pub device: u32,
    /// Its level.
    pub level: u8,
    /// The program that asked it.
    pub program: String,
    /// `on`, `off`, or `unknown`.
    pub state: String,
    /// Why nobody knows; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}

/// What a node has for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeCompute {
    /// `kvm`, `qemu` or `test`.
    pub hypervisor: String,
    /// Its processors.
    pub cpus: u32,
    /// Virtual processors that may be claimed.
    pub cpus_claimable: u64,
    /// Virtual processors that are claimed.
    pub cpus_claimed: u64,
    /// Memory that may be claimed, in bytes.
    pub memory_bytes: u64,
    /// Memory that is claimed, in bytes.
    pub memory_claimed_bytes: u64,
    /// Machines that are placed there.
    pub machines: u64,
}

/// One role of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeService {
    /// Never changes while the node has the role.
    pub id: Uuid,
    /// `block`, `image`, `compute`, `network`.
    pub role: String,
}

/// Where a node keeps volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodePool {
    /// Unique on the node.
    pub name: String,
    /// What may be claimed, in bytes.
    pub capacity_bytes: u64,
    /// What is claimed, in bytes.
    pub claimed_bytes: u64,
    /// What is not, in bytes.
    pub free_bytes: u64,
    /// Whether its file system shares blocks between files.
    pub reflink: bool,
}

/// Changes a node. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchNode {
    /// All labels, in place of those it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// What operators want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<PatchNodeSpec>,
}

/// Changes what operators want of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchNodeSpec {
    /// Whether new work is kept away from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordoned: Option<bool>,
    /// How its power is cut. Without devices: nothing can cut it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<NodePower>,
}

/// Fences a node, so that its machines may be started elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FenceNode {
    /// That whoever asks has made sure that it is off. Without it the node's devices are to cut its power.
    #[serde(default)]
    pub confirm: bool,
}

/// Empties a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainNode {
    /// Whether machines that run and could leave are asked to stop.
    #[serde(default)]
    pub stop: bool,
}

/// What becomes of a drained node's machines; at most 1000 are named of each sort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeDrained {
    /// The node: cordoned.
    pub node: Node,
    /// They leave, each once the node shows nothing of it any more.
    pub leaving: Vec<DrainedMachine>,
    /// They are being stopped, and leave at the next drain.
    pub stopping: Vec<DrainedMachine>,
    /// They stay.
    pub staying: Vec<DrainedMachine>,
}

/// A machine of a drained node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainedMachine {
    /// Its project.
    pub project: String,
    /// Its name.
    pub machine: String,
    /// What holds it, of one that stays.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// One role of one node, or a manager, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// `service`.
    pub kind: Kind,
    /// Never changes while the node has the role.
    pub id: Uuid,
    /// `manager`, `block`, `image`, `compute`, `network`.
    pub role: String,
    /// The node that it runs on.
    pub node: String,
    /// Whether it answers.
    pub status: ServiceStatus,
    /// The version that runs.
    pub version: String,
    /// Where it is reached.
    pub address: String,
    /// When the node first had the role.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// Whether a service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum ServiceStatus {
    /// It answers.
    Up,
    /// It said that it goes.
    Down,
    /// Nothing is heard of it; what it runs may still run.
    Unknown,
}

impl ServiceStatus {
    /// Its text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "Up",
            Self::Down => "Down",
            Self::Unknown => "Unknown",
        }
    }
}

/// What became of `manager init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    /// The cluster that the manager belongs to now.
    pub cluster: Uuid,
    /// The manager's name.
    pub manager: String,
    /// Where it is reached: `ADDRESS:PORT`.
    pub address: String,
}
