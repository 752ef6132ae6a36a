//! What is wanted of a network on one node, out of its record and of the ports that are there.

use crate::machine;
use crate::name::Name;
use crate::network::{self, Network, Underlay, links};
use crate::plan::Goal;

use super::{Intent, Peer, Port, Tunnel};

impl Intent {
    /// Of the part of a network that is on a node. Without ports nothing of it is wanted there, and without peers no
    /// tunnel: a node that is alone in a network needs nothing of the kernel that it did not need before.
    #[must_use]
    pub fn of(
        network: &Network,
        node: &Name,
        local: Option<&Underlay>,
        ports: Vec<Port>,
        mut peers: Vec<Peer>,
    ) -> Self {
        let id = network.meta.id;
        let tunnel = match (network.status.vni, local) {
            (Some(vni), Some(local)) if !peers.is_empty() && !ports.is_empty() => Some(Tunnel {
                link: links::tunnel(node, id),
                vni: vni.get(),
                local: local.to_string(),
            }),
            _ => {
                peers.clear();
                None
            }
        };
        Self {
            object: id.to_string(),
            name: network.meta.name.to_string(),
            goal: if ports.is_empty() { Goal::Absent } else { Goal::Present },
            bridge: links::bridge(node, id),
            namespace: links::namespace(node, id),
            subnet: network.spec.subnet.to_string(),
            gateway: network.spec.subnet.gateway().to_string(),
            gateway_mac: links::gateway_mac(id),
            mtu: network.spec.mtu(),
            nat: network.spec.nat,
            ports,
            tunnel,
            peers,
        }
    }
}

impl Port {
    /// Of a machine's port on a node; `hostname` is the machine's name.
    #[must_use]
    pub fn of(port: &machine::Port, hostname: &Name, node: &Name) -> Self {
        Self {
            id: port.id.to_string(),
            link: links::port(node, port.id),
            mac: port.mac.to_string(),
            address: port.address.to_string(),
            hostname: hostname.to_string(),
            allow: port.allow.iter().map(network::Rule::planned).collect(),
            rate_bits: port.rate_bits.unwrap_or(0),
        }
    }
}

impl Peer {
    /// Of a machine's port on another node, which is reached there.
    #[must_use]
    pub fn of(port: &machine::Port, hostname: &Name, remote: &Underlay) -> Self {
        Self {
            mac: port.mac.to_string(),
            address: port.address.to_string(),
            hostname: hostname.to_string(),
            remote: remote.to_string(),
        }
    }
}
