//! Plugins: uploaded components, and which of them serves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::digest::Digest;
use crate::id::PluginId;
use crate::name::Name;

/// Largest component that may be uploaded: 32 MiB.
pub const COMPONENT_BYTES_MAX: u64 = 32 << 20;
/// How many earlier components an activation remembers for rollback.
pub const ROLLBACKS_MAX: usize = 5;

/// One version of a plugin: one component. Named by its digest; immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// Never changes.
    pub id: PluginId,
    /// Of the component's bytes.
    pub digest: Digest,
    /// What the component says of itself.
    pub name: Name,
    /// Its version.
    pub version: String,
    /// One line for a person.
    #[serde(default)]
    pub description: String,
    /// What it can serve as.
    pub slot: Slot,
    /// The version of the interfaces that it was built for.
    pub interface: String,
    /// Size of the component.
    pub size_bytes: u64,
    /// Whether it came with symphony.
    #[serde(default)]
    pub first_party: bool,
    /// For display.
    pub uploaded_at: Timestamp,
}

/// A place that a plugin can serve in: written `scheduler/volume`, `driver/volume`, `driver/image`,
/// `driver/machine`, `driver/network`, `driver/export`, `driver/fence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Slot {
    /// Decides where volumes go.
    VolumeScheduler,
    /// Decides how volumes are made.
    VolumeDriver,
    /// Decides how images are taken in.
    ImageDriver,
    /// Decides how machines are made and run.
    MachineDriver,
    /// Decides how networks are made on a node.
    NetworkDriver,
    /// Decides how volumes are served to other nodes.
    ExportDriver,
    /// Decides how a node's power is cut.
    FenceDriver,
}

impl Slot {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::VolumeScheduler,
        Self::VolumeDriver,
        Self::ImageDriver,
        Self::MachineDriver,
        Self::NetworkDriver,
        Self::ExportDriver,
        Self::FenceDriver,
    ];

    /// Its text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VolumeScheduler => "scheduler/volume",
            Self::VolumeDriver => "driver/volume",
            Self::ImageDriver => "driver/image",
            Self::MachineDriver => "driver/machine",
            Self::NetworkDriver => "driver/network",
            Self::ExportDriver => "driver/export",
            Self::FenceDriver => "driver/fence",
        }
    }
}

/// A text that names no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no slot; there are scheduler/volume, driver/volume, driver/image, driver/machine, driver/network, driver/export and driver/fence"
)]
pub struct SlotError(String);

impl FromStr for Slot {
    type Err = SlotError;

    fn from_str(text: &str) -> Result<Self, SlotError> {
        Self::ALL
            .into_iter()
            .find(|slot| slot.as_str() == text)
            .ok_or_else(|| SlotError(text.to_owned()))
    }
}

impl TryFrom<String> for Slot {
    type Error = SlotError;

    fn try_from(text: String) -> Result<Self, SlotError> {
        text.parse()
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> Self {
        slot.as_str().to_owned()
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which component serves in a slot. One record per slot; a swap or a rollback is one write of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The slot.
    pub slot: Slot,
    /// The component that serves; none: the built-in policy does.
    pub active: Option<Digest>,
    /// Its configuration (JSON).
    pub config: String,
    /// What served before, newest first; at most [`ROLLBACKS_MAX`].
    #[serde(default)]
    pub previous: Vec<Served>,
    /// Why it is the way it is, for a person.
    pub reason: String,
    /// For display.
    pub since: Timestamp,
}

/// What served in a slot, as it served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The component; none: the built-in policy.
    pub active: Option<Digest>,
    /// Its configuration (JSON).
    pub config: String,
}

/// Why there is nothing to roll back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing was active in {0} before")]
pub struct NothingBefore(Slot);

impl Activation {
    /// A slot's first component.
    #[must_use]
    pub fn first(slot: Slot, active: Digest, reason: &str, now: Timestamp) -> Self {
        Self {
            slot,
            active: Some(active),
            config: "{}".to_owned(),
            previous: Vec::new(),
            reason: reason.to_owned(),
            since: now,
        }
    }

    /// With another component in the slot; the one that serves now is remembered.
    #[must_use]
    pub fn swapped(&self, active: Option<Digest>, config: &str, reason: &str, now: Timestamp) -> Self {
        if active == self.active && config == self.config {
            return self.clone();
        }
        let serves = Served {
            active: self.active,
            config: self.config.clone(),
        };
        let next = Served {
            active,
            config: config.to_owned(),
        };
        let older = self
            .previous
            .iter()
            .filter(|old| **old != serves && **old != next)
            .cloned();
        let mut previous: Vec<Served> = std::iter::once(serves.clone()).chain(older).collect();
        previous.truncate(ROLLBACKS_MAX);
        Self {
            slot: self.slot,
            active,
            config: config.to_owned(),
            previous,
            reason: reason.to_owned(),
            since: now,
        }
    }

    /// With what served before; what serves now is forgotten.
    ///
    /// # Errors
    /// When nothing served before.
    pub fn rolled_back(&self, reason: &str, now: Timestamp) -> Result<Self, NothingBefore> {
        let (before, previous) = self.previous.split_first().ok_or(NothingBefore(self.slot))?;
        Ok(Self {
            slot: self.slot,
            active: before.active,
            config: before.config.clone(),
            previous: previous.to_vec(),
            reason: reason.to_owned(),
            since: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::new([n; 32])
    }

    #[test]
    fn rollback_undoes_a_swap() {
        let now = Timestamp::from_second(1).unwrap();
        let first = Activation::first(Slot::VolumeScheduler, digest(1), "start", now);
        assert!(first.rolled_back("back", now).is_err());
        let second = first.swapped(Some(digest(2)), "{}", "try", now);
        assert_eq!(second.rolled_back("back", now).unwrap().active, Some(digest(1)));
        let tuned =
            second
                .swapped(Some(digest(2)), r#"{"a":1}"#, "tune", now)
                .swapped(Some(digest(3)), "{}", "next", now);
        assert_eq!(
            tuned.rolled_back("back", now).unwrap().config,
            r#"{"a":1}"#,
            "as it served"
        );
        assert_eq!(
            second.swapped(Some(digest(2)), "{}", "again", now),
            second,
            "activating the active one changes nothing"
        );
    }

    #[test]
    fn history_is_bounded_and_has_no_doubles() {
        let now = Timestamp::from_second(1).unwrap();
        let mut activation = Activation::first(Slot::VolumeDriver, digest(0), "start", now);
        for n in 1..50 {
            activation = activation.swapped(Some(digest(n % 9)), "{}", "next", now);
            assert!(activation.previous.len() <= ROLLBACKS_MAX);
            assert!(activation.previous.iter().all(|old| old.active != activation.active));
        }
    }
}
