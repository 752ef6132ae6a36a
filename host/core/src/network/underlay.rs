//! Where the other nodes reach a node with the packets of their networks: an IPv4 address and a UDP port.
//!
//! Nodes on different servers all use [`PORT`]. Several on one kernel (tests, `symphony dev`) each have a port of their own
//! on a loopback address: a kernel takes one tunnel of a network for each port, and hands packets between two of its own
//! tunnels over without sending them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The port that VXLAN was given.
pub const PORT: u16 = 4789;

/// The address of a node in the underlay: `10.0.0.5`, or with a port of its own `10.0.0.5:4790`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Underlay(SocketAddrV4);

/// A text that is no address of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no underlay address; write the IPv4 address at which other nodes reach this one, like 10.0.0.5")]
pub struct UnderlayError(String);

impl Underlay {
    /// What a node has when nobody gave it one: the address of its data port (`http://ADDRESS:PORT`). On a loopback address
    /// also a port of its own, as other nodes may be on the same kernel. Nothing when the address is no IPv4 address.
    #[must_use]
    pub fn of_data_url(url: &str) -> Option<Self> {
        let (_, authority) = url.split_once("://")?;
        let authority = authority.split('/').next()?;
        let SocketAddr::V4(address) = authority.parse().ok()? else {
            return None;
        };
        let (ip, port) = (*address.ip(), address.port());
        if !is_usable(ip) {
            return None;
        }
        if !ip.is_loopback() {
            return Some(Self(SocketAddrV4::new(ip, PORT)));
        }
        // Nodes at 127.0.0.1 differ by their data ports; those that have one data port differ by their addresses.
        let offset = (u32::from(ip) & 0x00ff_ffff).wrapping_sub(1) % 1_000;
        let port = u32::from(port).wrapping_add(offset);
        let port = u16::try_from(port).unwrap_or(u16::try_from(port % 40_000 + 1_024).unwrap_or(PORT));
        Some(Self(SocketAddrV4::new(ip, port)))
    }

    /// Whether what is sent from here can come there: loopback addresses are only for nodes on the same kernel.
    #[must_use]
    pub const fn reaches(&self, other: &Self) -> bool {
        self.is_loopback() == other.is_loopback()
    }

    /// Whether only nodes on the same kernel reach it.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.0.ip().is_loopback()
    }
}

fn is_usable(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast())
}

impl FromStr for Underlay {
    type Err = UnderlayError;

    fn from_str(text: &str) -> Result<Self, UnderlayError> {
        let wrong = || UnderlayError(text.to_owned());
        let address = match text.parse::<Ipv4Addr>() {
            Ok(ip) => SocketAddrV4::new(ip, PORT),
            Err(_) => text.parse().map_err(|_| wrong())?,
        };
        if address.port() == 0 || !is_usable(*address.ip()) {
            return Err(wrong());
        }
        Ok(Self(address))
    }
}

/// Always with the port.
impl fmt::Display for Underlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Underlay {
    type Error = UnderlayError;

    fn try_from(text: String) -> Result<Self, UnderlayError> {
        text.parse()
    }
}

impl From<Underlay> for String {
    fn from(underlay: Underlay) -> Self {
        underlay.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let read = |text: &str| text.parse::<Underlay>().map(|underlay| underlay.to_string());
        assert_eq!(read("10.0.0.5").unwrap(), "10.0.0.5:4789");
        assert_eq!(read("10.0.0.5:4790").unwrap(), "10.0.0.5:4790");
        for wrong in [
            "",
            "node-1",
            "10.0.0.5:0",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "[::1]:4789",
            "10.0.0.5:66666",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_node_has_one_by_its_data_port() {
        let of = |url: &str| Underlay::of_data_url(url).map(|underlay| underlay.to_string());
        assert_eq!(of("http://10.0.0.5:15761").as_deref(), Some("10.0.0.5:4789"));
        assert_eq!(of("https://10.0.0.5:15761/x").as_deref(), Some("10.0.0.5:4789"));
        assert_eq!(of("http://127.0.0.1:40001").as_deref(), Some("127.0.0.1:40001"));
        assert_eq!(of("http://127.0.0.3:15761").as_deref(), Some("127.0.0.3:15763"));
        assert!(of("http://127.0.0.9:65535").is_some());
        for none in [
            "",
            "http://node-1:15761",
            "http://[::1]:1",
            "http://0.0.0.0:1",
            "10.0.0.5:1",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        let [near, far]: [Underlay; 2] = ["127.0.0.1:9", "10.0.0.1"].map(|text| text.parse().unwrap());
        assert!(!near.reaches(&far) && !far.reaches(&near) && near.reaches(&near) && far.reaches(&far));
    }
}
