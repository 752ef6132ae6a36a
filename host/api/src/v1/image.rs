//! Images.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, Kind, Metadata};

/// A disk image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// `image`.
    pub kind: Kind,
    /// Identity and life.
    #[serde(flatten)]
    pub meta: Metadata,
    /// What was uploaded.
    pub spec: ImageSpec,
    /// What was seen.
    pub status: ImageStatus,
}

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageSpec {
    /// `sha256:` and 64 hexadecimal digits, of the stored bytes.
    pub digest: String,
    /// How the bytes are stored.
    pub format: ImageFormat,
    /// Size of the stored file, in bytes.
    pub stored_bytes: u64,
    /// Size of the disk that they describe, in bytes.
    pub virtual_bytes: u64,
    /// The node whose image service has them.
    pub node: String,
}

/// How an image's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's format.
    Qcow2,
}

impl ImageFormat {
    /// Its text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// What an image is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum ImagePhase {
    /// Uploaded; being checked.
    Pending,
    /// Volumes can be made from it.
    Ready,
    /// Refused; the conditions say why.
    Failed,
    /// Being removed.
    Deleting,
}

impl ImagePhase {
    /// Its text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Ready => "Ready",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }
}

/// What was seen of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageStatus {
    /// What it is going through.
    pub phase: ImagePhase,
    /// The generation of the spec that `phase` is about.
    pub observed_generation: u64,
    /// The details.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
