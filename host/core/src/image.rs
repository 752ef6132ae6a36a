//! Images: immutable disk contents, named by people, stored once by digest.

use serde::{Deserialize, Serialize};

use crate::condition::Conditions;
use crate::counter::Generation;
use crate::digest::Digest;
use crate::id::{ImageId, UploadId};
use crate::meta::Meta;
use crate::name::Name;

/// A disk image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Identity and life.
    pub meta: Meta<ImageId>,
    /// What was uploaded.
    pub spec: ImageSpec,
    /// What was seen.
    pub status: ImageStatus,
}

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Of the stored bytes.
    pub digest: Digest,
    /// Size of the stored file.
    pub stored_bytes: u64,
    /// How they are stored.
    pub format: Format,
    /// Size of the disk that they describe.
    pub virtual_bytes: u64,
    /// The node whose image service has the bytes.
    pub node: Name,
    /// The upload that brought them.
    pub upload: UploadId,
}

/// How an image's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Byte for byte.
    Raw,
    /// QEMU's format, version 2 or 3, that refers to no other file.
    Qcow2,
}

/// What an image is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImagePhase {
    /// Uploaded; being checked.
    Pending,
    /// Volumes can be made from it.
    Ready,
    /// Refused; the condition says why.
    Failed,
    /// Being removed.
    Deleting,
}

/// What was seen of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStatus {
    /// What it is going through.
    pub phase: ImagePhase,
    /// The generation of the spec that `phase` is about.
    pub observed_generation: Generation,
    /// The details.
    #[serde(default)]
    pub conditions: Conditions,
}

impl ImageStatus {
    /// Before anything happened.
    #[must_use]
    pub fn pending() -> Self {
        Self {
            phase: ImagePhase::Pending,
            observed_generation: Generation(0),
            conditions: Conditions::default(),
        }
    }
}

impl Image {
    /// Whether its service has nothing left to do for it, as far as was seen.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.meta.is_deleting() && matches!(self.status.phase, ImagePhase::Ready | ImagePhase::Failed)
    }
}
