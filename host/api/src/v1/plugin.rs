//! Plugins, and the slots that they serve in.

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Kind;

/// One version of a plugin: one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plugin {
    /// `plugin`.
    pub kind: Kind,
    /// Never changes.
    pub id: Uuid,
    /// What the component says of itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for a person.
    pub description: String,
    /// `sha256:` and 64 hexadecimal digits, of the component's bytes: what it is named by.
    pub digest: String,
    /// What it can serve as: `scheduler/volume`, `driver/volume`, `driver/image`, `driver/machine`, `driver/network`, `driver/export`, `driver/fence`.
    pub slot: String,
    /// The slots in which it serves now.
    pub active_in: Vec<String>,
    /// The version of the interfaces that it was built for.
    pub interface: String,
    /// Size of the component.
    pub size_bytes: u64,
    /// Whether it came with symphony.
    pub first_party: bool,
    /// For display.
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_at: Timestamp,
    /// The store's counter at the last change.
    pub revision: u64,
}

/// A place that a plugin serves in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Slot {
    /// `slot`.
    pub kind: Kind,
    /// `scheduler/volume`, `driver/volume`, `driver/image`, `driver/machine`, `driver/network`, `driver/export`, `driver/fence`.
    pub name: String,
    /// The component that serves; absent: what is built in does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// Its name and version, as `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Its configuration.
    #[schema(value_type = Object)]
    pub config: serde_json::Value,
    /// What served before, newest first; `null` is what is built in.
    pub previous: Vec<Option<String>>,
    /// Why it is the way it is.
    pub reason: String,
    /// For display; absent when nothing was ever active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The store's counter at the last change; 0 when nothing was ever active.
    pub revision: u64,
}

/// Lets a plugin serve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Activate {
    /// A name (the newest upload of it), `name@version`, or a digest (at least 8 digits of it).
    pub plugin: String,
    /// Its configuration; empty when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub config: Option<serde_json::Value>,
}
