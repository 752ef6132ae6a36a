//! Virtual networks: what is wanted of them. Addresses are in [`addresses`]; how a network's parts are called on a node is
//! in [`links`], how fast a port may be in [`rate`], where nodes reach one another in [`underlay`], and what keeps networks
//! apart between them in [`vni`].

pub mod addresses;
pub mod links;
pub mod rate;
pub mod underlay;
pub mod vni;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::condition::Conditions;
use crate::counter::Generation;
use crate::id::NetworkId;
use crate::meta::Meta;
use crate::name::Name;
use crate::plan::network::Protocol;

pub use addresses::{Address, Subnet, SubnetError};
pub use rate::{Rate, RateError};
pub use underlay::{Underlay, UnderlayError};
pub use vni::{MTU_DEFAULT, MTU_MAX, MTU_MIN, Vni, VniError};

/// Most rules of one port.
pub const RULES_MAX: usize = 64;

/// A virtual network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Identity and life.
    pub meta: Meta<NetworkId>,
    /// What is wanted.
    pub spec: NetworkSpec,
    /// What was seen.
    pub status: NetworkStatus,
}

/// What is wanted of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its addresses; the first of them is the gateway's.
    pub subnet: Subnet,
    /// Whether its machines may reach the outside.
    #[serde(default)]
    pub nat: bool,
    /// The longest packet, in bytes; [`MTU_DEFAULT`] when none was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}

impl NetworkSpec {
    /// The longest packet, in bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu.unwrap_or(MTU_DEFAULT)
    }
}

/// What was seen of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// Its number between nodes. A network from before there were any gets it when a node makes a part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// The generation of the spec that the conditions are about.
    pub observed_generation: Generation,
    /// The details.
    #[serde(default)]
    pub conditions: Conditions,
}

/// Marks that a node may have parts of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The network.
    pub network: NetworkId,
    /// The node.
    pub node: Name,
}

/// The address of a link: `52:54:00:12:34:56`. Ours all begin with `52:54:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// A text that is no MAC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no MAC; write six pairs of hexadecimal digits, like 52:54:00:12:34:56")]
pub struct MacError(String);

impl Mac {
    /// One of ours, from three bytes of chance.
    #[must_use]
    pub const fn ours(chance: [u8; 3]) -> Self {
        Self([0x52, 0x54, 0x00, chance[0], chance[1], chance[2]])
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let wrong = || MacError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        // The lowest bit of the first byte would make it a group's address.
        if parts.next().is_some() || bytes[0] & 1 == 1 {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// What may come in at a port: written `tcp:22`, `udp:60000-61000`, `icmp`, `tcp:443@10.0.0.0/8`, `any@10.1.0.5`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    protocol: Protocol,
    first: u16,
    last: u16,
    source: Option<Subnet>,
}

/// A text that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no rule; write a protocol, its ports and a source, like tcp:22, udp:60000-61000, icmp or tcp:443@10.0.0.0/8"
)]
pub struct RuleError(String);

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError(text.to_owned());
        let (what, source) = match text.split_once('@') {
            Some((what, source)) => (what, Some(self::source(source).map_err(|_| wrong())?)),
            None => (text, None),
        };
        let (protocol, ports) = match what.split_once(':') {
            Some((protocol, ports)) => (protocol, Some(ports)),
            None => (what, None),
        };
        let protocol = match protocol {
            "any" => Protocol::Any,
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "icmp" => Protocol::Icmp,
            _ => return Err(wrong()),
        };
        let (first, last) = match ports {
            None => (0, u16::MAX),
            Some(_) if matches!(protocol, Protocol::Any | Protocol::Icmp) => return Err(wrong()),
            Some(ports) => {
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?)
            }
        };
        if first > last {
            return Err(wrong());
        }
        Ok(Self {
            protocol,
            first,
            last,
            source,
        })
    }
}

/// Where it may come from: a subnet, or one address.
fn source(text: &str) -> Result<Subnet, SubnetError> {
    if text.contains('/') {
        text.parse()
    } else {
        format!("{text}/32").parse()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.protocol {
            Protocol::Any => "any",
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
        })?;
        match (self.first, self.last) {
            (0, u16::MAX) => {}
            (first, last) if first == last => write!(f, ":{first}")?,
            (first, last) => write!(f, ":{first}-{last}")?,
        }
        match &self.source {
            Some(source) => write!(f, "@{source}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl Rule {
    /// As drivers and agents take it.
    #[must_use]
    pub fn planned(&self) -> crate::plan::network::Rule {
        crate::plan::network::Rule {
            protocol: self.protocol,
            first: self.first,
            last: self.last,
            source: self
                .source
                .map_or_else(|| "0.0.0.0/0".to_owned(), |source| source.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_read_and_written() {
        let mac: Mac = "52:54:00:ab:cd:ef".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:ef");
        assert_eq!(Mac::ours([0xab, 0xcd, 0xef]), mac);
        for wrong in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:00",
            "5:54:00:ab:cd:ef",
            "53:54:00:ab:cd:ef",
            "x2:54:00:ab:cd:ef",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn rules_are_read_and_written() {
        for text in [
            "tcp:22",
            "udp:60000-61000",
            "icmp",
            "any",
            "tcp",
            "tcp:443@10.0.0.0/8",
            "any@10.1.0.0/16",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        assert_eq!(
            "tcp:22@10.0.0.1".parse::<Rule>().unwrap().to_string(),
            "tcp:22@10.0.0.1/32"
        );
        for wrong in [
            "",
            "tcp:",
            "tcp:0-",
            "tcp:5-4",
            "icmp:1",
            "any:22",
            "tcp:22@x",
            "sctp:1",
            "tcp:65536",
            "tcp:22@10.0.0.1/8",
        ] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
