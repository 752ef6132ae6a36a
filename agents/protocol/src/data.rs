//! The data port: image bytes between managers, image services and nodes, as plain HTTP with a bearer token.
//!
//! - `PUT /data/v1/uploads/UPLOAD-ID` — streams a new image in; answers an [`symphony_core::plan::image::Upload`] as
//!   JSON once every byte is flushed. `?sha256=HEX`: refused with 422 when the bytes have another digest.
//! - `DELETE /data/v1/uploads/UPLOAD-ID` — gives an upload up. Nothing else does: the image service can't tell one that
//!   the manager never put on record, because it was killed between the answer and the record, from one whose manager is
//!   away, and keeps both.
//! - `GET /data/v1/blobs/HEX` — a stored image; understands `Range: bytes=N-`.
//!
//! Errors are JSON: [`DataError`].

use serde::{Deserialize, Serialize};

/// Where uploads go; followed by the upload's id.
pub const UPLOADS_PATH: &str = "/data/v1/uploads/";
/// Where blobs are; followed by the 64 hexadecimal digits of the digest.
pub const BLOBS_PATH: &str = "/data/v1/blobs/";

/// Why the data port refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct DataError {
    /// `digest-mismatch`, `no-space`, `not-found`, `unauthorized`, `bad-request`, `too-large`, `busy`, `internal`.
    pub code: String,
    /// For a person.
    pub message: String,
}
