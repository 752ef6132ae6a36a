//! Events: what happened.

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Kind, Labels};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// `event`.
    pub kind: Kind,
    /// Ordered by time.
    pub id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether an operator should look.
    pub severity: Severity,
    /// One word for a machine.
    pub reason: String,
    /// What it is about.
    pub subject: Subject,
    /// One sentence for a person.
    pub message: String,
    /// Figures and names for a machine.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub details: Labels,
    /// The store's counter at which it was written.
    pub revision: u64,
}

/// Whether an operator should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Something failed.
    Warning,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subject {
    /// `volume`, `image`, `node`, `plugin`, `slot`.
    pub kind: String,
    /// The tenant, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its name.
    pub name: String,
    /// Its id, where it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}
