//! What every resource has besides its spec and status.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::counter::Generation;
use crate::labels::Labels;
use crate::name::Name;

/// Identity and life of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta<Id> {
    /// Never changes and is never used again.
    pub id: Id,
    /// Unique in its project and kind.
    pub name: Name,
    /// The tenant.
    pub project: Name,
    /// Given by people.
    #[serde(default)]
    pub labels: Labels,
    /// How often the spec was changed.
    pub generation: Generation,
    /// For display.
    pub created_at: Timestamp,
    /// Set when someone asked to delete it; from then on the goal is that nothing is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting_since: Option<Timestamp>,
}

impl<Id> Meta<Id> {
    /// A new resource's.
    pub fn new(id: Id, project: Name, name: Name, labels: Labels, now: Timestamp) -> Self {
        Self {
            id,
            name,
            project,
            labels,
            generation: Generation::FIRST,
            created_at: now,
            deleting_since: None,
        }
    }

    /// Whether someone asked to delete it.
    #[must_use]
    pub const fn is_deleting(&self) -> bool {
        self.deleting_since.is_some()
    }
}
