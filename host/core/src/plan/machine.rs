//! Machines: the intent, the facts and the steps of `wit/machine-driver.wit`, and the check on a plan.

mod check;
mod intent;

pub use intent::{Parts, SHUTDOWN_MS};

use serde::{Deserialize, Serialize};

use crate::plugin::Slot;

use super::{Goal, Kind, PlanFault};

/// Most disks of one machine.
pub const DISKS_MAX: usize = 16;
/// Most ports of one machine.
pub const PORTS_MAX: usize = 8;
/// Most files on one seed disk.
pub const SEED_FILES_MAX: usize = 8;
/// Largest file on a seed disk, in bytes.
pub const SEED_FILE_BYTES_MAX: usize = 128 << 10;

/// The kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machines;

/// Whether a machine should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// It should be off.
    Off,
    /// It should run.
    On,
}

/// What a node runs machines with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hypervisor {
    /// QEMU with the processor's help.
    Kvm,
    /// QEMU alone.
    Qemu,
    /// libvirt's simulated one: nothing runs.
    Test,
}

/// The processor that a guest sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuMode {
    /// What the driver finds best.
    #[default]
    Automatic,
    /// The node's own.
    Host,
    /// One that all nodes have.
    Portable,
}

/// A volume of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The volume's object on the node.
    pub volume: String,
    /// Where it is.
    #[serde(flatten)]
    pub source: DiskSource,
    /// Whether the machine boots from it.
    pub boot: bool,
}

/// Where a machine's volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DiskSource {
    /// On the machine's node.
    Local {
        /// The pool that it is in.
        pool: String,
    },
    /// On another node, which serves it.
    Remote {
        /// The export's name: which volume, in which generation. What opens it only manager and agent know.
        export: String,
        /// The node that it is on.
        node: String,
    },
}

/// A port of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port's id.
    pub id: String,
    /// The link that stands for it on the node; at most 15 bytes.
    pub link: String,
    /// The network's bridge on the node; at most 15 bytes.
    pub bridge: String,
    /// `52:54:00:12:34:56`.
    pub mac: String,
    /// What DHCP gives it.
    pub address: String,
    /// Length of the subnet's prefix.
    pub prefix: u8,
    /// The subnet's gateway and name server.
    pub gateway: String,
    /// Bits per second in each direction; 0: no limit.
    pub rate_bits: u64,
}

/// What a guest is told at its first boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstBoot {
    /// Its host name.
    pub hostname: String,
    /// Changes when the guest should take it as a new machine.
    pub instance: String,
    /// Given by the user; empty when not.
    pub user_data: String,
    /// Public keys.
    pub ssh_keys: Vec<String>,
}

/// What is wanted of one machine on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The machine's object on the node.
    pub object: String,
    /// For display.
    pub name: String,
    /// Whether it should be there.
    pub goal: Goal,
    /// Whether it should run.
    pub power: Power,
    /// How often it was ordered to boot, counted from 1.
    pub boots: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory; a multiple of 1 MiB.
    pub memory_bytes: u64,
    /// The processor that the guest sees.
    pub cpu_mode: CpuMode,
    /// Whether its memory is in huge pages.
    pub hugepages: bool,
    /// The one that it boots from first; at most [`DISKS_MAX`].
    pub disks: Vec<Disk>,
    /// At most [`PORTS_MAX`].
    pub ports: Vec<Port>,
    /// What it is told at its first boot.
    pub first_boot: Option<FirstBoot>,
    /// How long a guest has for shutting down, in milliseconds.
    pub shutdown_ms: u32,
}

/// A fact that a driver needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// What the hypervisor knows of a machine.
    Domain(String),
    /// What the node runs machines with.
    Node,
}

/// How a disk or port looks to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceModel {
    /// Paravirtual.
    Virtio,
    /// SATA for a disk, E1000 for a port.
    Emulated,
}

/// A disk as the hypervisor is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskDevice {
    /// The disk.
    pub disk: Disk,
    /// How it looks.
    pub model: DeviceModel,
}

/// A port as the hypervisor is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDevice {
    /// The port.
    pub port: Port,
    /// How it looks.
    pub model: DeviceModel,
}

/// A machine's hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chipset {
    /// With PCI Express.
    Q35,
    /// The older one.
    Pc,
}

/// A machine as the hypervisor is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The machine's object.
    pub object: String,
    /// For display.
    pub title: String,
    /// What runs it.
    pub hypervisor: Hypervisor,
    /// Its hardware.
    pub chipset: Chipset,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// The processor that the guest sees.
    pub cpu_mode: CpuMode,
    /// Whether its memory is in huge pages.
    pub hugepages: bool,
    /// Its disks, the one that it boots from first.
    pub disks: Vec<DiskDevice>,
    /// Its ports.
    pub ports: Vec<PortDevice>,
    /// Whether the seed disk is attached.
    pub seed: bool,
    /// Whether there is a serial console.
    pub console: bool,
    /// Whether there is a screen.
    pub screen: bool,
}

/// How a machine came to be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It has not run since the hypervisor came up.
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

/// What a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It is off.
    Off(Exit),
    /// It runs.
    Running,
    /// It stands still.
    Paused,
}

