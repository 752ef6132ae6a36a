//! The machine that the hypervisor is told of.

use symphony_sdk::driver::Refusal;
use symphony_sdk::driver::machine::{
    Chipset, CpuMode, Description, DeviceModel, Disk, DiskDevice, Hypervisor, Intent, NodeFact, Port, PortDevice, Power,
};

/// Disks of one machine.
const DISKS_MAX: usize = 16;
/// Ports of one machine.
const PORTS_MAX: usize = 8;
const MIB: u64 = 1 << 20;

/// The whole machine, as wanted.
pub(crate) fn describe(intent: &Intent, node: NodeFact) -> Result<Description, Refusal> {
    check(intent)?;
    if node.hypervisor == Hypervisor::Test {
        return Err(Refusal::Unavailable(
            "the node has nothing but libvirt's simulated hypervisor, which is for the driver test".to_owned(),
        ));
    }
    Ok(Description {
        object: intent.object.clone(),
        title: intent.name.clone(),
        hypervisor: node.hypervisor,
        chipset: Chipset::Q35,
        cpus: intent.cpus,
        memory_bytes: intent.memory_bytes,
        // The fastest, unless somebody asked for one that other nodes have as well.
        cpu_mode: match intent.cpu_mode {
            CpuMode::Automatic => CpuMode::Host,
            asked => asked,
        },
        hugepages: intent.hugepages,
        disks: intent.disks.iter().map(disk).collect(),
        ports: intent.ports.iter().map(port).collect(),
        seed: intent.first_boot.is_some(),
        console: true,
        screen: true,
    })
}

pub(crate) fn disk(disk: &Disk) -> DiskDevice {
    DiskDevice {
        disk: disk.clone(),
        model: DeviceModel::Virtio,
    }
}

pub(crate) fn port(port: &Port) -> PortDevice {
    PortDevice {
        port: port.clone(),
        model: DeviceModel::Virtio,
    }
}

/// What can never be met, whatever the node has.
fn check(intent: &Intent) -> Result<(), Refusal> {
    let boots: Vec<usize> = intent
        .disks
        .iter()
        .enumerate()
        .filter_map(|(position, disk)| disk.boot.then_some(position))
        .collect();
    let wrong = if intent.cpus == 0 {
        "a machine needs a processor".to_owned()
    } else if intent.memory_bytes == 0 || !intent.memory_bytes.is_multiple_of(MIB) {
        format!("{} bytes of memory are not a multiple of 1 MiB", intent.memory_bytes)
    } else if boots != [0] && !(intent.disks.is_empty() && intent.power == Power::Off) {
        "a machine boots from its first disk, and from that alone".to_owned()
    } else if intent.disks.len() > DISKS_MAX {
        format!("{} disks are over the limit of {DISKS_MAX}", intent.disks.len())
    } else if intent.ports.len() > PORTS_MAX {
        format!("{} ports are over the limit of {PORTS_MAX}", intent.ports.len())
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid(wrong))
}
