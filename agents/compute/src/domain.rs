//! What libvirt is told of a machine: a description becomes domain XML, and libvirt's XML becomes what is attached. Pure;
//! never speaks to libvirt, never touches a file.

mod live;
mod metadata;
mod xml;

use std::path::{Path, PathBuf};

use symphony_core::plan::machine::{Chipset, CpuMode, Description, DeviceModel, DiskDevice, Hypervisor, PortDevice};

pub(crate) use live::{Live, disk_alias, port_alias};
pub(crate) use metadata::{NAMESPACE, Noted};

use crate::remote::RECONNECT_SECONDS;

/// The prefix of our element in the metadata.
pub(crate) const PREFIX: &str = "symphony";
/// Ports for devices that are plugged in later; those of the description have theirs besides.
const SPARE_PORTS: usize = 8;
/// SeaBIOS runs out of I/O windows beyond.
const PORTS_AT_MOST: usize = 28;
/// What a virtio disk shows of its serial number, in bytes.
const SERIAL_BYTES: usize = 20;

/// Where a machine's own files are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub seed: PathBuf,
    pub console: PathBuf,
    pub screen: PathBuf,
}

/// What is behind a disk.
#[derive(Debug, Clone)]
pub(crate) enum Backing {
    /// A raw file and whether it can be read and written past the page cache.
    File { path: PathBuf, direct: bool },
    /// A socket where the volume of this name is offered over NBD.
    Nbd { socket: PathBuf, name: String },
}

/// The XML could not be written; only for values that no XML can hold.
#[derive(Debug, thiserror::Error)]
#[error("the machine can't be described to libvirt")]
pub(crate) struct Unspeakable(#[from] quick_xml::SeError);

/// The domain XML of a description. `backings` are those of its disks, in their order.
pub(crate) fn define(
    description: &Description,
    noted: &Noted,
    files: &Files,
    backings: &[Backing],
) -> Result<String, Unspeakable> {
    let real = description.hypervisor != Hypervisor::Test;
    let domain = xml::Domain {
        kind: kind(description.hypervisor),
        name: description.object.clone(),
        uuid: description.object.clone(),
        title: title(&description.title),
        metadata: xml::Metadata {
            machine: noted.element(true)?,
        },
        memory: xml::Memory {
            unit: "KiB",
            amount: description.memory_bytes >> 10,
        },
        backing: description.hugepages.then_some(xml::MemoryBacking {
            hugepages: xml::Empty {},
        }),
        vcpu: description.cpus,
        os: xml::Os {
            kind: xml::OsType {
                arch: if real { "x86_64" } else { "i686" },
                machine: real.then_some(match description.chipset {
                    Chipset::Q35 => "q35",
                    Chipset::Pc => "pc",
                }),
                kind: "hvm",
            },
        },
        features: real.then_some(xml::Features {
            acpi: xml::Empty {},
            apic: xml::Empty {},
        }),
        cpu: cpu(description.hypervisor, description.cpu_mode),
        clock: xml::Clock { offset: "utc" },
        on_poweroff: "destroy",
        on_reboot: "restart",
        on_crash: "destroy",
        devices: devices(description, files, backings),
    };
    Ok(quick_xml::se::to_string(&domain)?)
}

/// The XML of one disk, for plugging it in. `dev` is the name that libvirt knows it by.
pub(crate) fn disk(device: &DiskDevice, backing: &Backing, dev: &str) -> Result<String, Unspeakable> {
    Ok(quick_xml::se::to_string(&data_disk(device, backing, dev.to_owned()))?)
}

/// The XML of one port, for plugging it in.
pub(crate) fn port(device: &PortDevice, chipset: Chipset) -> Result<String, Unspeakable> {
    Ok(quick_xml::se::to_string(&interface(device, chipset))?)
}

/// The metadata element alone, as libvirt wants it when it is replaced.
pub(crate) fn element(noted: &Noted) -> Result<String, Unspeakable> {
    Ok(quick_xml::se::to_string(&noted.element(false)?)?)
}

const fn kind(hypervisor: Hypervisor) -> &'static str {
    match hypervisor {
        Hypervisor::Kvm => "kvm",
        Hypervisor::Qemu => "qemu",
        Hypervisor::Test => "test",
    }
}