/// A machine that the hypervisor knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// As it was defined last.
    pub description: Description,
    /// What it does.
    pub state: RunState,
    /// The boot count of its last start; 0 before the first.
    pub boots: u64,
    /// The volumes that are attached now, while it runs.
    pub live_volumes: Vec<String>,
    /// The ports that are attached now, while it runs.
    pub live_ports: Vec<String>,
    /// The digest of its seed disk; empty: none.
    pub seed_digest: String,
}

/// What there is of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainFact {
    /// Which.
    pub object: String,
    /// As the hypervisor knows it.
    pub found: Option<Domain>,
    /// Files of it that are left although the hypervisor does not know it.
    pub remains: bool,
}

/// What an agent saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a plan has one or two facts")]
pub enum Fact {
    /// Of a machine.
    Domain(DomainFact),
    /// Of the node.
    Node {
        /// What runs machines there.
        hypervisor: Hypervisor,
        /// Whether huge pages are free.
        hugepages: bool,
    },
}

/// One file of a seed disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedFile {
    /// `user-data`, `meta-data`, `network-config` or `vendor-data`.
    pub name: String,
    /// At most [`SEED_FILE_BYTES_MAX`].
    pub content: String,
}

/// One action of an agent; see `wit/machine-driver.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes the machine known, or changes what is known of it.
    Define(Box<Description>),
    /// Makes the seed disk.
    WriteSeed {
        /// Which machine's.
        object: String,
        /// Of its files.
        digest: String,
        /// What is on it.
        files: Vec<SeedFile>,
    },
    /// Starts it, and notes the boot count.
    Start {
        /// Which.
        object: String,
        /// The count.
        boots: u64,
    },
    /// Presses the power button, and cuts it off at the deadline.
    Shutdown {
        /// Which.
        object: String,
        /// The deadline, in milliseconds.
        timeout_ms: u32,
    },
    /// Cuts it off.
    Destroy {
        /// Which.
        object: String,
    },
    /// Shuts it down and starts it again.
    Reboot {
        /// Which.
        object: String,
        /// The new count.
        boots: u64,
        /// The deadline of the shutdown, in milliseconds.
        timeout_ms: u32,
    },
    /// Lets a paused one go on.
    Resume {
        /// Which.
        object: String,
    },
    /// Attaches a disk to a running machine.
    AttachDisk {
        /// Which.
        object: String,
        /// What.
        device: DiskDevice,
    },
    /// Takes a disk from a running machine.
    DetachDisk {
        /// Which.
        object: String,
        /// What.
        volume: String,
    },
    /// Attaches a port to a running machine.
    AttachPort {
        /// Which.
        object: String,
        /// What.
        device: Box<PortDevice>,
    },
    /// Takes a port from a running machine.
    DetachPort {
        /// Which.
        object: String,
        /// What.
        port: String,
    },
    /// Makes the hypervisor forget one that is off, with its files.
    Undefine {
        /// Which.
        object: String,
    },
}

impl Step {
    /// What it does, in a word.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Define(_) => "define",
            Self::WriteSeed { .. } => "write-seed",
            Self::Start { .. } => "start",
            Self::Shutdown { .. } => "shutdown",
            Self::Destroy { .. } => "destroy",
            Self::Reboot { .. } => "reboot",
            Self::Resume { .. } => "resume",
            Self::AttachDisk { .. } => "attach-disk",
            Self::DetachDisk { .. } => "detach-disk",
            Self::AttachPort { .. } => "attach-port",
            Self::DetachPort { .. } => "detach-port",
            Self::Undefine { .. } => "undefine",
        }
    }

    /// The machine that it is on.
    #[must_use]
    pub fn object(&self) -> &str {
        match self {
            Self::Define(description) => &description.object,
            Self::WriteSeed { object, .. }
            | Self::Start { object, .. }
            | Self::Shutdown { object, .. }
            | Self::Destroy { object }
            | Self::Reboot { object, .. }
            | Self::Resume { object }
            | Self::AttachDisk { object, .. }
            | Self::DetachDisk { object, .. }
            | Self::AttachPort { object, .. }
            | Self::DetachPort { object, .. }
            | Self::Undefine { object } => object,
        }
    }
}

impl Kind for Machines {
    const NAME: &'static str = "machine";
    const SLOT: Slot = Slot::MachineDriver;

    type Intent = Intent;
    type Probe = Probe;
    type Fact = Fact;
    type Step = Step;
    /// The machine as it was seen; none when it is gone.
    type Met = Option<Domain>;

    fn goal(intent: &Intent) -> Goal {
        intent.goal
    }

    fn may_probe(intent: &Intent, probe: &Probe) -> Result<(), String> {
        match probe {
            Probe::Domain(object) if *object != intent.object => Err(object.clone()),
            Probe::Domain(_) | Probe::Node => Ok(()),
        }
    }

    fn proof(intent: &Intent) -> Vec<Probe> {
        vec![Probe::Domain(intent.object.clone())]
    }

    fn check(intent: &Intent, facts: &[Fact], steps: &[Step]) -> Result<(), PlanFault> {
        check::steps(intent, facts, steps)
    }

    fn met(intent: &Intent, facts: &[Fact]) -> Option<Option<Domain>> {
        check::met(intent, facts)
    }

    fn action(step: &Step) -> &'static str {
        step.action()
    }
}
