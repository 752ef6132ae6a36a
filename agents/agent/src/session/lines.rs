//! Frames from bytes: one JSON value a line, none longer than [`FRAME_BYTES_MAX`].

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use symphony_protocol::FRAME_BYTES_MAX;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Over [`FRAME_BYTES_MAX`].
    #[error("a frame is over {FRAME_BYTES_MAX} bytes")]
    TooLong,
    /// The bytes ended in the middle of a frame.
    #[error("a frame was cut")]
    Cut,
    /// Not the JSON that was expected.
    #[error("a frame can't be understood")]
    Syntax(#[source] serde_json::Error),
}

/// Reads frames from a stream of bytes. Dropping a pending [`Self::next`] loses nothing.
#[derive(Debug)]
pub struct Lines<S> {
    source: S,
    buffer: BytesMut,
    searched: usize,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    /// Nothing read yet.
    pub fn new(source: S) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next frame; nothing at the end.
    ///
    /// # Errors
    /// The connection broke, or what came is no frame. Nothing can be read after that.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LineError> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + end;
                if end >= FRAME_BYTES_MAX {
                    return Err(LineError::TooLong);
                }
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                self.searched = 0;
                return serde_json::from_slice(&line).map(Some).map_err(LineError::Syntax);
            }
            self.searched = self.buffer.len();
            if self.searched >= FRAME_BYTES_MAX {
                return Err(LineError::TooLong);
            }
            match self.source.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(LineError::Broken(Box::new(error))),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(LineError::Cut),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: Vec<&'static [u8]>) -> Lines<impl Stream<Item = std::io::Result<Bytes>> + Unpin> {
        Lines::new(futures_util::stream::iter(
            chunks.into_iter().map(|chunk| Ok(Bytes::from_static(chunk))),
        ))
    }

    #[tokio::test]
    async fn frames_are_put_together() {
        let mut lines = lines(vec![b"1\n2", b"3\n", b"4", b"\n5\n"]);
        for expected in [Some(1), Some(23), Some(4), Some(5), None] {
            assert_eq!(lines.next::<u32>().await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error() {
        assert!(matches!(
            lines(vec![b"{\n"]).next::<u32>().await,
            Err(LineError::Syntax(_))
        ));
        assert!(matches!(lines(vec![b"12"]).next::<u32>().await, Err(LineError::Cut)));
        static LONG: [u8; FRAME_BYTES_MAX + 1] = [b'1'; FRAME_BYTES_MAX + 1];
        assert!(matches!(
            lines(vec![&LONG]).next::<u32>().await,
            Err(LineError::TooLong)
        ));
        let mut two = lines(vec![&LONG[..FRAME_BYTES_MAX - 1], b"11\n"]);
        assert!(matches!(two.next::<u32>().await, Err(LineError::TooLong)));
    }
}
