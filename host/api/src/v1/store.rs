//! The store that keeps the managers' state.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the store is, as the manager that answers sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreHealth {
    /// The newest revision; absent when the store can't be read now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Why the store can't be read now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Its members; a manager's own store has one.
    pub members: Vec<StoreMember>,
}

/// A member of the store. Of one that did not answer all but its endpoint and the trouble is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreMember {
    /// Where it is; `embedded` for a manager's own store.
    pub endpoint: String,
    /// Why it could not be asked; absent when it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Its version.
    pub version: String,
    /// Whether this version is known to lose watch events and leases.
    pub outdated: bool,
    /// Whether it leads the others.
    pub leads: bool,
    /// Whether it knows who leads: without that there is no majority.
    pub has_leader: bool,
    /// The bytes on its disk.
    pub size_bytes: u64,
    /// How many of them are used; the rest is free after it is defragmented.
    pub used_bytes: u64,
    /// `no-space`: it takes no writes; `corrupt`: its data differs from that of the others.
    pub alarms: Vec<String>,
}
