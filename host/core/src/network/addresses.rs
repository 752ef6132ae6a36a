//! IPv4 subnets and the addresses in them. Who has which address is the store's to say; here is only which come next.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The shortest prefix that a network may have (its largest subnet).
pub const PREFIX_MIN: u8 = 8;
/// The longest one: a gateway and one machine.
pub const PREFIX_MAX: u8 = 30;

/// An address in a network.
pub type Address = Ipv4Addr;

/// The addresses of a network: `10.0.0.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not an address, a slash and a number.
    #[error("{0:?} is no subnet; write an address and a prefix, like 10.0.0.0/24")]
    Syntax(String),
    /// The address has bits that the prefix does not cover.
    #[error("{given} is not the first address of its subnet; that is {meant}")]
    HostBits {
        /// What was given.
        given: String,
        /// What it should be.
        meant: String,
    },
    /// Not between [`PREFIX_MIN`] and [`PREFIX_MAX`].
    #[error("a network's prefix is from /{PREFIX_MIN} to /{PREFIX_MAX}, and {0} is not")]
    Prefix(String),
    /// Not addresses that machines can have.
    #[error("{0} is kept for other uses (loopback, link-local, multicast); take one like 10.0.0.0/24")]
    Reserved(String),
}

impl Subnet {
    /// Of a network: with room for a gateway and machines, and of addresses that machines can have.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_network(text: &str) -> Result<Self, SubnetError> {
        let subnet: Self = text.parse()?;
        if !(PREFIX_MIN..=PREFIX_MAX).contains(&subnet.prefix) {
            return Err(SubnetError::Prefix(text.to_owned()));
        }
        let reserved = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];
        let is_reserved = |other: &str| other.parse().is_ok_and(|other: Self| other.overlaps(&subnet));
        if reserved.into_iter().any(is_reserved) {
            return Err(SubnetError::Reserved(text.to_owned()));
        }
        Ok(subnet)
    }

    /// Length of the prefix.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The gateway's address: the first that is not the network's own.
    #[must_use]
    pub fn gateway(&self) -> Address {
        Ipv4Addr::from(u32::from(self.base).saturating_add(1))
    }

    /// How many machines have room.
    #[must_use]
    pub fn machines_max(&self) -> u32 {
        // Without the network's own address, the gateway's, and the broadcast address.
        (u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0)).saturating_sub(2)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: Address) -> bool {
        u32::from(address) & mask(self.prefix) == u32::from(self.base)
    }

    /// Whether two subnets have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// Whether a machine may have this address: in the subnet, and neither its own, the gateway's nor the broadcast one.
    #[must_use]
    pub fn is_for_machines(&self, address: Address) -> bool {
        let broadcast = u32::from(self.base) | !mask(self.prefix);
        self.contains(address) && address != self.base && address != self.gateway() && u32::from(address) != broadcast
    }

    /// The lowest address for a machine that is not taken; none when the network is full. `taken` in ascending order.
    #[must_use]
    pub fn lowest_free(&self, taken: impl IntoIterator<Item = Address>) -> Option<Address> {
        let mut next = u32::from(self.base).checked_add(2)?;
        for address in taken.into_iter().filter(|address| self.is_for_machines(*address)) {
            match u32::from(address) {
                address if address == next => next = next.checked_add(1)?,
                address if address > next => break,
                _ => {}
            }
        }
        Some(Ipv4Addr::from(next)).filter(|address| self.is_for_machines(*address))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let syntax = || SubnetError::Syntax(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv4Addr = address.parse().map_err(|_| syntax())?;
        let prefix: u8 = prefix.parse().map_err(|_| syntax())?;
        if prefix > 32 {
            return Err(syntax());
        }
        let base = Ipv4Addr::from(u32::from(address) & mask(prefix));
        if base != address {
            return Err(SubnetError::HostBits {
                given: text.to_owned(),
                meant: format!("{base}/{prefix}"),
            });
        }
        Ok(Self { base, prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subnets_are_checked() {
        assert_eq!(
            Subnet::of_network("10.0.0.0/24").unwrap().gateway(),
            Ipv4Addr::new(10, 0, 0, 1)
        );
        assert!(matches!(
            "10.0.0.1/24".parse::<Subnet>(),
            Err(SubnetError::HostBits { .. })
        ));
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/24", "x/24", "10.0.0.0/-1"] {
            assert!(
                matches!(wrong.parse::<Subnet>(), Err(SubnetError::Syntax(_))),
                "{wrong}"
            );
        }
        assert!(matches!(Subnet::of_network("10.0.0.0/31"), Err(SubnetError::Prefix(_))));
        assert!(matches!(Subnet::of_network("0.0.0.0/0"), Err(SubnetError::Prefix(_))));
        for reserved in ["127.0.0.0/8", "169.254.1.0/24", "224.0.0.0/8", "240.0.0.0/8"] {
            assert!(
                matches!(Subnet::of_network(reserved), Err(SubnetError::Reserved(_))),
                "{reserved}"
            );
        }
        let [a, b, c] = ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24"].map(|text| text.parse::<Subnet>().unwrap());
        assert!(
            a.overlaps(&b) && b.overlaps(&a) && c.overlaps(&a) && !"11.0.0.0/8".parse::<Subnet>().unwrap().overlaps(&a)
        );
    }

    #[test]
    fn a_full_network_says_so() {
        let subnet = Subnet::of_network("10.0.0.0/29").unwrap();
        let mut taken = BTreeSet::new();
        while let Some(address) = subnet.lowest_free(taken.iter().copied()) {
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len(), subnet.machines_max() as usize);
        assert_eq!(taken.len(), 5);
        taken.remove(&Ipv4Addr::new(10, 0, 0, 4));
        assert_eq!(
            subnet.lowest_free(taken),
            Some(Ipv4Addr::new(10, 0, 0, 4)),
            "given back is given out again"
        );
    }

    proptest! {
        #[test]
        fn the_next_address_is_free_lowest_and_inside(prefix in 24_u8..=30, taken in prop::collection::btree_set(0_u32..256, 0..200)) {
            let subnet = Subnet::of_network(&format!("10.9.8.0/{prefix}")).unwrap();
            let base = u32::from(Ipv4Addr::new(10, 9, 8, 0));
            let taken: BTreeSet<Ipv4Addr> = taken.into_iter().map(|n| Ipv4Addr::from(base + n)).collect();
            let all = (0_u32..256).map(|n| Ipv4Addr::from(base + n));
            let lowest = all.into_iter().find(|address| subnet.is_for_machines(*address) && !taken.contains(address));
            prop_assert_eq!(subnet.lowest_free(taken.iter().copied()), lowest);
        }
    }
}
