//! The configuration of an agent: `agent.toml` in its folder. `symphony dev` writes one for each of its nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use symphony_core::labels::Labels;
use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_core::plan::machine::Hypervisor;

/// The file's name in the agent's folder.
pub const AGENT_CONFIG_FILE: &str = "agent.toml";

/// An agent's configuration. Relative paths start at the agent's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The node's name.
    pub name: Name,
    /// The manager: `http://ADDRESS:PORT`.
    pub manager: String,
    /// The secret that manager and agents share (until they have certificates).
    pub token: String,
    /// Where the data port listens; port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// What it can be asked to do.
    pub roles: Vec<Role>,
    /// The node's labels.
    #[serde(default)]
    pub labels: Labels,
    /// Where an image service keeps its images.
    #[serde(default = "default_images")]
    pub images: PathBuf,
    /// Where volumes are kept.
    #[serde(default, rename = "pool", skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolConfig>,
    /// How machines are run; the defaults when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<ComputeConfig>,
    /// Programs that a plan's `command` may run: name to absolute path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, PathBuf>,
}

/// How a node runs machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComputeConfig {
    /// Where libvirt is: `qemu:///system`. When not given, the agent keeps a libvirtd of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// `kvm`, `qemu` or `test`; the best that works when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// Virtual processors that may be claimed for each processor, in percent.
    #[serde(default = "default_overcommit")]
    pub cpu_overcommit_percent: u32,
    /// Memory that machines may claim, like `60GiB`; all but 1 GiB when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

impl Default for ComputeConfig {
    fn default() -> Self {
        Self {
            uri: None,
            hypervisor: None,
            cpu_overcommit_percent: default_overcommit(),
            memory: None,
        }
    }
}

const fn default_overcommit() -> u32 {
    400
}

/// One pool of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Unique on the node.
    pub name: Name,
    /// A folder; made when it is missing.
    pub path: PathBuf,
    /// What may be claimed, like `100GiB`; the size of the file system when not given. Files are sparse, so this is a
    /// promise of the operator, not a measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
}

fn default_listen() -> String {
    "127.0.0.1:15761".to_owned()
}

fn default_images() -> PathBuf {
    PathBuf::from("images")
}
