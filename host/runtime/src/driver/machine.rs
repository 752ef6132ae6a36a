//! Machines, between core's types and those of `wit/machine-driver.wit`.

use symphony_core::plan::machine::{
    Chipset, CpuMode, Description, DeviceModel, Disk, DiskDevice, DiskSource, Domain, Exit, Fact, FirstBoot,
    Hypervisor, Intent, Machines, Port, PortDevice, Power, Probe, RunState, SeedFile, Step,
};

use crate::bindings::machine::exports::symphony::plugin::machine_driver as wit;

super::glue::glue!(Machines, wit);

/// `alike!(ENUM: A, B)`: the two translations of an enum whose values have the same names on both sides.
macro_rules! alike {
    ($to:ident, $from:ident, $name:ident: $($value:ident),+) => {
        fn $to(value: $name) -> wit::$name {
            match value {
                $($name::$value => wit::$name::$value),+
            }
        }

        fn $from(value: wit::$name) -> $name {
            match value {
                $(wit::$name::$value => $name::$value),+
            }
        }
    };
}

alike!(hypervisor_to, hypervisor_from, Hypervisor: Kvm, Qemu, Test);
alike!(cpu_mode_to, cpu_mode_from, CpuMode: Automatic, Host, Portable);
alike!(model_to, model_from, DeviceModel: Virtio, Emulated);
alike!(chipset_to, chipset_from, Chipset: Q35, Pc);

fn intent(intent: &Intent) -> wit::Intent {
    wit::Intent {
        object: intent.object.clone(),
        name: intent.name.clone(),
        goal: super::goal(intent.goal),
        power: match intent.power {
            Power::Off => wit::Power::Off,
            Power::On => wit::Power::On,
        },
        boots: intent.boots,
        cpus: intent.cpus,
        memory_bytes: intent.memory_bytes,
        cpu_mode: cpu_mode_to(intent.cpu_mode),
        hugepages: intent.hugepages,
        disks: intent.disks.iter().map(disk_to).collect(),
        ports: intent.ports.iter().map(port_to).collect(),
        first_boot: intent.first_boot.as_ref().map(first_boot),
        shutdown_ms: intent.shutdown_ms,
    }
}

fn first_boot(told: &FirstBoot) -> wit::FirstBoot {
    wit::FirstBoot {
        hostname: told.hostname.clone(),
        instance: told.instance.clone(),
        user_data: told.user_data.clone(),
        ssh_keys: told.ssh_keys.clone(),
    }
}

fn disk_to(disk: &Disk) -> wit::Disk {
    wit::Disk {
        volume: disk.volume.clone(),
        source: match disk.source.clone() {
            DiskSource::Local { pool } => wit::DiskSource::Local(pool),
            DiskSource::Remote { export, node } => wit::DiskSource::Remote(wit::RemoteVolume { export, node }),
        },
        boot: disk.boot,
    }
}

fn port_to(port: &Port) -> wit::Port {
    wit::Port {
        id: port.id.clone(),
        link: port.link.clone(),
        bridge: port.bridge.clone(),
        mac: port.mac.clone(),
        address: port.address.clone(),
        prefix: port.prefix,
        gateway: port.gateway.clone(),
        rate_bits: port.rate_bits,
    }
}

fn fact(fact: &Fact) -> wit::Fact {
    match fact {
        Fact::Domain(fact) => wit::Fact::Domain(wit::DomainFact {
            object: fact.object.clone(),
            found: fact.found.as_ref().map(domain),
            remains: fact.remains,
        }),
        Fact::Node { hypervisor, hugepages } => wit::Fact::Node(wit::NodeFact {
            hypervisor: hypervisor_to(*hypervisor),
            hugepages: *hugepages,
        }),
    }
}

fn domain(domain: &Domain) -> wit::Domain {
    wit::Domain {
        description: description_to(&domain.description),
        state: match domain.state {
            RunState::Off(exit) => wit::RunState::Off(exit_to(exit)),
            RunState::Running => wit::RunState::Running,
            RunState::Paused => wit::RunState::Paused,
        },
        boots: domain.boots,
        live_volumes: domain.live_volumes.clone(),
        live_ports: domain.live_ports.clone(),
        seed_digest: domain.seed_digest.clone(),
    }
}

fn exit_to(exit: Exit) -> wit::Exit {
    match exit {
        Exit::NeverRan => wit::Exit::NeverRan,
        Exit::Guest => wit::Exit::Guest,
        Exit::Ordered => wit::Exit::Ordered,
        Exit::Crashed => wit::Exit::Crashed,
        Exit::Failed => wit::Exit::Failed,
    }
}

fn description_to(description: &Description) -> wit::Description {
    let disk = |device: &DiskDevice| wit::DiskDevice {
        disk: disk_to(&device.disk),
        model: model_to(device.model),
    };
    let port = |device: &PortDevice| wit::PortDevice {
        port: port_to(&device.port),
        model: model_to(device.model),
    };
    wit::Description {
        object: description.object.clone(),
        title: description.title.clone(),
        hypervisor: hypervisor_to(description.hypervisor),
        chipset: chipset_to(description.chipset),
        cpus: description.cpus,
        memory_bytes: description.memory_bytes,
        cpu_mode: cpu_mode_to(description.cpu_mode),
        hugepages: description.hugepages,
        disks: description.disks.iter().map(disk).collect(),
        ports: description.ports.iter().map(port).collect(),
        seed: description.seed,
        console: description.console,
        screen: description.screen,
    }
}

