//! Uploads: bytes from any reader, a piece at a time.

use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes on their way up. Wrap the reader to see the progress.
pub struct Upload {
    pub(super) body: reqwest::Body,
    pub(super) length: Option<u64>,
}

impl Upload {
    /// Streams a reader to its end. With a length the manager can refuse what is too large before it comes, and an
    /// upload that breaks off is never taken for a whole one.
    pub fn new(reader: impl AsyncRead + Send + 'static, length: Option<u64>) -> Self {
        Self {
            body: reqwest::Body::wrap_stream(ReaderStream::with_capacity(reader, PIECE_BYTES)),
            length,
        }
    }

    /// Bytes that are in memory already.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            length: Some(bytes.len() as u64),
            body: bytes.into(),
        }
    }
}
