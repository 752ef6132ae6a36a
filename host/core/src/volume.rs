//! Volumes: what is wanted, where it was placed, and what was seen.
//!
//! ```text
//!            place loop              agent                  spec changes
//!  Pending ─────────────► Creating ─────────► Ready ◄──────────────────► Resizing
//!     │ ▲                    │                  │
//!     ▼ │ room appears       ▼ driver refuses   ▼ delete (from any phase)
//!  Unplaceable             Failed            Deleting ──► gone from the store
//! ```

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::condition::Conditions;
use crate::counter::{Generation, Revision};
use crate::digest::Digest;
use crate::id::{MachineId, VolumeId};
use crate::image::Format;
use crate::labels::Labels;
use crate::meta::Meta;
use crate::name::Name;
use crate::place::Verdict;
use crate::quantity::VolumeSize;

/// A block volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Identity and life.
    pub meta: Meta<VolumeId>,
    /// What is wanted.
    pub spec: VolumeSpec,
    /// Where it goes, with the capacity that is reserved there. Set once, by the place loop alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// The machine that has it. While it has one, no other can take it, and it is placed together with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Holder>,
    /// What was seen.
    pub status: VolumeStatus,
}

/// The machine that has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine.
    pub id: MachineId,
    /// Its name; it is in the volume's project.
    pub name: Name,
}

/// What is wanted of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Its size.
    pub size: VolumeSize,
    /// The pool it must be in; any when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// Labels that its node must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub require: Labels,
    /// The image whose bytes it starts with; zeros when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ImageSource>,
}

/// The image that a volume starts from, as it was when the volume was asked for (images are immutable).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSource {
    /// The image's name at that time, for display.
    pub image: Name,
    /// Its stored bytes.
    pub digest: Digest,
    /// How they are stored.
    pub format: Format,
    /// Size of the stored file, in bytes.
    pub stored_bytes: u64,
    /// Size of the disk that it describes, in bytes.
    pub virtual_bytes: u64,
}

/// Where a volume was placed, by whom, and what it reserves there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The node.
    pub node: Name,
    /// The pool on it.
    pub pool: Name,
    /// The claim: bytes reserved in the pool's ledger in the same transaction.
    pub claimed_bytes: u64,
    /// Who decided.
    pub decided_by: Decider,
    /// The score that the decider gave.
    pub score: f32,
    /// The store's revision that the decision was made on.
    pub revision: Revision,
    /// For display.
    pub decided_at: Timestamp,
}

/// The policy that made a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decider {
    /// The plugin's name, or `built-in`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The component's digest; none for the built-in policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Set when the built-in policy stood in for a plugin that failed: what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

/// Why a volume went where it went: kept beside the volume, written in the same transaction as the placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The placement that it explains.
    pub placement: Placement,
    /// Every candidate's outcome, in candidate order; at most [`VERDICTS_KEPT_MAX`], else empty.
    pub verdicts: Vec<Verdict>,
}

/// Most verdicts kept with a decision. With more candidates than that, an explanation is worked out when asked for.
pub const VERDICTS_KEPT_MAX: usize = 128;

/// What a volume is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumePhase {
    /// Waits for a placement.
    Pending,
    /// No candidate takes it now; it is placed as soon as one does.
    Unplaceable,
    /// Placed; its node is making it.
    Creating,
    /// Whole, as the spec says.
    Ready,
    /// Being grown.
    Resizing,
    /// Being removed.
    Deleting,
    /// Its driver says that it can't be made as asked.
    Failed,
}

/// What was seen of a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// What it is going through.
    pub phase: VolumePhase,
    /// The generation of the spec that `phase` is about.
    pub observed_generation: Generation,
    /// Size on the node, in bytes; 0 before it exists.
    #[serde(default)]
    pub size_bytes: u64,
    /// The details.
    #[serde(default)]
    pub conditions: Conditions,
}

impl VolumeStatus {
    /// Before anything happened.
    #[must_use]
    pub fn pending() -> Self {
        Self {
            phase: VolumePhase::Pending,
            observed_generation: Generation(0),
            size_bytes: 0,
            conditions: Conditions::default(),
        }
    }
}

impl Volume {
    /// Whether it waits for a placement of its own: one that a machine has is placed with the machine.
    #[must_use]
    pub fn wants_placement(&self) -> bool {
        self.placement.is_none() && self.machine.is_none() && !self.meta.is_deleting()
    }

    /// Whether its node has nothing left to do for it, as far as was seen.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let seen = self.status.observed_generation == self.meta.generation;
        !self.meta.is_deleting() && seen && matches!(self.status.phase, VolumePhase::Ready | VolumePhase::Failed)
    }
}
