//! Events: what happened, for people. Written in the same transaction as the change that they tell of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::id::EventId;
use crate::name::Name;

/// How many events are kept; the oldest go first.
pub const EVENTS_MAX: usize = 2_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Ordered by time.
    pub id: EventId,
    /// For display.
    pub at: Timestamp,
    /// Whether an operator should look.
    pub severity: Severity,
    /// One word for a machine: `placed`, `plugin-fault`, …
    pub reason: String,
    /// What it is about.
    pub subject: Subject,
    /// One sentence for a person; at most [`crate::condition::MESSAGE_BYTES_MAX`].
    pub message: String,
    /// Figures and names for a machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// Whether an operator should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Something failed.
    Warning,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// `volume`, `image`, `node`, `plugin`, `slot`.
    pub kind: String,
    /// The tenant, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Name>,
    /// Its name.
    pub name: String,
    /// Its id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}
