//! What the steps of a network's plan carry, and what facts give back: `wit/network-driver.wit` says what each means.

use serde::{Deserialize, Serialize};

use super::Rule;

/// A bridge without an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeSettings {
    /// The network.
    pub object: String,
    /// Its name.
    pub bridge: String,
    /// The longest packet, in bytes. 0 stands in what was written down before networks had one.
    #[serde(default)]
    pub mtu: u16,
}

/// The namespace with the gateway's address, connected to the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewaySettings {
    /// The network.
    pub object: String,
    /// The bridge.
    pub bridge: String,
    /// The namespace.
    pub namespace: String,
    /// The gateway's address.
    pub address: String,
    /// Length of the subnet's prefix.
    pub prefix: u8,
    /// Its MAC; empty in what was written down before it was given.
    #[serde(default)]
    pub mac: String,
    /// The longest packet, in bytes.
    #[serde(default)]
    pub mtu: u16,
}

/// The VXLAN link, a port of the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelSettings {
    /// The network.
    pub object: String,
    /// The bridge.
    pub bridge: String,
    /// The link.
    pub link: String,
    /// The network's number.
    pub vni: u32,
    /// The longest packet, in bytes.
    pub mtu: u16,
    /// Where this node is reached: `10.0.0.5:4789`.
    pub local: String,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The peer's MAC.
    pub mac: String,
    /// Its address.
    pub address: String,
    /// Where its node is reached: `10.0.0.6:4789`.
    pub remote: String,
}

/// The routes of a tunnel: these and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersSettings {
    /// The network.
    pub object: String,
    /// The bridge.
    pub bridge: String,
    /// The tunnel's link.
    pub link: String,
    /// The routes.
    pub peers: Vec<Route>,
}

/// A machine that DHCP and DNS know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpHost {
    /// Its MAC.
    pub mac: String,
    /// Its address.
    pub address: String,
    /// Its name.
    pub hostname: String,
}

/// A name that DNS knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsName {
    /// The address.
    pub address: String,
    /// Its name.
    pub hostname: String,
}

/// DHCP and DNS in the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpSettings {
    /// The network.
    pub object: String,
    /// The namespace.
    pub namespace: String,
    /// The subnet.
    pub subnet: String,
    /// The gateway's address.
    pub gateway: String,
    /// The DNS suffix.
    pub domain: String,
    /// Whether names of the outside are asked for.
    pub forward: bool,
    /// What machines are told of the longest packet, in bytes; 0: nothing.
    #[serde(default)]
    pub mtu: u16,
    /// Who gets an address.
    pub hosts: Vec<DhcpHost>,
    /// Whom DNS knows besides them.
    #[serde(default)]
    pub names: Vec<DnsName>,
}

/// The way to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatSettings {
    /// The network.
    pub object: String,
    /// The namespace.
    pub namespace: String,
    /// The subnet.
    pub subnet: String,
    /// Whether there is one.
    pub enabled: bool,
}

/// The filter of one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFilter {
    /// The link.
    pub link: String,
    /// The only MAC that may leave it.
    pub mac: String,
    /// The only address that may leave it.
    pub address: String,
    /// What may come in; without rules everything from its network.
    pub allow: Vec<Rule>,
}

/// Whom the tunnel may speak for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerFilter {
    /// Its MAC, only with its address.
    pub mac: String,
    /// Its address, only with its MAC.
    pub address: String,
}

/// The filter of a whole network on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterSettings {
    /// The network.
    pub object: String,
    /// The bridge.
    pub bridge: String,
    /// The gateway's address.
    pub gateway: String,
    /// Its ports.
    pub ports: Vec<PortFilter>,
    /// The tunnel's link.
    #[serde(default)]
    pub tunnel: Option<String>,
    /// Whom it may speak for.
    #[serde(default)]
    pub peers: Vec<PeerFilter>,
}

/// The limit of one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRate {
    /// The link.
    pub link: String,
    /// Bits per second in each direction.
    pub rate_bits: u64,
}

/// The limits of the ports that have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateSettings {
    /// The network.
    pub object: String,
    /// The ports.
    pub ports: Vec<PortRate>,
}
