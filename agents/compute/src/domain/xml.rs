//! The elements of libvirt's domain XML that are used here, as values. Knows their spelling; never what to put in them.

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename = "domain")]
pub(super) struct Domain {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub name: String,
    pub uuid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    pub metadata: Metadata,
    pub memory: Memory,
    #[serde(rename = "memoryBacking", skip_serializing_if = "Option::is_none")]
    pub backing: Option<MemoryBacking>,
    pub vcpu: u32,
    pub os: Os,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    pub clock: Clock,
    pub on_poweroff: &'static str,
    pub on_reboot: &'static str,
    pub on_crash: &'static str,
    pub devices: Devices,
}

#[derive(Serialize)]
pub(super) struct Metadata {
    #[serde(rename = "symphony:machine")]
    pub machine: Machine,
}

/// Our own element: what libvirt keeps for us.
#[derive(Serialize)]
#[serde(rename = "machine")]
pub(super) struct Machine {
    /// Not when libvirt itself puts it in.
    #[serde(rename = "@xmlns:symphony", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'static str>,
    #[serde(rename = "@boots")]
    pub boots: u64,
    #[serde(rename = "@ordered")]
    pub ordered: bool,
    #[serde(rename = "$text")]
    pub description: String,
}

#[derive(Serialize)]
pub(super) struct Memory {
    #[serde(rename = "@unit")]
    pub unit: &'static str,
    #[serde(rename = "$text")]
    pub amount: u64,
}

#[derive(Serialize)]
pub(super) struct Empty {}

#[derive(Serialize)]
pub(super) struct MemoryBacking {
    pub hugepages: Empty,
}

#[derive(Serialize)]
pub(super) struct Os {
    #[serde(rename = "type")]
    pub kind: OsType,
}

#[derive(Serialize)]
pub(super) struct OsType {
    #[serde(rename = "@arch")]
    pub arch: &'static str,
    #[serde(rename = "@machine", skip_serializing_if = "Option::is_none")]
    pub machine: Option<&'static str>,
    #[serde(rename = "$text")]
    pub kind: &'static str,
}

#[derive(Serialize)]
pub(super) struct Features {
    pub acpi: Empty,
    pub apic: Empty,
}

#[derive(Serialize)]
pub(super) struct Cpu {
    #[serde(rename = "@mode")]
    pub mode: &'static str,
    #[serde(rename = "@match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<CpuFeature>,
}

#[derive(Serialize)]
pub(super) struct CpuFeature {
    #[serde(rename = "@policy")]
    pub policy: &'static str,
    #[serde(rename = "@name")]
    pub name: &'static str,
}

#[derive(Serialize)]
pub(super) struct Clock {
    #[serde(rename = "@offset")]
    pub offset: &'static str,
}

#[derive(Serialize)]
pub(super) struct Devices {
    pub disk: Vec<Disk>,
    pub controller: Vec<Controller>,
    pub interface: Vec<Interface>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graphics: Option<Graphics>,
    pub video: Video,
    pub memballoon: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rng: Option<Rng>,
}

#[derive(Serialize)]
#[serde(rename = "disk")]
pub(super) struct Disk {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@device")]
    pub device: &'static str,
    pub driver: DiskDriver,
    pub source: DiskSource,
    pub target: DiskTarget,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly: Option<Empty>,
    pub serial: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    pub alias: Alias,
}

#[derive(Serialize)]
pub(super) struct DiskDriver {
    #[serde(rename = "@name")]
    pub name: &'static str,
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@cache")]
    pub cache: &'static str,
    #[serde(rename = "@discard", skip_serializing_if = "Option::is_none")]
    pub discard: Option<&'static str>,
}

/// A file, or a volume that is offered on a socket.
#[derive(Serialize, Default)]
pub(super) struct DiskSource {
    #[serde(rename = "@file", skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(rename = "@protocol", skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(rename = "@name", skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Host>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconnect: Option<Reconnect>,
}

#[derive(Serialize)]
struct Host {
    #[serde(rename = "@transport")]
    transport: &'static str,
    #[serde(rename = "@socket")]
    socket: String,
}

#[derive(Serialize)]
struct Reconnect {
    #[serde(rename = "@delay")]
    delay: u32,
}

impl DiskSource {
    pub(super) fn file(file: String) -> Self {
        Self {
            file: Some(file),
            ..Self::default()
        }
    }

    /// `delay` in seconds.
    pub(super) fn nbd(name: String, socket: String, delay: u32) -> Self {
        Self {
            file: None,
            protocol: Some("nbd"),
            name: Some(name),
            host: Some(Host {
                transport: "unix",
                socket,
            }),
            reconnect: Some(Reconnect { delay }),
        }
    }
}

#[derive(Serialize)]
pub(super) struct DiskTarget {
    #[serde(rename = "@dev")]
    pub dev: String,
    #[serde(rename = "@bus")]
    pub bus: &'static str,
}

#[derive(Serialize)]
pub(super) struct Boot {
    #[serde(rename = "@order")]
    pub order: u32,
}

#[derive(Serialize)]
pub(super) struct Alias {
    #[serde(rename = "@name")]
    pub name: String,
}

#[derive(Serialize)]
pub(super) struct Controller {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@model")]
    pub model: &'static str,
}

#[derive(Serialize)]
#[serde(rename = "interface")]
pub(super) struct Interface {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub mac: Address,
    pub source: Bridge,
    pub target: Link,
    pub model: Kind,
    pub alias: Alias,
}

#[derive(Serialize)]
pub(super) struct Address {
    #[serde(rename = "@address")]
    pub address: String,
}

#[derive(Serialize)]
pub(super) struct Bridge {
    #[serde(rename = "@bridge")]
    pub bridge: String,
}

#[derive(Serialize)]
pub(super) struct Link {
    #[serde(rename = "@dev")]
    pub dev: String,
}

/// An element that only says its type; libvirt spells that `type` or `model`.
#[derive(Serialize)]
pub(super) struct Kind {
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    #[serde(rename = "@model", skip_serializing_if = "Option::is_none")]
    pub model: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct Serial {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub source: SocketSource,
    pub target: Port,
}

#[derive(Serialize)]
pub(super) struct SocketSource {
    #[serde(rename = "@mode")]
    pub mode: &'static str,
    #[serde(rename = "@path")]
    pub path: String,
}

#[derive(Serialize)]
pub(super) struct Port {
    #[serde(rename = "@port")]
    pub port: u32,
}

#[derive(Serialize)]
pub(super) struct Graphics {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub listen: Listen,
}

#[derive(Serialize)]
pub(super) struct Listen {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@socket")]
    pub socket: String,
}

#[derive(Serialize)]
pub(super) struct Video {
    pub model: Kind,
}

#[derive(Serialize)]
pub(super) struct Rng {
    #[serde(rename = "@model")]
    pub model: &'static str,
    pub backend: RngBackend,
}

#[derive(Serialize)]
pub(super) struct RngBackend {
    #[serde(rename = "@model")]
    pub model: &'static str,
    #[serde(rename = "$text")]
    pub path: &'static str,
}
