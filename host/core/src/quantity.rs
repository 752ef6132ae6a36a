//! Amounts of bytes, as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The sector: a volume's size is a multiple of it.
pub const SECTOR_BYTES: u64 = 512;
/// Largest volume: 1 PiB.
pub const VOLUME_BYTES_MAX: u64 = 1 << 50;

/// A number of bytes. Written with a unit: `512MiB`, `10GiB`; `K`, `M`, `G`, `T` alone mean the binary units too, `kB`,
/// `MB`, `GB`, `TB` the decimal ones, and a bare number is bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// The size of a volume: more than nothing, a multiple of 512, at most 1 PiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct VolumeSize(u64);

/// Why a text or number is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a number with a unit.
    #[error("{0:?} is not a size; write a number and a unit, like 512MiB or 10GiB (B, KiB, MiB, GiB, TiB, PiB)")]
    Syntax(String),
    /// More bytes than can be counted.
    #[error("{0:?} is too large")]
    TooLarge(String),
    /// Not a whole number of bytes.
    #[error("{0:?} is not a whole number of bytes")]
    Fraction(String),
    /// Negative.
    #[error("{0:?} is negative; a size is more than 0")]
    Negative(String),
    /// Zero.
    #[error("a volume's size must be more than 0")]
    Zero,
    /// Not a multiple of the sector.
    #[error("a volume's size must be a multiple of {SECTOR_BYTES} bytes, and {0} is not")]
    Sector(u64),
    /// Over [`VOLUME_BYTES_MAX`].
    #[error("a volume has at most {max} (1 PiB), and {0} was asked for", max = VOLUME_BYTES_MAX)]
    OverMaximum(u64),
}

const UNITS: [(&str, u64); 18] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("p", 1 << 50),
    ("pib", 1 << 50),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("pb", 1_000_000_000_000_000),
    ("bytes", 1),
];

impl FromStr for Bytes {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let trimmed = text.trim();
        if trimmed.starts_with('-') {
            return Err(SizeError::Negative(text.to_owned()));
        }
        let syntax = || SizeError::Syntax(text.to_owned());
        let end = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        let factor = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, f)| *f)
            .ok_or_else(syntax)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.len() > 15 || fraction.contains('.') {
            return Err(syntax());
        }
        let too_large = || SizeError::TooLarge(text.to_owned());
        let whole: u64 = whole.parse().map_err(|_| too_large())?;
        // The fraction is exact: digits times the unit, divided by a power of ten that must leave no rest.
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| syntax())?);
        let part = fraction.parse::<u128>().map_err(|_| syntax())? * u128::from(factor);
        if !part.is_multiple_of(scale) {
            return Err(SizeError::Fraction(text.to_owned()));
        }
        let part = u64::try_from(part / scale).map_err(|_| too_large())?;
        whole
            .checked_mul(factor)
            .and_then(|bytes| bytes.checked_add(part))
            .map(Self)
            .ok_or_else(too_large)
    }
}

impl fmt::Display for Bytes {
    /// Writes the largest binary unit that leaves a whole number, else one decimal digit of the unit below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (1_u64 << 50, "PiB"),
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        let text = units.into_iter().find(|(factor, _)| self.0 >= *factor).map_or_else(
            || format!("{}B", self.0),
            |(factor, unit)| {
                let tenths = u128::from(self.0) * 10 / u128::from(factor);
                if tenths.is_multiple_of(10) {
                    format!("{}{unit}", tenths / 10)
                } else {
                    format!("{}.{}{unit}", tenths / 10, tenths % 10)
                }
            },
        );
        f.pad(&text)
    }
}

impl VolumeSize {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for VolumeSize {
    type Error = SizeError;

    fn try_from(bytes: u64) -> Result<Self, SizeError> {
        if bytes == 0 {
            Err(SizeError::Zero)
        } else if !bytes.is_multiple_of(SECTOR_BYTES) {
            Err(SizeError::Sector(bytes))
        } else if bytes > VOLUME_BYTES_MAX {
            Err(SizeError::OverMaximum(bytes))
        } else {
            Ok(Self(bytes))
        }
    }
}

impl From<VolumeSize> for u64 {
    fn from(size: VolumeSize) -> Self {
        size.0
    }
}

impl FromStr for VolumeSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        text.parse::<Bytes>()?.0.try_into()
    }
}

impl fmt::Display for VolumeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly() {
        let cases = [
            ("10GiB", 10 << 30),
            ("1.5 MiB", 3 << 19),
            ("512", 512),
            ("1kB", 1000),
            ("2T", 2 << 40),
            ("0", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "GiB", "10XiB", "1e9", "ten", "1..5G", "1,5G", ".5G", "5.G", "0x10"] {
            assert!(matches!(text.parse::<Bytes>(), Err(SizeError::Syntax(_))), "{text}");
        }
        assert!(matches!("-1GiB".parse::<Bytes>(), Err(SizeError::Negative(_))));
        assert!(matches!("0.3B".parse::<Bytes>(), Err(SizeError::Fraction(_))));
        assert!(matches!(
            "99999999999999999999".parse::<Bytes>(),
            Err(SizeError::TooLarge(_))
        ));
        assert!(matches!("20000PiB".parse::<Bytes>(), Err(SizeError::TooLarge(_))));
    }

    #[test]
    fn volumes_have_limits() {
        assert_eq!("0".parse::<VolumeSize>(), Err(SizeError::Zero));
        assert_eq!("1000".parse::<VolumeSize>(), Err(SizeError::Sector(1000)));
        assert_eq!("2PiB".parse::<VolumeSize>(), Err(SizeError::OverMaximum(2 << 50)));
        assert_eq!("512".parse::<VolumeSize>().unwrap().bytes(), 512);
    }

    #[test]
    fn display_is_short() {
        assert_eq!(Bytes(10 << 30).to_string(), "10GiB");
        assert_eq!(Bytes(1536 << 20).to_string(), "1.5GiB");
        assert_eq!(Bytes(511).to_string(), "511B");
    }
}
