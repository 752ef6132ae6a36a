//! The key that lets go of a console: how it is written, and how it is found in what is typed.

use std::fmt;
use std::str::FromStr;

/// The key that detaches, as `ctrl-]`; `none` for a console that is left by a signal or its end alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetachKey(Option<u8>);

/// Not a key that can detach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write it as ctrl- and a letter or one of [ \\ ] ^ _, like ctrl-], or none")]
pub struct DetachKeyError;

/// What was typed, up to the key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed<'a> {
    /// For the guest.
    pub(super) bytes: &'a [u8],
    /// Whether the key came after it; what follows the key is for nobody.
    pub(super) detached: bool,
}

impl DetachKey {
    /// Looks for the key.
    pub(super) fn scan(self, typed: &[u8]) -> Typed<'_> {
        let at = self.0.and_then(|key| typed.iter().position(|byte| *byte == key));
        Typed {
            bytes: &typed[..at.unwrap_or(typed.len())],
            detached: at.is_some(),
        }
    }

    /// How to leave, for a person.
    pub(super) fn advice(self) -> String {
        match self.0 {
            Some(_) => format!("{self} detaches"),
            None => "it ends with the machine".to_owned(),
        }
    }
}

impl Default for DetachKey {
    fn default() -> Self {
        Self(Some(0x1d))
    }
}

impl FromStr for DetachKey {
    type Err = DetachKeyError;

    fn from_str(text: &str) -> Result<Self, DetachKeyError> {
        let lower = text.to_ascii_lowercase();
        if lower == "none" {
            return Ok(Self(None));
        }
        let key = lower.strip_prefix("ctrl-").or_else(|| lower.strip_prefix('^'));
        match key.map(str::as_bytes) {
            Some([key @ (b'a'..=b'z' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(Self(Some(key & 0x1f))),
            _ => Err(DetachKeyError),
        }
    }
}

impl fmt::Display for DetachKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, "Ctrl-{}", char::from(key | 0x40)),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_people_write_them() {
        for (text, shown) in [
            ("ctrl-]", "Ctrl-]"),
            ("^]", "Ctrl-]"),
            ("CTRL-a", "Ctrl-A"),
            ("ctrl-\\", "Ctrl-\\"),
            ("^^", "Ctrl-^"),
            ("none", "none"),
        ] {
            let key: DetachKey = text.parse().unwrap();
            assert_eq!(key.to_string(), shown);
            assert_eq!(shown.parse(), Ok(key));
        }
        for wrong in ["", "]", "ctrl-", "ctrl-1", "ctrl-ab", "alt-x", "ctrl-é", "ctrl-@"] {
            assert_eq!(wrong.parse::<DetachKey>(), Err(DetachKeyError), "{wrong}");
        }
        assert_eq!("ctrl-]".parse(), Ok(DetachKey::default()));
    }

    #[test]
    fn the_key_is_found_wherever_it_comes() {
        let key = DetachKey::default();
        let typed = |bytes, detached| Typed { bytes, detached };
        assert_eq!(key.scan(b"ls\n"), typed(b"ls\n", false));
        assert_eq!(key.scan(b"\x1d"), typed(b"", true));
        assert_eq!(key.scan(b"ls\n\x1dmore\x1d"), typed(b"ls\n", true));
        assert_eq!(key.scan(b""), typed(b"", false));
        // A terminal's other keys begin with escape, none of them with this one.
        assert_eq!(key.scan(b"\x1b[A"), typed(b"\x1b[A", false));
        let none: DetachKey = "none".parse().unwrap();
        assert_eq!(none.scan(b"a\x1db"), typed(b"a\x1db", false));
        let other: DetachKey = "ctrl-a".parse().unwrap();
        assert_eq!(other.scan(b"\x1d\x01"), typed(b"\x1d", true));
    }
}