fn probe(said: wit::Probe) -> Probe {
    match said {
        wit::Probe::Domain(object) => Probe::Domain(object),
        wit::Probe::Node => Probe::Node,
    }
}

fn step(said: wit::Step) -> Step {
    match said {
        wit::Step::Define(said) => Step::Define(Box::new(description_from(said))),
        wit::Step::WriteSeed(said) => Step::WriteSeed {
            object: said.object,
            digest: said.digest,
            files: said.files.into_iter().map(seed_file).collect(),
        },
        wit::Step::Start(wit::Start { object, boots }) => Step::Start { object, boots },
        wit::Step::Shutdown(wit::Shutdown { object, timeout_ms }) => Step::Shutdown { object, timeout_ms },
        wit::Step::Destroy(object) => Step::Destroy { object },
        wit::Step::Reboot(said) => Step::Reboot {
            object: said.object,
            boots: said.boots,
            timeout_ms: said.timeout_ms,
        },
        wit::Step::Resume(object) => Step::Resume { object },
        wit::Step::AttachDisk(wit::AttachDisk { object, device }) => Step::AttachDisk {
            object,
            device: disk_device(device),
        },
        wit::Step::DetachDisk(wit::DetachDisk { object, volume }) => Step::DetachDisk { object, volume },
        wit::Step::AttachPort(wit::AttachPort { object, device }) => Step::AttachPort {
            object,
            device: Box::new(port_device(device)),
        },
        wit::Step::DetachPort(wit::DetachPort { object, port }) => Step::DetachPort { object, port },
        wit::Step::Undefine(object) => Step::Undefine { object },
    }
}

fn seed_file(said: wit::SeedFile) -> SeedFile {
    SeedFile {
        name: said.name,
        content: said.content,
    }
}

fn description_from(said: wit::Description) -> Description {
    Description {
        object: said.object,
        title: said.title,
        hypervisor: hypervisor_from(said.hypervisor),
        chipset: chipset_from(said.chipset),
        cpus: said.cpus,
        memory_bytes: said.memory_bytes,
        cpu_mode: cpu_mode_from(said.cpu_mode),
        hugepages: said.hugepages,
        disks: said.disks.into_iter().map(disk_device).collect(),
        ports: said.ports.into_iter().map(port_device).collect(),
        seed: said.seed,
        console: said.console,
        screen: said.screen,
    }
}

fn disk_device(said: wit::DiskDevice) -> DiskDevice {
    let wit::Disk { volume, source, boot } = said.disk;
    let source = match source {
        wit::DiskSource::Local(pool) => DiskSource::Local { pool },
        wit::DiskSource::Remote(wit::RemoteVolume { export, node }) => DiskSource::Remote { export, node },
    };
    DiskDevice {
        disk: Disk { volume, source, boot },
        model: model_from(said.model),
    }
}

fn port_device(said: wit::PortDevice) -> PortDevice {
    PortDevice {
        port: Port {
            id: said.port.id,
            link: said.port.link,
            bridge: said.port.bridge,
            mac: said.port.mac,
            address: said.port.address,
            prefix: said.port.prefix,
            gateway: said.port.gateway,
            rate_bits: said.port.rate_bits,
        },
        model: model_from(said.model),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a driver says comes back as it was given: no field is lost or swapped on the way.
    #[test]
    fn a_description_survives_the_way_there_and_back() {
        for (hypervisor, chipset, cpu_mode, model) in [
            (Hypervisor::Kvm, Chipset::Q35, CpuMode::Automatic, DeviceModel::Virtio),
            (Hypervisor::Qemu, Chipset::Pc, CpuMode::Host, DeviceModel::Emulated),
            (Hypervisor::Test, Chipset::Pc, CpuMode::Portable, DeviceModel::Emulated),
        ] {
            let description = Description {
                object: "id".to_owned(),
                title: "web".to_owned(),
                hypervisor,
                chipset,
                cpus: 3,
                memory_bytes: 512 << 20,
                cpu_mode,
                hugepages: chipset == Chipset::Pc,
                disks: vec![DiskDevice {
                    disk: Disk {
                        volume: "v".to_owned(),
                        source: match chipset {
                            Chipset::Q35 => DiskSource::Local { pool: "p".to_owned() },
                            Chipset::Pc => DiskSource::Remote {
                                export: "v.1".to_owned(),
                                node: "n".to_owned(),
                            },
                        },
                        boot: true,
                    },
                    model,
                }],
                ports: vec![PortDevice {
                    port: Port {
                        id: "i".to_owned(),
                        link: "l".to_owned(),
                        bridge: "b".to_owned(),
                        mac: "m".to_owned(),
                        address: "a".to_owned(),
                        prefix: 24,
                        gateway: "g".to_owned(),
                        rate_bits: 7,
                    },
                    model,
                }],
                seed: true,
                console: chipset == Chipset::Q35,
                screen: model == DeviceModel::Virtio,
            };
            assert_eq!(description_from(description_to(&description)), description);
        }
    }
}
