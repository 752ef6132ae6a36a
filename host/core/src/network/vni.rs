//! The numbers that keep networks apart on the wire between nodes, and how long their packets are.

use serde::{Deserialize, Serialize};

/// The length of an underlay's packets that is taken for granted, less what VXLAN adds to each (50 bytes).
pub const MTU_DEFAULT: u16 = 1_450;
/// The shortest that a network's longest packet may be: what every host of the internet takes.
pub const MTU_MIN: u16 = 576;
/// The longest: underlays have packets of 9,000 bytes at most.
pub const MTU_MAX: u16 = 8_950;

/// The number of a network, from 1 to [`Vni::MAX`]; no other network of the cluster has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

/// A number that is none of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not from 1 to 16777215")]
pub struct VniError(u32);

impl Vni {
    /// The largest.
    pub const MAX: u32 = (1 << 24) - 1;

    /// One by chance: so that two that are made at once rarely want the same, and a cluster's numbers are not the first of
    /// every other cluster beside it.
    #[must_use]
    pub const fn by_chance(chance: u64) -> Self {
        Self((chance % (Self::MAX as u64)) as u32 + 1)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Vni {
    type Error = VniError;

    fn try_from(number: u32) -> Result<Self, VniError> {
        if (1..=Self::MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(VniError(number))
        }
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> Self {
        vni.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_within_24_bits() {
        assert!(Vni::try_from(0).is_err() && Vni::try_from(1 << 24).is_err());
        assert_eq!(Vni::try_from(Vni::MAX).unwrap().get(), 16_777_215);
        for chance in [0, 1, 16_777_214, 16_777_215, u64::MAX] {
            assert!(Vni::try_from(Vni::by_chance(chance).get()).is_ok(), "{chance}");
        }
    }
}
