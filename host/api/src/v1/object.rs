//! What every object has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// The kinds of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A block volume.
    Volume,
    /// A disk image.
    Image,
    /// A virtual machine.
    Machine,
    /// A virtual network.
    Network,
    /// A server.
    Node,
    /// A component.
    Plugin,
    /// A place that a plugin serves in.
    Slot,
    /// Something that happened.
    Event,
    /// A role of a node, or a manager.
    Service,
    /// What lets somebody in.
    Token,
    /// A tenant.
    Project,
}

impl Kind {
    /// The word for one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Image => "image",
            Self::Machine => "machine",
            Self::Network => "network",
            Self::Node => "node",
            Self::Plugin => "plugin",
            Self::Slot => "slot",
            Self::Event => "event",
            Self::Service => "service",
            Self::Token => "token",
            Self::Project => "project",
        }
    }

    /// The word for many, as in paths and in a watch's `kinds`.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Volume => "volumes",
            Self::Image => "images",
            Self::Machine => "machines",
            Self::Network => "networks",
            Self::Node => "nodes",
            Self::Plugin => "plugins",
            Self::Slot => "slots",
            Self::Event => "events",
            Self::Service => "services",
            Self::Token => "tokens",
            Self::Project => "projects",
        }
    }
}

/// Identity and life of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Metadata {
    /// Never changes and is never used again (UUIDv7).
    pub id: Uuid,
    /// Unique in its project and kind.
    pub name: String,
    /// The tenant.
    pub project: String,
    /// Given by people.
    #[serde(default)]
    pub labels: Labels,
    /// How often the spec was changed.
    pub generation: u64,
    /// The store's counter at the last change: what `If-Match` compares, and its `ETag`.
    pub revision: u64,
    /// For display.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Set when someone asked to delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleting_since: Option<Timestamp>,
}

/// One aspect of an object, with the reason for a machine and the message for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// When status or reason last changed.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// Whether a condition holds. Unknown is not false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can say now.
    Unknown,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// In the order of their names.
    pub items: Vec<T>,
    /// Asks for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
    /// The store's counter at which the page was read; a watch can go on from there.
    pub revision: u64,
}
