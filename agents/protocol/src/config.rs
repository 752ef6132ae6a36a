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

/// An agent's configuration; a file need not be there. Relative paths start at the agent's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// The node's name; that of the server when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Where the data port listens; port 0 takes a free one.
    pub listen: String,
    /// The IPv4 address at which other nodes reach this one with the packets of networks: `10.0.0.5`. That of the data port
    /// when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<String>,
    /// What it does of that for which it was let in; all of it when empty. With `[join]`: what it is to be let in for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// The node's labels.
    pub labels: Labels,
    /// Where an image service keeps its images.
    pub images: PathBuf,
    /// Where volumes are kept.
    #[serde(rename = "pool")]
    pub pools: Vec<PoolConfig>,
    /// How machines are run; the defaults when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<ComputeConfig>,
    /// Programs that a plan's `command` may run: name to absolute path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, PathBuf>,
    /// Programs that cut the power of other nodes, by the fence agents' convention: name to absolute path, as
    /// `fence_ipmilan = "/usr/sbin/fence_ipmilan"`. What operators' devices name as `@NAME` is in `fence/NAME`, in the agent's
    /// folder, for its owner alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fence_programs: BTreeMap<String, PathBuf>,
    /// How it gets into a cluster by itself; without it somebody says `symphony --socket DIR/control.sock ROLE init`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinConfig>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            name: None,
            listen: "0.0.0.0:15761".to_owned(),
            underlay: None,
            roles: Vec::new(),
            labels: Labels::default(),
            images: PathBuf::from("images"),
            pools: vec![PoolConfig::default()],
            compute: None,
            programs: BTreeMap::new(),
            fence_programs: BTreeMap::new(),
            join: None,
        }
    }
}

/// How an agent gets into a cluster by itself. Only looked at for roles that it does not have yet.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoinConfig {
    /// Managers, any of which may be away: `ADDRESS[:PORT]`.
    pub managers: Vec<String>,
    /// Join tokens: one for each of the configuration's `roles`, in their order.
    pub tokens: Vec<String>,
}

// Tokens are secrets.
impl std::fmt::Debug for JoinConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinConfig")
            .field("managers", &self.managers)
            .field("tokens", &self.tokens.len())
            .finish()
    }
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

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            name: Name::try_from("default".to_owned()).expect("a constant that is a name"),
            path: PathBuf::from("pool"),
            capacity: None,
        }
    }
}
