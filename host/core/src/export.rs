//! Exports: a volume of one node that a machine on another node writes to. Who may write is counted: each time that changes,
//! the generation is raised and a new key made, in one transaction. What was served before can't be reached with them, and
//! the volume's node serves nothing older any more.
//!
//! Never says how a volume is served: that is for the driver and the agent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::counter::Generation;
use crate::id::{MachineId, VolumeId};
use crate::name::Name;

/// Digits of a key: 32 bytes in hexadecimal.
pub const KEY_DIGITS: usize = 64;

/// The record of a volume's exports. It stays when nothing is served, for the generation must not begin anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The volume.
    pub volume: VolumeId,
    /// How often who may write was changed. The first is 1.
    pub generation: Generation,
    /// Opens this generation, and no other.
    pub key: ExportKey,
    /// Who may write; nobody when it is not to be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Writer>,
    /// Where it was served last, in this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
}

/// The one that may write to a volume from another node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Writer {
    /// The machine that has the volume.
    pub machine: MachineId,
    /// The node that it is on: the only one that gets the key.
    pub node: Name,
}

/// Where an export is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// An address of the volume's node, as text.
    pub address: String,
    /// TCP.
    pub port: u16,
}

/// A key of 32 random bytes, as [`KEY_DIGITS`] hexadecimal digits. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExportKey(String);

/// A text that is no key. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has {KEY_DIGITS} hexadecimal digits in lower case")]
pub struct ExportKeyError;

impl ExportKey {
    /// Of bytes that somebody else made, at random.
    #[must_use]
    pub fn new(bytes: [u8; KEY_DIGITS / 2]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(KEY_DIGITS);
        for byte in bytes {
            // Writing into memory does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The digits, for whoever has to prove that he knows them.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ExportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExportKey(..)")
    }
}

impl TryFrom<String> for ExportKey {
    type Error = ExportKeyError;

    fn try_from(text: String) -> Result<Self, ExportKeyError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == KEY_DIGITS && text.bytes().all(is_digit) {
            Ok(Self(text))
        } else {
            Err(ExportKeyError)
        }
    }
}

impl From<ExportKey> for String {
    fn from(key: ExportKey) -> Self {
        key.0
    }
}

/// What an export is called: another name for each generation.
#[must_use]
pub fn name(volume: VolumeId, generation: Generation) -> String {
    format!("{volume}.{generation}")
}

impl Export {
    /// The first for a volume.
    #[must_use]
    pub const fn first(volume: VolumeId, writer: Writer, key: ExportKey) -> Self {
        Self {
            volume,
            generation: Generation::FIRST,
            key,
            writer: Some(writer),
            endpoint: None,
        }
    }

    /// The next generation, for another writer.
    #[must_use]
    pub fn raised(&self, writer: Writer, key: ExportKey) -> Self {
        Self {
            generation: self.generation.next(),
            ..Self::first(self.volume, writer, key)
        }
    }

    /// The same generation, for nobody any more.
    #[must_use]
    pub fn ended(&self) -> Self {
        Self {
            writer: None,
            endpoint: None,
            ..self.clone()
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.volume, self.generation)
    }

    /// Whether this machine may write to it from this node.
    #[must_use]
    pub fn is_for(&self, machine: MachineId, node: &Name) -> bool {
        let writer = self.writer.as_ref();
        writer.is_some_and(|writer| writer.machine == machine && writer.node == *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn writer(node: &str) -> Writer {
        Writer {
            machine: ID.parse().unwrap(),
            node: node.parse().unwrap(),
        }
    }

    #[test]
    fn another_writer_is_another_name_and_key() {
        let first = Export::first(ID.parse().unwrap(), writer("n2"), ExportKey::new([1; 32]));
        let mut served = first.clone();
        served.endpoint = Some(Endpoint {
            address: "10.0.0.1".to_owned(),
            port: 1,
        });
        let next = served.raised(writer("n3"), ExportKey::new([2; 32]));
        assert_eq!(next.name(), format!("{ID}.2"));
        assert_ne!(next.name(), first.name());
        assert_eq!(
            next.endpoint, None,
            "where the last generation was says nothing of this one"
        );
        let id = ID.parse().unwrap();
        assert!(next.is_for(id, &"n3".parse().unwrap()) && !next.is_for(id, &"n2".parse().unwrap()));
        assert_eq!(
            next.ended().raised(writer("n2"), ExportKey::new([3; 32])).generation,
            Generation(3)
        );
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        let key = ExportKey::new([0xab; 32]);
        assert_eq!(key.reveal(), "ab".repeat(32));
        assert!(!format!("{key:?}").contains("ab"));
        for bad in ["", "ab", &"AB".repeat(32), &"zz".repeat(32), &"ab".repeat(33)] {
            assert!(ExportKey::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
