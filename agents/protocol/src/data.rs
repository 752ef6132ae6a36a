//! The data port: image bytes between managers, image services and nodes, and machines' consoles and screens, as plain
//! HTTP with a bearer token.
//!
//! - `PUT /data/v1/uploads/UPLOAD-ID` — streams a new image in; answers an [`symphony_core::plan::image::Upload`] as
//!   JSON once every byte is flushed. `?sha256=HEX`: refused with 422 when the bytes have another digest.
//! - `DELETE /data/v1/uploads/UPLOAD-ID` — gives an upload up. Nothing else does: the image service can't tell one that
//!   the manager never put on record, because it was killed between the answer and the record, from one whose manager is
//!   away, and keeps both.
//! - `GET /data/v1/blobs/HEX` — a stored image; understands `Range: bytes=N-`.
//! - `GET /data/v1/machines/MACHINE-ID/console` — a WebSocket. Binary messages out are what the guest says: first the end
//!   of what it has said so far, then the rest as it comes, without a gap. Messages in are what it is told. Closed with
//!   1000 when the machine goes off, and with 1008 for a viewer that was too slow.
//! - `GET /data/v1/machines/MACHINE-ID/console/log` — what is kept of what it has said, as bytes.
//! - `GET /data/v1/machines/MACHINE-ID/screen` — a WebSocket with the bytes of VNC in binary messages both ways; the
//!   subprotocol `binary` may be asked for.
//!
//! Errors are JSON: [`DataError`].

use serde::{Deserialize, Serialize};

/// Where uploads go; followed by the upload's id.
pub const UPLOADS_PATH: &str = "/data/v1/uploads/";
/// Where blobs are; followed by the 64 hexadecimal digits of the digest.
pub const BLOBS_PATH: &str = "/data/v1/blobs/";

/// Where machines are; followed by a machine's id and `/console`, `/console/log` or `/screen`.
pub const MACHINES_PATH: &str = "/data/v1/machines/";

/// Why the data port refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct DataError {
    /// `digest-mismatch`, `no-space`, `not-found`, `unauthorized`, `bad-request`, `too-large`, `busy`, `off`,
    /// `internal`.
    pub code: String,
    /// For a person.
    pub message: String,
}
