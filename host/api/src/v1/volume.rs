//! Volumes, and what is sent to make and change them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, ImageFormat, Kind, Labels, Metadata, Placement, Size};

/// A block volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Volume {
    /// `volume`.
    pub kind: Kind,
    /// Identity and life.
    #[serde(flatten)]
    pub meta: Metadata,
    /// What is wanted.
    pub spec: VolumeSpec,
    /// What was seen.
    pub status: VolumeStatus,
}

/// What is wanted of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VolumeSpec {
    /// In bytes.
    pub size: u64,
    /// The pool it must be in; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Labels that its node must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub require: Labels,
    /// What it starts with; zeros when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<VolumeImage>,
}

/// The image that a volume starts with, as it was when the volume was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VolumeImage {
    /// The image's name at that time.
    pub name: String,
    /// Its bytes.
    pub digest: String,
    /// How they are stored.
    pub format: ImageFormat,
    /// Size of the disk that they describe, in bytes.
    pub virtual_bytes: u64,
}

/// What a volume is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum VolumePhase {
    /// Waits for a placement.
    Pending,
    /// No node takes it now; it is placed as soon as one does.
    Unplaceable,
    /// Placed; its node is making it.
    Creating,
    /// Whole, as the spec says.
    Ready,
    /// Being grown.
    Resizing,
    /// Being removed.
    Deleting,
    /// It can't be made as asked.
    Failed,
}

impl VolumePhase {
    /// Its text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Unplaceable => "Unplaceable",
            Self::Creating => "Creating",
            Self::Ready => "Ready",
            Self::Resizing => "Resizing",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
        }
    }
}

/// What was seen of a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VolumeStatus {
    /// What it is going through.
    pub phase: VolumePhase,
    /// The generation of the spec that `phase` is about.
    pub observed_generation: u64,
    /// Size on the node, in bytes; 0 before it exists.
    pub size_bytes: u64,
    /// Where it is, or is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Name of the machine that has it; no other can take it meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The details.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

impl Volume {
    /// Whether it is whole, as the newest spec says.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let newest = self.status.observed_generation == self.meta.generation;
        newest && self.status.phase == VolumePhase::Ready && self.meta.deleting_since.is_none()
    }

    /// The node that it is on.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.status.placement.as_ref().map(|placement| placement.node.as_str())
    }
}

/// Asks for a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// Lower-case letters, digits and `-`, at most 63, not in the form of a UUID.
    pub name: String,
    /// For people, and for what selects by them.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What is wanted.
    pub spec: CreateVolumeSpec,
}

/// What is wanted of a new volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVolumeSpec {
    /// With an image it may be absent: then it is the size of the image's disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The pool it must be in; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Labels that its node must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub require: Labels,
    /// Name or id of the image that it starts with; zeros when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// Changes a volume. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchVolume {
    /// All labels, in place of those it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// What is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<PatchVolumeSpec>,
}

/// Changes what is wanted of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchVolumeSpec {
    /// The new size; never smaller than the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}
