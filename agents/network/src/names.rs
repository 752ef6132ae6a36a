//! Names and addresses: what a step may name, and what is derived from it. Whatever goes into a rule, a path or a command
//! line has passed here; nothing here touches the system.

use std::net::{Ipv4Addr, SocketAddrV4};

use sha2::{Digest as _, Sha256};
use symphony_core::network::{MTU_MIN, Vni};

use crate::NetworkError;

/// Most bytes of a link's name.
const LINK_MAX: usize = 15;
/// Most bytes of a namespace's name.
const NAMESPACE_MAX: usize = 31;

fn checked<'a>(what: &'static str, value: &'a str, is_valid: bool) -> Result<&'a str, NetworkError> {
    if is_valid {
        return Ok(value);
    }
    let value = value.chars().take(80).collect();
    Err(NetworkError::Invalid { what, value })
}

fn is_word(value: &str, most: usize, also: &str) -> bool {
    let mut chars = value.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && chars.all(|char| char.is_ascii_alphanumeric() || also.contains(char))
        && value.len() <= most
}

/// A network's id, which names its folder.
pub(crate) fn object(value: &str) -> Result<&str, NetworkError> {
    checked("a network's id", value, is_word(value, 64, "-"))
}

/// The name of a link.
pub(crate) fn link(value: &str) -> Result<&str, NetworkError> {
    checked("a link's name", value, is_word(value, LINK_MAX, "-_."))
}

/// The name of a namespace; always one of ours.
pub(crate) fn namespace(value: &str) -> Result<&str, NetworkError> {
    let ours = value.starts_with("sy-") && is_word(value, NAMESPACE_MAX, "-_");
    checked("a namespace's name", value, ours)
}

/// A name that DHCP gives; may be empty.
pub(crate) fn hostname(value: &str) -> Result<&str, NetworkError> {
    checked("a host name", value, value.is_empty() || is_word(value, 63, "-"))
}

/// A DNS suffix.
pub(crate) fn domain(value: &str) -> Result<&str, NetworkError> {
    checked("a domain", value, is_word(value, 253, "-."))
}

/// A MAC address of one machine, in lower case.
pub(crate) fn mac(value: &str) -> Result<String, NetworkError> {
    let parts: Vec<&str> = value.split(':').collect();
    let is_byte = |part: &&str| part.len() == 2 && part.chars().all(|char| char.is_ascii_hexdigit());
    checked("a MAC address", value, parts.len() == 6 && parts.iter().all(is_byte))?;
    Ok(value.to_ascii_lowercase())
}

/// A MAC address of one machine, as bytes.
pub(crate) fn mac_bytes(value: &str) -> Result<[u8; 6], NetworkError> {
    let mac = mac(value)?;
    let mut bytes = [0; 6];
    for (byte, part) in bytes.iter_mut().zip(mac.split(':')) {
        *byte = u8::from_str_radix(part, 16).unwrap_or_default();
    }
    Ok(bytes)
}

/// The number of a network between nodes.
pub(crate) fn vni(value: u32) -> Result<u32, NetworkError> {
    checked("a network's number", &value.to_string(), Vni::try_from(value).is_ok())?;
    Ok(value)
}

/// The longest packet.
pub(crate) fn mtu(value: u16) -> Result<u32, NetworkError> {
    checked("a length of packets", &value.to_string(), value >= MTU_MIN)?;
    Ok(u32::from(value))
}

/// Where a node is reached: an IPv4 address and a port.
pub(crate) fn underlay(value: &str) -> Result<SocketAddrV4, NetworkError> {
    let parsed = value.parse::<SocketAddrV4>();
    let is_valid = parsed
        .as_ref()
        .is_ok_and(|address| address.port() > 0 && !address.ip().is_unspecified());
    checked("an underlay address", value, is_valid)?;
    Ok(parsed.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)))
}

