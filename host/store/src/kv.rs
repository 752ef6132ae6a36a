//! A key with its value and its place in history.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Key, LeaseId};

/// The store's counter. An empty store is at 1, and every transaction that changes something makes the next one; 0 is
/// the revision of what does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a key that does not exist.
    pub const NONE: Self = Self(0);

    /// The revision after this one: where a watch goes on.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key's value at some revision. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Key,
    /// The value; empty when keys only were asked for.
    pub value: Bytes,
    /// The revision at which the key came to be (again, when it had been deleted).
    pub create_revision: Revision,
    /// The revision of the last change.
    pub mod_revision: Revision,
    /// How many times the key was put since it came to be, from 1.
    pub version: u64,
    /// The lease whose end deletes the key.
    pub lease: Option<LeaseId>,
}
