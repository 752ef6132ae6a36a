//! Machines, and what is sent to make and change them.

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Condition, Decider, Kind, Labels, Metadata, Size};

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Machine {
    /// `machine`.
    pub kind: Kind,
    /// Identity and life.
    #[serde(flatten)]
    pub meta: Metadata,
    /// What is wanted.
    pub spec: MachineSpec,
    /// What was seen.
    pub status: MachineStatus,
}

/// What is wanted of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineSpec {
    /// Virtual processors.
    pub cpus: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The processor that the guest sees.
    pub cpu_mode: CpuMode,
    /// Whether its memory is in huge pages.
    pub hugepages: bool,
    /// Whether it should run.
    pub power: Power,
    /// How often it was ordered to boot: raised by a start and by a reboot.
    pub boots: u64,
    /// What happens when it dies on its own.
    pub restart: RestartPolicy,
    /// Its volumes, the one that it boots from first.
    pub volumes: Vec<MachineVolume>,
    /// Its connections to networks.
    pub ports: Vec<Port>,
    /// Size of what the user gave for the first boot, in bytes.
    pub user_data_bytes: u64,
    /// Public keys for the first boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// Where it may go.
    #[serde(flatten)]
    pub wishes: Wishes,
}

/// The processor that a guest sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CpuMode {
    /// What the driver finds best.
    #[default]
    Automatic,
    /// The node's own.
    Host,
    /// One that all nodes have.
    Portable,
}

/// Whether a machine should run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// It should run.
    #[default]
    On,
    /// It should be off.
    Off,
}

/// What happens when a machine dies on its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// It is started again, whatever ended it.
    Always,
    /// It is started again unless its guest shut itself down.
    #[default]
    OnFailure,
    /// It stays off.
    Never,
}

/// A volume of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineVolume {
    /// The volume.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it is deleted with the machine.
    pub delete_with_machine: bool,
}

/// A machine's connection to one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Port {
    /// Never changes.
    pub id: Uuid,
    /// The network's name.
    pub network: String,
    /// The network.
    pub network_id: Uuid,
    /// Its MAC.
    pub mac: String,
    /// Its address.
    pub address: String,
    /// What may come in; without rules everything from its network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Bits per second in each direction; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bits: Option<u64>,
}

/// Where a machine may go, and where it would rather go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wishes {
    /// Labels that its node must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub require: Labels,
    /// Labels that its node should have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub prefer: Labels,
    /// Machines of the project whose node it must not share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart_from: Vec<String>,
    /// Machines of the project whose node it must share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// Whether volumes that were there before it may be on other nodes than itself. It is near them when it can be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remote_volumes: bool,
}

/// What a machine is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum MachinePhase {
    /// Waits for a placement.
    Pending,
    /// No node takes it now; it is placed as soon as one does.
    Unplaceable,
    /// Placed; its volumes and networks are being made.
    Preparing,
    /// Being started.
    Starting,
    /// It runs.
    Running,
    /// Being shut down.
    Stopping,
    /// It is off, as wanted or by itself.
    Stopped,
    /// It died, and is started again after a pause.
    BackOff,
    /// Being removed.
    Deleting,
    /// It can't be made as asked.
    Failed,
}

impl MachinePhase {
    /// Its text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Unplaceable => "Unplaceable",
            Self::Preparing => "Preparing",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::BackOff => "BackOff",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
        }
    }
}

/// How a machine came to be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It has not run since its node came up.
    NeverRan,
    /// The guest shut itself down.
    Guest,
    /// It was ordered to.
    Ordered,
    /// The guest or the hypervisor crashed.
    Crashed,
    /// It could not be started.
    Failed,
}