/// An IPv4 address.
pub(crate) fn address(value: &str) -> Result<Ipv4Addr, NetworkError> {
    let parsed = value.parse();
    checked("an IPv4 address", value, parsed.is_ok())?;
    Ok(parsed.unwrap_or(Ipv4Addr::UNSPECIFIED))
}

/// An IPv4 subnet: its first address and the length of its prefix.
pub(crate) fn subnet(value: &str) -> Result<(Ipv4Addr, u8), NetworkError> {
    let parse = || {
        let (address, prefix) = value.split_once('/')?;
        let (address, prefix) = (address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?);
        (prefix <= 32).then(|| (Ipv4Addr::from_bits(address.to_bits() & mask(prefix).to_bits()), prefix))
    };
    let parsed = parse();
    checked("a subnet", value, parsed.is_some())?;
    Ok(parsed.unwrap_or((Ipv4Addr::UNSPECIFIED, 0)))
}

/// The mask of a prefix of at most 32 bits.
pub(crate) fn mask(prefix: u8) -> Ipv4Addr {
    let host_bits = 32_u32.saturating_sub(u32::from(prefix));
    Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0))
}

/// Ten digits that stand for a name.
pub(crate) fn short(name: &str) -> String {
    hex::encode(&Sha256::digest(name.as_bytes())[..5])
}

/// The MAC of a bridge: no gateway's (02:…) and no port's (52:54:00:…).
pub(crate) fn bridge_mac(bridge: &str) -> [u8; 6] {
    let hash = Sha256::digest(bridge.as_bytes());
    [0x06, hash[0], hash[1], hash[2], hash[3], hash[4]]
}

/// The node's end of the pair between a bridge and its gateway.
pub(crate) fn gateway_link(bridge: &str) -> String {
    format!("syg{}", short(bridge))
}

/// The node's end of the pair between a namespace and the node.
pub(crate) fn way_out_link(namespace: &str) -> String {
    format!("syn{}", short(namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_reach_elsewhere_are_refused() {
        for bad in ["", "..", "a/b", "-x", "a b", "a\"", &"a".repeat(65)] {
            assert!(object(bad).is_err(), "{bad:?}");
        }
        assert!(link("sixteen-bytes-xx").is_err() && link("fifteen-bytes-x").is_ok() && link("a*").is_err());
        assert!(
            namespace("other").is_err()
                && namespace("sy-1").is_ok()
                && namespace(&format!("sy-{}", "a".repeat(29))).is_err()
        );
        assert!(domain("a\n").is_err() && hostname("a.b").is_err() && hostname("").is_ok());
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(subnet("10.1.2.3/8").unwrap(), (Ipv4Addr::new(10, 0, 0, 0), 8));
        assert_eq!(subnet("0.0.0.0/0").unwrap(), (Ipv4Addr::UNSPECIFIED, 0));
        assert!(subnet("10.0.0.0").is_err() && subnet("10.0.0.0/33").is_err());
        assert_eq!(mask(24), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(mac("52:54:00:AB:00:01").unwrap(), "52:54:00:ab:00:01");
        assert_eq!(mac_bytes("52:54:00:AB:00:01").unwrap(), [0x52, 0x54, 0, 0xab, 0, 1]);
        assert!(vni(0).is_err() && vni(1 << 24).is_err() && vni(77).is_ok() && mtu(575).is_err() && mtu(576).is_ok());
        assert!(underlay("10.0.0.5:4789").is_ok());
        for bad in ["10.0.0.5", "10.0.0.5:0", "0.0.0.0:1", "a:1", ""] {
            assert!(underlay(bad).is_err(), "{bad:?}");
        }
        assert!(mac("52:54:00:ab:00").is_err() && mac("5:54:00:ab:00:011").is_err());
    }

    #[test]
    fn derived_links_fit() {
        assert!(gateway_link("a").len() <= LINK_MAX && way_out_link("sy-a").len() <= LINK_MAX);
        assert_ne!(gateway_link("a"), gateway_link("b"));
    }
}
