//! Bytes that come in over the network, on their way into a file: written and hashed by a thread of their own, a few
//! chunks behind the socket, never whole in memory.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use symphony_core::digest::Digest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Chunks that may wait for the disk.
const CHUNKS_WAITING_MAX: usize = 16;

/// A file that is being filled.
#[derive(Debug)]
pub struct Intake {
    chunks: mpsc::Sender<Bytes>,
    writer: JoinHandle<io::Result<Received>>,
    bytes: u64,
}

/// A file that was filled; not flushed yet.
#[derive(Debug)]
pub struct Received {
    /// The file.
    pub file: File,
    /// Of all its bytes, those that were there before too.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

impl Intake {
    /// Starts behind the `kept` bytes that the file has already; they are read again, for the digest.
    #[must_use]
    pub fn start(file: File, kept: u64) -> Self {
        let (chunks, incoming) = mpsc::channel(CHUNKS_WAITING_MAX);
        let writer = tokio::task::spawn_blocking(move || fill(file, kept, incoming));
        Self {
            chunks,
            writer,
            bytes: kept,
        }
    }

    /// How many bytes the file has, with those on their way to it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a chunk; waits while the disk is behind.
    ///
    /// # Errors
    /// The writer gave up; [`Self::finish`] says why.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Stopped> {
        self.bytes += chunk.len() as u64;
        self.chunks.send(chunk).await.map_err(|_| Stopped)
    }

    /// Waits until every chunk is written.
    ///
    /// # Errors
    /// What the file system said.
    pub async fn finish(self) -> io::Result<Received> {
        drop(self.chunks);
        self.writer
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the writer stopped on an internal error")))
    }
}

/// The writer gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file can't be written")]
pub struct Stopped;

fn fill(mut file: File, kept: u64, mut incoming: mpsc::Receiver<Bytes>) -> io::Result<Received> {
    let mut hasher = Sha256::new();
    file.seek(SeekFrom::Start(0))?;
    let mut left = kept;
    let mut buffer = vec![0; if kept == 0 { 0 } else { 1 << 20 }];
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..wanted])?;
        hasher.update(&buffer[..wanted]);
        left -= wanted as u64;
    }
    drop(buffer);
    file.set_len(kept)?;
    let mut bytes = kept;
    while let Some(chunk) = incoming.blocking_recv() {
        file.write_all(&chunk)?;
        hasher.update(&chunk);
        bytes += chunk.len() as u64;
    }
    Ok(Received {
        file,
        digest: Digest::new(hasher.finalize().into()),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_resumed_file_has_the_digest_of_all_its_bytes() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello, and rubbish").unwrap();
        let mut intake = Intake::start(file, 5);
        intake.write(Bytes::from_static(b" world")).await.unwrap();
        assert_eq!(intake.bytes(), 11);
        let mut received = intake.finish().await.unwrap();
        assert_eq!(received.bytes, 11);
        assert_eq!(received.digest, Digest::new(Sha256::digest(b"hello world").into()));
        let mut text = String::new();
        received.file.seek(SeekFrom::Start(0)).unwrap();
        received.file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello world");
    }

    #[tokio::test]
    async fn a_file_that_lost_its_bytes_is_an_error() {
        let intake = Intake::start(tempfile::tempfile().unwrap(), 5);
        assert_eq!(intake.finish().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