/// libvirt refuses line breaks in a title, and XML has no control characters.
fn title(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

fn cpu(hypervisor: Hypervisor, mode: CpuMode) -> Option<xml::Cpu> {
    let cpu = |mode, matching, model, feature| {
        Some(xml::Cpu {
            mode,
            matching,
            model,
            feature,
        })
    };
    match (hypervisor, mode) {
        (Hypervisor::Test, _) => None,
        (_, CpuMode::Portable) => cpu("custom", Some("exact"), Some("qemu64"), None),
        // QEMU alone has no processor of the node to show: all that it can emulate.
        (Hypervisor::Qemu, _) => cpu("maximum", None, None, None),
        // Nested hypervisors (PVM) refuse the register behind this feature, and no guest needs it.
        (Hypervisor::Kvm, _) => {
            let without = xml::CpuFeature {
                policy: "disable",
                name: "arch-capabilities",
            };
            cpu("host-passthrough", None, None, Some(without))
        }
    }
}

fn devices(description: &Description, files: &Files, backings: &[Backing]) -> xml::Devices {
    let real = description.hypervisor != Hypervisor::Test;
    let pairs = description.disks.iter().zip(backings).enumerate();
    let mut disks: Vec<_> = pairs
        .map(|(at, (device, backing))| data_disk(device, backing, target(device.model, at)))
        .collect();
    if description.seed {
        let model = description
            .disks
            .first()
            .map_or(DeviceModel::Virtio, |device| device.model);
        disks.push(seed_disk(model, files));
    }
    xml::Devices {
        controller: if real {
            controllers(description, disks.len())
        } else {
            Vec::new()
        },
        disk: disks,
        interface: description
            .ports
            .iter()
            .map(|device| interface(device, description.chipset))
            .collect(),
        serial: description.console.then(|| xml::Serial {
            kind: "unix",
            source: xml::SocketSource {
                mode: "bind",
                path: text(&files.console),
            },
            target: xml::Port { port: 0 },
        }),
        graphics: description.screen.then(|| xml::Graphics {
            kind: "vnc",
            listen: xml::Listen {
                kind: "socket",
                socket: text(&files.screen),
            },
        }),
        video: xml::Video {
            model: by_type(if description.screen { "vga" } else { "none" }),
        },
        memballoon: xml::Kind {
            kind: None,
            model: Some("none"),
        },
        rng: real.then_some(xml::Rng {
            model: "virtio",
            backend: xml::RngBackend {
                model: "random",
                path: "/dev/urandom",
            },
        }),
    }
}

/// No USB (an idle controller costs the node's processor), and on q35 a port for every device and some more: there a
/// device can only be plugged into a port that was there at the start.
fn controllers(description: &Description, disks: usize) -> Vec<xml::Controller> {
    let mut all = vec![xml::Controller {
        kind: "usb",
        model: "none",
    }];
    if description.chipset == Chipset::Q35 {
        let ports = (disks + description.ports.len() + 1 + SPARE_PORTS).min(PORTS_AT_MOST);
        // The bus itself has the number 0, which libvirt would give to the first of these.
        let models = std::iter::once("pcie-root").chain(std::iter::repeat_n("pcie-root-port", ports));
        all.extend(models.map(|model| xml::Controller { kind: "pci", model }));
    }
    all
}

fn data_disk(device: &DiskDevice, backing: &Backing, dev: String) -> xml::Disk {
    let (kind, direct, source) = match backing {
        Backing::File { path, direct } => ("file", *direct, xml::DiskSource::file(text(path))),
        Backing::Nbd { socket, name } => {
            let source = xml::DiskSource::nbd(name.clone(), text(socket), RECONNECT_SECONDS);
            // There is no cache on this node to go past.
            ("network", true, source)
        }
    };
    xml::Disk {
        kind,
        device: "disk",
        // Past the node's page cache where the file system can: the guest has one of its own, and what it flushed is then
        // on the disk. Otherwise the cache is written back, and flushed when the guest flushes: slower, as safe.
        driver: xml::DiskDriver {
            name: "qemu",
            kind: "raw",
            cache: if direct { "none" } else { "writeback" },
            discard: Some("unmap"),
        },
        source,
        target: xml::DiskTarget {
            dev,
            bus: bus(device.model),
        },
        readonly: None,
        serial: device.disk.volume.chars().take(SERIAL_BYTES).collect(),
        boot: device.disk.boot.then_some(xml::Boot { order: 1 }),
        alias: xml::Alias {
            name: disk_alias(&device.disk.volume),
        },
    }
}

fn seed_disk(model: DeviceModel, files: &Files) -> xml::Disk {
    xml::Disk {
        kind: "file",
        device: "disk",
        driver: xml::DiskDriver {
            name: "qemu",
            kind: "raw",
            cache: "writeback",
            discard: None,
        },
        source: xml::DiskSource::file(text(&files.seed)),
        // The last letter: it never takes that of a disk.
        target: xml::DiskTarget {
            dev: target(model, 25),
            bus: bus(model),
        },
        readonly: Some(xml::Empty {}),
        serial: "seed".to_owned(),
        boot: None,
        alias: xml::Alias {
            name: "ua-seed".to_owned(),
        },
    }
}

const fn bus(model: DeviceModel) -> &'static str {
    match model {
        DeviceModel::Virtio => "virtio",
        DeviceModel::Emulated => "sata",
    }
}

/// The name of the disk at a place, counted from 0; at most 26 of a kind.
fn target(model: DeviceModel, at: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(at.min(25)).unwrap_or(25));
    format!("{}{letter}", names(model))
}

pub(crate) const fn names(model: DeviceModel) -> &'static str {
    match model {
        DeviceModel::Virtio => "vd",
        DeviceModel::Emulated => "sd",
    }
}

fn interface(device: &PortDevice, chipset: Chipset) -> xml::Interface {
    let port = &device.port;
    // No `<bandwidth>`: the network's filter limits the link, before it is there, and on kernels without the queue that
    // libvirt would need.
    xml::Interface {
        kind: "bridge",
        mac: xml::Address {
            address: port.mac.clone(),
        },
        source: xml::Bridge {
            bridge: port.bridge.clone(),
        },
        target: xml::Link { dev: port.link.clone() },
        model: by_type(match (device.model, chipset) {
            (DeviceModel::Virtio, _) => "virtio",
            (DeviceModel::Emulated, Chipset::Q35) => "e1000e",
            (DeviceModel::Emulated, Chipset::Pc) => "e1000",
        }),
        alias: xml::Alias {
            name: port_alias(&port.id),
        },
    }
}

const fn by_type(kind: &'static str) -> xml::Kind {
    xml::Kind {
        kind: Some(kind),
        model: None,
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
