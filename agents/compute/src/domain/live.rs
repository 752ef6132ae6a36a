//! What is attached to a domain now, read from libvirt's XML of it. Our devices are known by their aliases, for libvirt
//! keeps these as they were given.

use std::collections::BTreeMap;

use serde::Deserialize;

const DISK: &str = "ua-disk-";
const PORT: &str = "ua-port-";

pub(crate) fn disk_alias(volume: &str) -> String {
    format!("{DISK}{volume}")
}

pub(crate) fn port_alias(port: &str) -> String {
    format!("{PORT}{port}")
}

/// What is attached to a domain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// Volumes, in libvirt's order.
    pub volumes: Vec<String>,
    /// Ports, in libvirt's order.
    pub ports: Vec<String>,
    /// The names of all disks (`vda`), also of those that are not volumes.
    pub targets: Vec<String>,
    /// What libvirt is told for letting go of a device, by its alias.
    detaching: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Domain {
    devices: Devices,
}

#[derive(Deserialize)]
struct Devices {
    #[serde(default)]
    disk: Vec<Device>,
    #[serde(default)]
    interface: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    alias: Option<Alias>,
    target: Option<Target>,
    mac: Option<Mac>,
}

#[derive(Deserialize)]
struct Mac {
    #[serde(rename = "@address")]
    address: String,
}

#[derive(Deserialize)]
struct Alias {
    #[serde(rename = "@name")]
    name: String,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "@dev")]
    dev: Option<String>,
    #[serde(rename = "@bus")]
    bus: Option<String>,
}

impl Device {
    /// libvirt knows a disk by its target and a port by its MAC; what it gave us itself needs no escaping.
    fn detaching(&self) -> Option<(String, String)> {
        let alias = self.alias.as_ref()?.name.clone();
        let xml = if let Some(mac) = &self.mac {
            let address = &mac.address;
            format!("<interface type='bridge'><mac address='{address}'/><source bridge='any'/></interface>")
        } else {
            let target = self.target.as_ref()?;
            let (dev, bus) = (target.dev.as_ref()?, target.bus.as_ref()?);
            format!("<disk type='file' device='disk'><source file='/any'/><target dev='{dev}' bus='{bus}'/></disk>")
        };
        Some((alias, xml))
    }
}

impl Live {
    /// Reads the XML of a running domain.
    pub(crate) fn read(xml: &str) -> Option<Self> {
        let devices = quick_xml::de::from_str::<Domain>(xml).ok()?.devices;
        let named = |devices: &[Device], prefix: &str| -> Vec<String> {
            let names = devices.iter().filter_map(|device| device.alias.as_ref());
            names
                .filter_map(|alias| alias.name.strip_prefix(prefix).map(str::to_owned))
                .collect()
        };
        Some(Self {
            volumes: named(&devices.disk, DISK),
            ports: named(&devices.interface, PORT),
            detaching: devices
                .disk
                .iter()
                .chain(&devices.interface)
                .filter_map(Device::detaching)
                .collect(),
            targets: devices.disk.into_iter().filter_map(|disk| disk.target?.dev).collect(),
        })
    }

    /// What libvirt is told for letting go of a device.
    pub(crate) fn detaching(&self, alias: &str) -> Option<&str> {
        self.detaching.get(alias).map(String::as_str)
    }

    /// A name that no disk has, starting with `prefix`.
    pub(crate) fn free_target(&self, prefix: &str) -> Option<String> {
        let mut names = ('a'..='z').map(|letter| format!("{prefix}{letter}"));
        names.find(|name| !self.targets.contains(name))
    }
}
