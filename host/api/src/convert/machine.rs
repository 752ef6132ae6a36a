//! Machines and networks, from core to the wire.

use symphony_core::machine::{self as core, MachinePhase, RestartPolicy};
use symphony_core::network::Network;
use symphony_core::node::Compute;
use symphony_core::place::Ledger;
use symphony_core::plan::machine::{CpuMode, Exit, Hypervisor, Power};

use super::placement::decider;
use super::{conditions, labels, meta};
use crate::v1::{self, Kind};

/// A machine; `revision` is that of its record.
#[must_use]
pub fn machine(machine: &core::Machine, revision: u64) -> v1::Machine {
    let spec = &machine.spec;
    let status = &machine.status;
    v1::Machine {
        kind: Kind::Machine,
        meta: meta(&machine.meta, machine.meta.id.uuid(), revision),
        spec: v1::MachineSpec {
            cpus: spec.size.cpus(),
            memory_bytes: spec.size.memory_bytes(),
            cpu_mode: match spec.cpu_mode {
                CpuMode::Automatic => v1::CpuMode::Automatic,
                CpuMode::Host => v1::CpuMode::Host,
                CpuMode::Portable => v1::CpuMode::Portable,
            },
            hugepages: spec.hugepages,
            power: match spec.power {
                Power::On => v1::Power::On,
                Power::Off => v1::Power::Off,
            },
            boots: spec.boots,
            restart: match spec.restart {
                RestartPolicy::Always => v1::RestartPolicy::Always,
                RestartPolicy::OnFailure => v1::RestartPolicy::OnFailure,
                RestartPolicy::Never => v1::RestartPolicy::Never,
            },
            volumes: spec.volumes.iter().map(volume).collect(),
            ports: spec.ports.iter().map(port).collect(),
            user_data_bytes: spec.first_boot.user_data.len() as u64,
            ssh_keys: spec.first_boot.ssh_keys.clone(),
            wishes: wishes(&spec.wishes),
        },
        status: v1::MachineStatus {
            phase: phase(machine),
            observed_generation: status.observed_generation.0,
            placement: machine.placement.as_ref().map(placement),
            restarts: status.history.restarts,
            running_since: status.history.running_since,
            hypervisor: status.hypervisor.map(|hypervisor| word(hypervisor).to_owned()),
            exit: status.exit.map(exit),
            conditions: conditions(&status.conditions),
        },
    }
}

/// A network; `revision` is that of its record.
#[must_use]
pub fn network(network: &Network, revision: u64) -> v1::Network {
    v1::Network {
        kind: Kind::Network,
        meta: meta(&network.meta, network.meta.id.uuid(), revision),
        spec: v1::NetworkSpec {
            subnet: network.spec.subnet.to_string(),
            nat: network.spec.nat,
            mtu: Some(network.spec.mtu()),
        },
        status: v1::NetworkStatus {
            gateway: network.spec.subnet.gateway().to_string(),
            addresses_max: network.spec.subnet.machines_max(),
            vni: network.status.vni.map(u32::from),
            conditions: conditions(&network.status.conditions),
        },
    }
}

/// What a node has for machines, with what is claimed of it.
pub(super) fn compute(have: &Compute, ledger: Option<&Ledger>) -> v1::NodeCompute {
    let claimed = ledger.map(Ledger::machines).unwrap_or_default();
    v1::NodeCompute {
        hypervisor: word(have.hypervisor).to_owned(),
        cpus: have.cpus,
        cpus_claimable: have.cpus_claimable(),
        cpus_claimed: claimed.cpus,
        memory_bytes: have.memory_bytes,
        memory_claimed_bytes: claimed.memory_bytes,
        machines: claimed.claims,
    }
}

const fn word(hypervisor: Hypervisor) -> &'static str {
    match hypervisor {
        Hypervisor::Kvm => "kvm",
        Hypervisor::Qemu => "qemu",
        Hypervisor::Test => "test",
    }
}

fn volume(attachment: &core::Attachment) -> v1::MachineVolume {
    v1::MachineVolume {
        id: attachment.id.uuid(),
        name: attachment.name.to_string(),
        delete_with_machine: attachment.delete_with_machine,
    }
}

fn port(port: &core::Port) -> v1::Port {
    v1::Port {
        id: port.id.uuid(),
        network: port.network_name.to_string(),
        network_id: port.network.uuid(),
        mac: port.mac.to_string(),
        address: port.address.to_string(),
        allow: port.allow.iter().map(ToString::to_string).collect(),
        rate_bits: port.rate_bits,
    }
}

fn wishes(wishes: &core::Wishes) -> v1::Wishes {
    let names = |names: &[symphony_core::name::Name]| names.iter().map(ToString::to_string).collect();
    v1::Wishes {
        require: labels(&wishes.require),
        prefer: labels(&wishes.prefer),
        apart_from: names(&wishes.apart_from),
        near: names(&wishes.near),
        remote_volumes: wishes.remote_volumes,
    }
}

fn placement(placement: &core::MachinePlacement) -> v1::MachinePlacement {
    v1::MachinePlacement {
        node: placement.node.to_string(),
        cpus: placement.claimed.cpus(),
        memory_bytes: placement.claimed.memory_bytes(),
        score: placement.score,
        decided_by: decider(&placement.decided_by),
        decided_at: placement.decided_at,
    }
}

const fn exit(exit: Exit) -> v1::Exit {
    match exit {
        Exit::NeverRan => v1::Exit::NeverRan,
        Exit::Guest => v1::Exit::Guest,
        Exit::Ordered => v1::Exit::Ordered,
        Exit::Crashed => v1::Exit::Crashed,
        Exit::Failed => v1::Exit::Failed,
    }
}

// From the moment that someone asked to delete it, a machine is seen as going, whatever its status still says.
fn phase(machine: &core::Machine) -> v1::MachinePhase {
    match machine.status.phase {
        _ if machine.meta.is_deleting() => v1::MachinePhase::Deleting,
        MachinePhase::Pending => v1::MachinePhase::Pending,
        MachinePhase::Unplaceable => v1::MachinePhase::Unplaceable,
        MachinePhase::Preparing => v1::MachinePhase::Preparing,
        MachinePhase::Starting => v1::MachinePhase::Starting,
        MachinePhase::Running => v1::MachinePhase::Running,
        MachinePhase::Stopping => v1::MachinePhase::Stopping,
        MachinePhase::Stopped => v1::MachinePhase::Stopped,
        MachinePhase::BackOff => v1::MachinePhase::BackOff,
        MachinePhase::Deleting => v1::MachinePhase::Deleting,
        MachinePhase::Failed => v1::MachinePhase::Failed,
    }
}
