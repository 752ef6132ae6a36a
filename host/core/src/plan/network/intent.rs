//! What is wanted of a network on one node, out of its record and of the ports that are there.

use crate::machine;
use crate::name::Name;
use crate::network::{self, Network, links};
use crate::plan::Goal;

use super::{Intent, Port};

impl Intent {
    /// Of the part of a network that is on a node. Without ports nothing of it is wanted there.
    #[must_use]
    pub fn of(network: &Network, node: &Name, ports: Vec<Port>) -> Self {
        let id = network.meta.id;
        Self {
            object: id.to_string(),
            name: network.meta.name.to_string(),
            goal: if ports.is_empty() { Goal::Absent } else { Goal::Present },
            bridge: links::bridge(node, id),
            namespace: links::namespace(node, id),
            subnet: network.spec.subnet.to_string(),
            gateway: network.spec.subnet.gateway().to_string(),
            nat: network.spec.nat,
            ports,
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
