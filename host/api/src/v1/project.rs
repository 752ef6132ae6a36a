//! Projects, and what is sent to make and change them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;

use super::Kind;

/// Amounts by what is counted: `machines`, `cpus`, `memory_bytes`, `volumes`, `volume_bytes`, `networks`, `images`.
pub type Amounts = BTreeMap<String, u64>;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// `project`.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The most that it may have: `machines`, `cpus`, `memory_bytes`, `volumes`, `volume_bytes`, `networks`, `images`; of
    /// what is not named, as much as there is.
    #[serde(default)]
    pub quota: Amounts,
    /// What it has, of all that is counted; in a list, it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Amounts>,
    /// For display; absent: it is the project `default`, which was not made by anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// The store's counter at the last change: what `If-Match` compares, and its `ETag`.
    pub revision: u64,
}

/// Asks for a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Lower-case letters, digits and `-`, at most 63, not in the form of a UUID.
    pub name: String,
    /// The most that it may have, as in a project.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quota: Amounts,
}

/// Changes a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchProject {
    /// New limits; null takes one away, what is not named stays.
    #[serde(default)]
    pub quota: BTreeMap<String, Option<u64>>,
}

/// A quota that would be passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExceededQuota {
    /// Of what.
    pub resource: String,
    /// How much the project has.
    pub used: u64,
    /// How much it may have.
    pub limit: u64,
    /// How much more was asked for.
    pub asked: u64,
}
