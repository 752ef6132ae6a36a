//! Frames from a body: one JSON value a line, of bounded length.

use axum::body::BodyDataStream;
use bytes::{Buf as _, BytesMut};
use futures_util::StreamExt as _;
use symphony_protocol::{FRAME_BYTES_MAX, ToManager};

/// Why no frame can be read any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// A line over the limit.
    #[error("a frame has {FRAME_BYTES_MAX} bytes at most")]
    TooLong,
    /// Not a frame.
    #[error("a frame can't be read: {0}")]
    Malformed(String),
    /// The connection.
    #[error("the connection broke off")]
    Lost,
}

/// Reads frames. Dropping a pending [`Lines::next`] loses nothing.
pub(super) struct Lines {
    body: BodyDataStream,
    buffer: BytesMut,
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: BodyDataStream) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next frame; none at the end. Empty lines are passed over.
    pub(super) async fn next(&mut self) -> Result<Option<ToManager>, Broken> {
        loop {
            if let Some(line) = self.take_line()? {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| Broken::Malformed(error.to_string()));
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                Some(Err(_)) => return Err(Broken::Lost),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Broken::Lost),
            }
        }
    }

    fn take_line(&mut self) -> Result<Option<BytesMut>, Broken> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.buffer.len();
            return if self.searched >= FRAME_BYTES_MAX {
                Err(Broken::TooLong)
            } else {
                Ok(None)
            };
        };
        if end >= FRAME_BYTES_MAX {
            return Err(Broken::TooLong);
        }
        self.searched = 0;
        let line = self.buffer.split_to(end);
        self.buffer.advance(1);
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn lines(pieces: Vec<Vec<u8>>) -> Lines {
        let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        Lines::new(Body::from_stream(stream).into_data_stream())
    }

    #[tokio::test]
    async fn frames_are_read_from_pieces_of_any_size() {
        let text = b"\n{\"heartbeat\":{\"calls\":1,\"memory_bytes\":2}}\n\r\n{\"heartbeat\":{\"calls\":2,\"memory_bytes\":2}}\n";
        for size in 1..text.len() {
            let mut lines = lines(text.chunks(size).map(<[u8]>::to_vec).collect());
            for calls in [1, 2] {
                let frame = lines.next().await.unwrap().unwrap();
                assert!(
                    matches!(frame, ToManager::Heartbeat(beat) if beat.calls == calls),
                    "pieces of {size}"
                );
            }
            assert!(lines.next().await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn an_endless_line_and_half_a_line_are_refused() {
        let mut endless = lines(vec![vec![b'x'; FRAME_BYTES_MAX / 2]; 3]);
        assert!(matches!(endless.next().await, Err(Broken::TooLong)));
        let mut half = lines(vec![b"{\"heartbeat\":".to_vec()]);
        assert!(matches!(half.next().await, Err(Broken::Lost)));
        let mut other = lines(vec![b"hello\n".to_vec()]);
        assert!(matches!(other.next().await, Err(Broken::Malformed(_))));
    }
}
