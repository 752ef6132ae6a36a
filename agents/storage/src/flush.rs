//! Flushes a file while a program still writes it, so that the flush at the end has little left to do.
//!
//! The kernel would leave it all in memory until the end; then disk and processor work one after the other.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Written between two flushes.
const STRIDE_BYTES: u64 = 32 << 20;

/// Flushes as the writing goes on.
#[derive(Debug)]
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    flushed_bytes: u64,
    task: JoinHandle<io::Result<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    wake: Notify,
    // Every bit set: the writing has ended.
    written_bytes: AtomicU64,
}

impl Flusher {
    pub(crate) fn start(file: File) -> Self {
        let shared = Arc::new(Shared::default());
        let file = Arc::new(file);
        let task = tokio::spawn(run(Arc::clone(&shared), file));
        Self {
            shared,
            flushed_bytes: 0,
            task,
        }
    }

    /// Says how much is written.
    pub(crate) fn written(&mut self, bytes: u64) {
        if bytes >= self.flushed_bytes + STRIDE_BYTES {
            self.flushed_bytes = bytes;
            self.shared.written_bytes.store(bytes, Ordering::Release);
            self.shared.wake.notify_one();
        }
    }

    /// Flushes what is left. An error of any flush is an error here: after one, a later success means nothing.
    pub(crate) async fn finish(self) -> io::Result<()> {
        self.shared.written_bytes.store(u64::MAX, Ordering::Release);
        self.shared.wake.notify_one();
        self.task
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the flush stopped on an internal error")))
    }

    /// Gives up: the file is of no use any more.
    pub(crate) fn abandon(self) {
        self.task.abort();
    }
}

async fn run(shared: Arc<Shared>, file: Arc<File>) -> io::Result<()> {
    loop {
        shared.wake.notified().await;
        let is_last = shared.written_bytes.load(Ordering::Acquire) == u64::MAX;
        let file = Arc::clone(&file);
        let flush = move || if is_last { file.sync_all() } else { file.sync_data() };
        let flushed = tokio::task::spawn_blocking(flush).await;
        flushed.unwrap_or_else(|_| Err(io::Error::other("the flush stopped on an internal error")))?;
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_flush_is_never_skipped() {
        let mut flusher = Flusher::start(tempfile::tempfile().unwrap());
        for megabytes in 0..500 {
            flusher.written(megabytes << 20);
        }
        flusher.finish().await.unwrap();
        Flusher::start(tempfile::tempfile().unwrap()).finish().await.unwrap();
    }

    #[tokio::test]
    async fn a_failed_flush_is_told() {
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        assert!(Flusher::start(pipe).finish().await.is_err());
    }
}
