//! How the parts of networks are called on a node. The kernel takes at most 15 bytes for a link's name, and several nodes
//! may live on one kernel (tests, `symphony dev`): so names are hashes of the node's name and of what they stand for.

use crate::id::{NetworkId, PortId};
use crate::name::Name;

/// Longest name of a link, in bytes.
pub const LINK_BYTES_MAX: usize = 15;

/// The bridge of a network on a node.
#[must_use]
pub fn bridge(node: &Name, network: NetworkId) -> String {
    format!("syb{}", hash(node, &network.to_string()))
}

/// The namespace that holds a network's gateway on a node.
#[must_use]
pub fn namespace(node: &Name, network: NetworkId) -> String {
    format!("sy-{}", hash(node, &network.to_string()))
}

/// The tunnel to the network's parts on other nodes.
#[must_use]
pub fn tunnel(node: &Name, network: NetworkId) -> String {
    format!("syv{}", hash(node, &network.to_string()))
}

/// The MAC of a network's gateway: of the network alone, as every node has the gateway, and never that of a port (those
/// begin with `52:54:00`).
#[must_use]
pub fn gateway_mac(network: NetworkId) -> String {
    let hash = fnv(network.to_string().bytes()).to_be_bytes();
    let [a, b, c, d, e, ..] = hash;
    format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}

/// The link of a machine's port on a node.
#[must_use]
pub fn port(node: &Name, port: PortId) -> String {
    format!("syt{}", hash(node, &port.to_string()))
}

/// FNV-1a over both. Ids are random already: what is needed is that names are short and differ, not that nobody can find
/// two that are alike.
fn hash(node: &Name, of: &str) -> String {
    let bytes = node.as_str().bytes().chain([0]).chain(of.bytes());
    format!("{:012x}", fnv(bytes) >> 16)
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let nodes: [Name; 2] = ["node-1".parse().unwrap(), "node-2".parse().unwrap()];
        let mut names: Vec<String> = nodes
            .iter()
            .flat_map(|node| {
                [
                    bridge(node, id.parse().unwrap()),
                    namespace(node, id.parse().unwrap()),
                    port(node, id.parse().unwrap()),
                    tunnel(node, id.parse().unwrap()),
                ]
            })
            .collect();
        assert!(names.iter().all(|name| name.len() <= LINK_BYTES_MAX), "{names:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
        let mac = gateway_mac(id.parse().unwrap());
        assert!(mac.parse::<crate::network::Mac>().is_ok() && !mac.starts_with("52:54:00"));
    }
}
