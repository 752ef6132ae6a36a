//! How fast a port may be, as people write it.

use std::fmt;
use std::str::FromStr;

/// The slowest limit that a port may have, in bits per second.
pub const RATE_BITS_MIN: u64 = 1_000;
/// The fastest one, in bits per second: 1 Tbit.
pub const RATE_BITS_MAX: u64 = 1_000_000_000_000;

/// Bits per second: `100Mbit`. The units are `bit`, `Kbit`, `Mbit` and `Gbit`, decimal as usual for links, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rate(u64);

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not a whole number with a unit.
    #[error("{0:?} is no rate; write a whole number and a unit, like 100Mbit (bit, Kbit, Mbit or Gbit per second)")]
    Syntax(String),
    /// Under [`RATE_BITS_MIN`], or over [`RATE_BITS_MAX`].
    #[error("a rate is from {least} to {most}, and {0:?} is not", least = Rate(RATE_BITS_MIN), most = Rate(RATE_BITS_MAX))]
    Range(String),
}

const UNITS: [(&str, u64); 4] = [
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

impl Rate {
    /// Bits per second.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let syntax = || RateError::Syntax(text.to_owned());
        let range = || RateError::Range(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let with_unit = UNITS
            .into_iter()
            .find_map(|(unit, factor)| lower.strip_suffix(unit).map(|number| (number.trim_end(), factor)));
        let (number, factor) = with_unit.ok_or_else(syntax)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(syntax());
        }
        // Only digits: what can't be read as a number is too large.
        let number: u64 = number.parse().map_err(|_| range())?;
        let bits = number.checked_mul(factor).ok_or_else(range)?;
        if (RATE_BITS_MIN..=RATE_BITS_MAX).contains(&bits) {
            Ok(Self(bits))
        } else {
            Err(range())
        }
    }
}

impl fmt::Display for Rate {
    /// Writes the largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["Gbit", "Mbit", "Kbit", "bit"];
        let mut units = UNITS.iter().zip(names);
        let text = units
            .find(|((_, factor), _)| self.0.is_multiple_of(*factor))
            .map_or_else(String::new, |((_, factor), name)| format!("{}{name}", self.0 / factor));
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        let cases = [
            ("100Mbit", 100_000_000, "100Mbit"),
            ("1Gbit", 1_000_000_000, "1Gbit"),
            ("1000 mbit", 1_000_000_000, "1Gbit"),
            ("64kbit", 64_000, "64Kbit"),
            ("1500bit", 1_500, "1500bit"),
        ];
        for (text, bits, shown) in cases {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.bits(), rate.to_string().as_str()), (bits, shown), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "100",
            "Mbit",
            "1.5Gbit",
            "-1Mbit",
            "100MB",
            "100Mbit/s",
            "+1Gbit",
            "1e3bit",
        ] {
            assert!(matches!(text.parse::<Rate>(), Err(RateError::Syntax(_))), "{text}");
        }
        for text in [
            "0Mbit",
            "999bit",
            "1001Gbit",
            "99999999999999999999Gbit",
            "18446744073709551615Gbit",
        ] {
            assert!(matches!(text.parse::<Rate>(), Err(RateError::Range(_))), "{text}");
        }
    }
}
