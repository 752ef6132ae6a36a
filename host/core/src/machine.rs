//! Machines: what is wanted, where it was placed, and what was seen. What moves them is in [`life`].

pub mod life;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::condition::{Conditions, Truth};
use crate::counter::{Generation, Revision, Tenure};
use crate::id::{MachineId, NetworkId, PortId, VolumeId};
use crate::labels::Labels;
use crate::meta::Meta;
use crate::name::Name;
use crate::network::{Address, Mac, Rule};
use crate::place::Verdict;
use crate::plan::machine::{CpuMode, Exit, Hypervisor, Power};
use crate::quantity::Bytes;
use crate::volume::Decider;

/// Most virtual processors of one machine.
pub const CPUS_MAX: u32 = 512;
/// Least memory of one machine, in bytes: 16 MiB.
pub const MEMORY_BYTES_MIN: u64 = 16 << 20;
/// Most memory of one machine, in bytes: 16 TiB.
pub const MEMORY_BYTES_MAX: u64 = 16 << 40;
/// Largest user-data, in bytes.
pub const USER_DATA_BYTES_MAX: usize = 64 << 10;
/// Most SSH keys of one machine.
pub const SSH_KEYS_MAX: usize = 32;
/// Largest SSH key, in bytes.
pub const SSH_KEY_BYTES_MAX: usize = 4 << 10;

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Identity and life.
    pub meta: Meta<MachineId>,
    /// What is wanted.
    pub spec: MachineSpec,
    /// Where it goes, with what is reserved there. Set once, by the place loop alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<MachinePlacement>,
    /// What was seen.
    pub status: MachineStatus,
}

/// What is wanted of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Its size.
    #[serde(flatten)]
    pub size: MachineSize,
    /// The processor that the guest sees.
    #[serde(default)]
    pub cpu_mode: CpuMode,
    /// Whether its memory is in huge pages.
    #[serde(default)]
    pub hugepages: bool,
    /// Whether it should run.
    pub power: Power,
    /// How often it was ordered to boot, counted from 1: raised by a start and by a reboot.
    pub boots: u64,
    /// What happens when it dies on its own.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Its volumes, the one that it boots from first.
    pub volumes: Vec<Attachment>,
    /// Its connections to networks.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// What the guest is told at its first boot.
    #[serde(default)]
    pub first_boot: FirstBoot,
    /// Where it may go.
    #[serde(default)]
    pub wishes: Wishes,
}

/// Processors and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawSize", into = "RawSize")]
pub struct MachineSize {
    cpus: u32,
    memory_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct RawSize {
    cpus: u32,
    memory_bytes: u64,
}

/// Why a machine can't have this size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineSizeError {
    /// None, or over [`CPUS_MAX`].
    #[error("a machine has 1 to {CPUS_MAX} virtual processors, and {0} were asked for")]
    Cpus(u32),
    /// Under [`MEMORY_BYTES_MIN`], or over [`MEMORY_BYTES_MAX`].
    #[error("a machine has {} to {} of memory, and {} was asked for", Bytes(MEMORY_BYTES_MIN), Bytes(MEMORY_BYTES_MAX), Bytes(*.0))]
    Memory(u64),
    /// Not a multiple of 1 MiB.
    #[error("memory comes in whole MiB, and {0} bytes are not")]
    Granularity(u64),
}

impl MachineSize {
    /// Checks a size; memory in bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub const fn new(cpus: u32, memory_bytes: u64) -> Result<Self, MachineSizeError> {
        if cpus == 0 || cpus > CPUS_MAX {
            return Err(MachineSizeError::Cpus(cpus));
        }
        if memory_bytes < MEMORY_BYTES_MIN || memory_bytes > MEMORY_BYTES_MAX {
            return Err(MachineSizeError::Memory(memory_bytes));
        }
        if !memory_bytes.is_multiple_of(1 << 20) {
            return Err(MachineSizeError::Granularity(memory_bytes));
        }
        Ok(Self { cpus, memory_bytes })
    }

    /// Virtual processors.
    #[must_use]
    pub const fn cpus(self) -> u32 {
        self.cpus
    }

    /// Memory, in bytes.
    #[must_use]
    pub const fn memory_bytes(self) -> u64 {
        self.memory_bytes
    }
}

impl TryFrom<RawSize> for MachineSize {
    type Error = MachineSizeError;

    fn try_from(raw: RawSize) -> Result<Self, MachineSizeError> {
        Self::new(raw.cpus, raw.memory_bytes)
    }
}

impl From<MachineSize> for RawSize {
    fn from(size: MachineSize) -> Self {
        Self {
            cpus: size.cpus,
            memory_bytes: size.memory_bytes,
        }
    }
}

/// A volume of a machine. The volume's own record names the machine, so that no other can have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The volume.
    pub id: VolumeId,
    /// Its name.
    pub name: Name,
    /// Whether it is deleted with the machine.
    #[serde(default)]
    pub delete_with_machine: bool,
}

/// A machine's connection to one network. Its address and MAC are reserved in the transaction that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Never changes.
    pub id: PortId,
    /// The network.
    pub network: NetworkId,
    /// Its name.
    pub network_name: Name,
    /// Its MAC.
    pub mac: Mac,
    /// Its address.
    pub address: Address,
    /// What may come in; without rules everything from its network.
    #[serde(default)]
    pub allow: Vec<Rule>,
    /// Bits per second in each direction; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bits: Option<u64>,
}

