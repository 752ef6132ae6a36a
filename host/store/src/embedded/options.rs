//! What can be set of an embedded store.

use std::sync::Arc;
use std::time::Duration;

use crate::{Clock, MonotonicClock};

/// The limits and habits of an embedded store. The defaults suit a manager on one node.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests that wait for the writer; a caller waits when there are more.
    pub queue_len: usize,
    /// Bytes of all requests that wait or are committed.
    pub queue_bytes: usize,
    /// Requests in one commit.
    pub batch_max: usize,
    /// Revisions of history that are kept; older ones are compacted from time to time. None keeps all.
    pub history_keep: Option<u64>,
    /// Rows of history that are removed in one commit, so that writers never wait long for compaction.
    pub sweep_rows: usize,
    /// Revisions kept in memory for watches; who is further behind reads the file.
    pub recent_revisions: usize,
    /// Bytes of those.
    pub recent_bytes: usize,
    /// Watches at a time.
    pub watches_max: usize,
    /// Leases at a time.
    pub leases_max: usize,
    /// How long a watch is silent before it gives a mark of progress.
    pub progress_interval: Duration,
    /// Bytes of the file kept in memory.
    pub cache_bytes: usize,
    /// From this file size on, commits are made so that opening after a kill needs no scan of the file.
    ///
    /// Such a commit needs two fsyncs instead of one. The scan reads the whole file, about 1.5 s for each GiB, so
    /// below 1 GiB the second fsync of every write is the worse bargain.
    pub quick_repair_from_bytes: u64,
    /// The clock that leases and marks of progress run on.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_len: 1024,
            queue_bytes: 32 * 1024 * 1024,
            batch_max: 512,
            history_keep: Some(100_000),
            sweep_rows: 256,
            recent_revisions: 4096,
            recent_bytes: 8 * 1024 * 1024,
            watches_max: 4096,
            leases_max: 10_000,
            progress_interval: Duration::from_secs(15),
            cache_bytes: 32 * 1024 * 1024,
            quick_repair_from_bytes: 1024 * 1024 * 1024,
            clock: Arc::new(MonotonicClock::new()),
        }
    }
}
