//! What is wanted of a machine on its node, out of its record and of what it is made of.

use crate::machine::{self as record, Machine, MachinePlacement};
use crate::name::Name;
use crate::network::{Subnet, links};
use crate::plan::Goal;

use super::{Disk, DiskSource, FirstBoot, Intent, Port};

/// How long a guest has for shutting down, in milliseconds.
pub const SHUTDOWN_MS: u32 = 60_000;

/// What a machine is made of now: those of its volumes and ports that its node has ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// With where each volume is, in the machine's order.
    pub volumes: Vec<(record::Attachment, DiskSource)>,
    /// With the subnet that each port is in.
    pub ports: Vec<(record::Port, Subnet)>,
}

impl Intent {
    /// Of a machine that was placed. What of its power is wanted now is [`record::life`]'s to say: here it is what its
    /// spec says.
    #[must_use]
    pub fn of(machine: &Machine, placement: &MachinePlacement, parts: &Parts) -> Self {
        let spec = &machine.spec;
        let goal = if machine.is_leaving() {
            Goal::Absent
        } else {
            Goal::Present
        };
        let boots_from = spec.volumes.first().map(|volume| volume.id);
        let disk = |(volume, source): &(record::Attachment, DiskSource)| Disk {
            volume: volume.id.to_string(),
            source: source.clone(),
            boot: Some(volume.id) == boots_from,
        };
        Self {
            object: machine.meta.id.to_string(),
            name: machine.meta.name.to_string(),
            goal,
            power: spec.power,
            boots: spec.boots,
            cpus: placement.claimed.cpus(),
            memory_bytes: placement.claimed.memory_bytes(),
            cpu_mode: spec.cpu_mode,
            hugepages: spec.hugepages,
            disks: parts.volumes.iter().map(disk).collect(),
            ports: parts
                .ports
                .iter()
                .map(|(port, subnet)| of_port(&placement.node, port, subnet))
                .collect(),
            first_boot: Some(FirstBoot {
                hostname: machine.meta.name.to_string(),
                instance: machine.meta.id.to_string(),
                user_data: spec.first_boot.user_data.clone(),
                ssh_keys: spec.first_boot.ssh_keys.clone(),
            }),
            shutdown_ms: SHUTDOWN_MS,
        }
    }
}

fn of_port(node: &Name, port: &record::Port, subnet: &Subnet) -> Port {
    Port {
        id: port.id.to_string(),
        link: links::port(node, port.id),
        bridge: links::bridge(node, port.network),
        mac: port.mac.to_string(),
        address: port.address.to_string(),
        prefix: subnet.prefix(),
        gateway: subnet.gateway().to_string(),
        rate_bits: port.rate_bits.unwrap_or(0),
    }
}