/// What a guest is told at its first boot (cloud-init's NoCloud).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstBoot {
    /// As the user gave it; at most [`USER_DATA_BYTES_MAX`].
    #[serde(default)]
    pub user_data: String,
    /// Public keys; at most [`SSH_KEYS_MAX`].
    #[serde(default)]
    pub ssh_keys: Vec<String>,
}

/// Where a machine may go, and where it would rather go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// Labels that its node must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub require: Labels,
    /// Labels that its node should have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub prefer: Labels,
    /// Machines of the project whose node it must not share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart_from: Vec<Name>,
    /// Machines of the project whose node it must share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Name>,
    /// Whether volumes that were there before it may be on other nodes than itself. It is near them when it can be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remote_volumes: bool,
}

/// What happens when a machine dies on its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It is started again, whatever ended it.
    Always,
    /// It is started again unless its guest shut itself down.
    #[default]
    OnFailure,
    /// It stays off.
    Never,
}

/// Where a machine was placed, by whom, and what it reserves there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachinePlacement {
    /// The node.
    pub node: Name,
    /// The claim: what is reserved in the node's ledger in the same transaction.
    pub claimed: MachineSize,
    /// Who decided.
    pub decided_by: Decider,
    /// The score that the decider gave.
    pub score: f32,
    /// For display.
    pub decided_at: Timestamp,
}

/// Why a machine went where it went: kept beside it, written in the same transaction as the placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineDecision {
    /// The placement that it explains.
    pub placement: MachinePlacement,
    /// The pool that its new volumes went to.
    pub pool: Name,
    /// The store's revision that the decision was made on.
    pub revision: Revision,
    /// Every candidate's outcome, in candidate order; at most [`crate::volume::VERDICTS_KEPT_MAX`], else empty.
    pub verdicts: Vec<Verdict>,
}

/// What a machine is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Its driver says that it can't be made as asked.
    Failed,
}

/// What was seen of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// What it is going through.
    pub phase: MachinePhase,
    /// The generation of the spec that `phase` is about.
    pub observed_generation: Generation,
    /// Counts its placements and releases; grows with each.
    #[serde(default)]
    pub tenure: Tenure,
    /// It is to leave its node, and loses its placement once the node shows nothing of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moving: bool,
    /// What is remembered of its starts and ends.
    #[serde(default)]
    pub history: life::History,
    /// How it came to be off, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// What runs it, when its node has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// What was taken from it and may still be attached on its node; given back once the node shows that it is not.
    #[serde(default, skip_serializing_if = "Leaving::is_empty")]
    pub leaving: Leaving,
    /// The details.
    #[serde(default)]
    pub conditions: Conditions,
}

/// What was taken from a machine, until its node has let go of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Volumes: no other machine can have them yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Attachment>,
    /// Ports: their addresses are not given out yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

impl Leaving {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.ports.is_empty()
    }
}

impl Machine {
    /// Whether it waits for a placement.
    #[must_use]
    pub const fn wants_placement(&self) -> bool {
        self.placement.is_none() && !self.meta.is_deleting()
    }

    /// Whether its node has nothing to do for it but to be looked at now and then, as far as was seen.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let seen = self.status.observed_generation == self.meta.generation && self.status.leaving.is_empty();
        let rests = matches!(
            self.status.phase,
            MachinePhase::Running | MachinePhase::Stopped | MachinePhase::BackOff | MachinePhase::Failed
        );
        seen && rests && !self.meta.is_deleting() && !self.status.moving
    }

    /// Whether its new size is to be claimed yet, and nobody has said that there is no room for it.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        let claimed = self.placement.as_ref().map(|placement| placement.claimed);
        let is_full = self
            .status
            .conditions
            .of("room")
            .is_some_and(|room| room.truth == Truth::False);
        claimed.is_some_and(|claimed| claimed != self.spec.size) && !is_full
    }

    /// Whether nothing of it is to be on its node.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        self.meta.is_deleting() || self.status.moving
    }

    /// Takes its placement from it: nothing of it is on its node, or the node is off. Gives what was placed.
    pub fn release(&mut self) -> Option<MachinePlacement> {
        let placement = self.placement.take()?;
        self.status.tenure = self.status.tenure.next();
        self.status.moving = false;
        self.status.phase = MachinePhase::Pending;
        // Another node knows nothing of its starts.
        self.status.history = life::History::default();
        self.status.observed_generation = Generation(0);
        Some(placement)
    }

    /// Whether it was ever started, as far as was seen. Before that it waits for all that it is made of.
    #[must_use]
    pub const fn was_started(&self) -> bool {
        self.status.history.boots > 0
    }
}

impl MachineStatus {
    /// Before anything happened.
    #[must_use]
    pub fn pending() -> Self {
        Self {
            phase: MachinePhase::Pending,
            observed_generation: Generation(0),
            tenure: Tenure(0),
            moving: false,
            history: life::History::default(),
            exit: None,
            hypervisor: None,
            leaving: Leaving::default(),
            conditions: Conditions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_wherever_they_come_from() {
        assert!(MachineSize::new(1, 256 << 20).is_ok());
        assert_eq!(MachineSize::new(0, 256 << 20), Err(MachineSizeError::Cpus(0)));
        assert!(MachineSize::new(CPUS_MAX + 1, 256 << 20).is_err());
        assert!(MachineSize::new(1, MEMORY_BYTES_MIN - 1).is_err());
        assert!(MachineSize::new(1, MEMORY_BYTES_MAX + 1).is_err());
        assert!(matches!(
            MachineSize::new(1, (256 << 20) + 1),
            Err(MachineSizeError::Granularity(_))
        ));
        assert!(serde_json::from_str::<MachineSize>(r#"{"cpus":0,"memory_bytes":268435456}"#).is_err());
    }
}
