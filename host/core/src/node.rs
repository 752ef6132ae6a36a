//! Nodes: servers with an agent on them, the services they run, and their pools.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::condition::{Condition, Truth};
use crate::counter::Admission;
use crate::id::{NodeId, ServiceId};
use crate::meta::Meta;
use crate::name::Name;
use crate::plan::machine::Hypervisor;
use crate::power::{Fencing, NodePower};

/// Most pools on one node.
pub const POOLS_MAX: usize = 32;
/// Most programs that the agent of one node may run to cut the power of others.
pub const FENCE_PROGRAMS_MAX: usize = 32;

/// A server with an agent on it. Nodes belong to no tenant; their project is always `default`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Identity, name and labels.
    pub meta: Meta<NodeId>,
    /// What operators want.
    pub spec: NodeSpec,
    /// What its agent said.
    pub status: NodeStatus,
}

/// What operators want of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Whether new work is kept away from it.
    #[serde(default)]
    pub cordoned: bool,
    /// How its power is cut; nothing when only a person can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<NodePower>,
}

/// What the agent of a node said when it registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Whether the agent has a session. Unknown means: nothing is heard of it; what it runs may still run.
    pub ready: Condition,
    /// How often it was let in; 0 for an agent that knows nothing of that.
    #[serde(default)]
    pub admission: Admission,
    /// Whether it is in.
    #[serde(default)]
    pub fence: Fence,
    /// Version of the agent.
    pub version: String,
    /// Where its data port listens (`http://ADDRESS:PORT`), for image bytes.
    pub data_url: String,
    /// Its services.
    pub services: Vec<Service>,
    /// Where it keeps volumes; by name.
    pub pools: Vec<Pool>,
    /// What it has for machines; nothing where it runs none: it takes both roles, compute and network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Compute>,
    /// Where other nodes reach it with the packets of networks; nothing when nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay: Option<crate::network::Underlay>,
    /// Programs that its agent may run to cut the power of other nodes; by name, at most [`FENCE_PROGRAMS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fence_programs: Vec<String>,
    /// Its power is being cut: it is fenced once that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing: Option<Fencing>,
}

/// Whether a node is in the cluster, as far as its machines go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fence {
    /// It is: whatever it does counts.
    #[default]
    None,
    /// Somebody said that it is off. What was placed there may be released without asking it.
    Fenced,
    /// It was heard of after it was fenced: it is told what it may keep, and ends all else.
    Returning,
    /// It is heard of for the first time, or has lost what it wrote down: it is told what it has, and ends nothing.
    Joining,
}

/// What a node is going through.
///
/// ```text
///   Ready ─► Unknown ─► Fenced ─► Readmitting ─► Ready
///     ▲         │
///     └─────────┘  its agent is heard of again
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodePhase {
    /// Its agent has a session.
    Ready,
    /// Nothing is heard of it; what it runs may still run, and nothing of it is started elsewhere.
    Unknown,
    /// Somebody said that it is off.
    Fenced,
    /// Its agent settles what it may keep; there is no work for it yet.
    Readmitting,
}

impl NodePhase {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Unknown => "Unknown",
            Self::Fenced => "Fenced",
            Self::Readmitting => "Readmitting",
        }
    }
}

/// What a node has for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compute {
    /// What runs machines there.
    pub hypervisor: Hypervisor,
    /// Its processors.
    pub cpus: u32,
    /// How many virtual processors may be claimed for each, in percent: the operator's policy.
    pub cpu_overcommit_percent: u32,
    /// Memory that may be claimed, in bytes: what the operator leaves for machines.
    pub memory_bytes: u64,
}

impl Compute {
    /// Virtual processors that may be claimed.
    #[must_use]
    pub fn cpus_claimable(&self) -> u64 {
        u64::from(self.cpus) * u64::from(self.cpu_overcommit_percent) / 100
    }
}

/// What a node can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Keeps volumes.
    Block,
    /// Keeps images.
    Image,
    /// Runs machines.
    Compute,
    /// Connects machines.
    Network,
}

impl Role {
    /// The word for it, as in `symphony manager service list`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Image => "image",
            Self::Compute => "compute",
            Self::Network => "network",
        }
    }
}

/// One role of a node, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Never changes while the node has the role.
    pub id: ServiceId,
    /// The role.
    pub role: Role,
    /// When the node first had it.
    pub since: Timestamp,
}

/// Where a node keeps volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Unique on the node.
    pub name: Name,
    /// What may be claimed, in bytes.
    pub capacity_bytes: u64,
    /// Whether the file system shares blocks between files.
    #[serde(default)]
    pub reflink: bool,
}

impl Node {
    /// What it is going through.
    #[must_use]
    pub fn phase(&self) -> NodePhase {
        match self.status.fence {
            Fence::Fenced => NodePhase::Fenced,
            Fence::Returning | Fence::Joining => NodePhase::Readmitting,
            Fence::None if self.status.ready.truth == Truth::True => NodePhase::Ready,
            Fence::None => NodePhase::Unknown,
        }
    }

    /// Whether new work may go there: an agent with a session, and no cordon.
    #[must_use]
    pub fn is_schedulable(&self) -> bool {
        self.phase() == NodePhase::Ready && !self.spec.cordoned && !self.meta.is_deleting()
    }

    /// The service of this role.
    #[must_use]
    pub fn service(&self, role: Role) -> Option<&Service> {
        self.status.services.iter().find(|service| service.role == role)
    }
}