/// What was seen of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MachineStatus {
    /// What it is going through.
    pub phase: MachinePhase,
    /// The generation of the spec that `phase` is about.
    pub observed_generation: u64,
    /// Where it is, or is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<MachinePlacement>,
    /// How often it was started again since it last ran steadily or was ordered to boot.
    pub restarts: u32,
    /// Since when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub running_since: Option<Timestamp>,
    /// What runs it, when its node has it: `kvm`, `qemu` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<String>,
    /// How it came to be off, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The details.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Where a machine was placed, and by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MachinePlacement {
    /// The node.
    pub node: String,
    /// Virtual processors reserved there.
    pub cpus: u32,
    /// Memory reserved there, in bytes.
    pub memory_bytes: u64,
    /// The score that the policy gave.
    pub score: f32,
    /// Who decided.
    pub decided_by: Decider,
    /// For display.
    #[schema(value_type = String, format = DateTime)]
    pub decided_at: Timestamp,
}

impl Machine {
    /// The node that it is on.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.status.placement.as_ref().map(|placement| placement.node.as_str())
    }

    /// Whether it is as the newest spec says: running or off.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let newest = self.status.observed_generation == self.meta.generation;
        let wanted = match self.spec.power {
            Power::On => MachinePhase::Running,
            Power::Off => MachinePhase::Stopped,
        };
        newest && self.status.phase == wanted && self.meta.deleting_since.is_none()
    }
}

/// Asks for a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateMachine {
    /// Lower-case letters, digits and `-`, at most 63, not in the form of a UUID. Also its host name.
    pub name: String,
    /// For people, and for what selects by them.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What is wanted.
    pub spec: CreateMachineSpec,
}

/// What is wanted of a new machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateMachineSpec {
    /// Virtual processors; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory; 512MiB when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Name or id of the image that a new root volume (`NAME-root`) is made from. Without an image the first of
    /// `volumes` must be one that exists: the machine boots from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Size of the root volume; the image's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_size: Option<Size>,
    /// Further volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<WantedVolume>,
    /// The pool that its new volumes must be in; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Its connections to networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<WantedPort>,
    /// For cloud-init.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_data: String,
    /// Public keys, for cloud-init.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// Whether it should run.
    #[serde(default)]
    pub power: Power,
    /// What happens when it dies on its own.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// The processor that the guest sees.
    #[serde(default)]
    pub cpu_mode: CpuMode,
    /// Whether its memory is in huge pages.
    #[serde(default)]
    pub hugepages: bool,
    /// Labels that its node must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub require: Labels,
    /// Labels that its node should have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub prefer: Labels,
    /// Machines of the project whose node it must not share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart_from: Vec<String>,
    /// Machines of the project whose node it must share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// Whether volumes that were there before it may be on other nodes than itself. It is near them when it can be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remote_volumes: bool,
}

/// A volume that a machine should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedVolume {
    /// With a size: the new volume is called `MACHINE-NAME`. Without: name or id of one that exists.
    pub name: String,
    /// Makes a new volume of this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Whether it is deleted with the machine.
    #[serde(default)]
    pub delete_with_machine: bool,
}

/// A connection that a machine should have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedPort {
    /// Name or id of the network.
    pub network: String,
    /// Its address; the lowest that is free when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What may come in: `tcp:22`, `udp:60000-61000`, `icmp`, `tcp:443@10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// `100Mbit`: the limit in each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
}

/// Changes a machine. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMachine {
    /// All labels, in place of those it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// What is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<PatchMachineSpec>,
}

/// Changes what is wanted of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMachineSpec {
    /// Starts or stops it; an order that it follows already changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Power>,
    /// Virtual processors; only while it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory; only while it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// What happens when it dies on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
}

/// Takes a volume that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachVolume {
    /// Name or id of the volume.
    pub volume: String,
    /// Whether it is deleted with the machine.
    #[serde(default)]
    pub delete_with_machine: bool,
}

/// What becomes of a machine's volumes when it is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VolumesThen {
    /// What each says in `delete_with_machine`.
    #[default]
    AsSaid,
    /// All are kept.
    Keep,
    /// All are deleted.
    Delete,
}
