//! Downloads: an answer of any length, a piece at a time.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;

use super::ClientError;

/// After this long without a piece the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Bytes on their way down. That one came to its end says nothing of whether it is whole: what is in it does.
pub struct Download(pub(super) Response);

impl Download {
    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// When the connection breaks, or is silent for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(SILENCE_MAX, self.0.chunk()).await {
            Ok(piece) => piece.map_err(|source| ClientError::transport("the answer broke off", source)),
            Err(_) => Err(ClientError::Silent(SILENCE_MAX)),
        }
    }
}
