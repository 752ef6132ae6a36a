//! Watching keys change.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use crate::{Key, KeyValue, Keys, Result, Revision};

/// What to watch, and from when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The keys.
    pub keys: Keys,
    /// The first revision wanted: after a read at revision R, `R.next()`. It may be in the future.
    pub from: Revision,
    /// Whether each event brings what the key was before.
    pub prev_kv: bool,
}

impl Watch {
    /// Watches these keys from the revision `from` on.
    pub fn new(keys: Keys, from: Revision) -> Self {
        Self {
            keys,
            from,
            prev_kv: false,
        }
    }

    /// Watches one key.
    pub fn key(key: impl Into<Key>, from: Revision) -> Self {
        Self::new(Keys::one(key), from)
    }

    /// Watches all keys that start with `prefix`.
    pub fn prefix(prefix: impl Into<Key>, from: Revision) -> Self {
        Self::new(Keys::prefix(prefix), from)
    }

    /// Brings with each event what the key was before.
    #[must_use]
    pub fn with_prev_kv(self) -> Self {
        Self { prev_kv: true, ..self }
    }
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key was put.
    Put {
        /// As it is since.
        kv: KeyValue,
        /// As it was before, when asked for and it was.
        prev: Option<KeyValue>,
    },
    /// The key was deleted, by a transaction or the end of its lease.
    Delete {
        /// The key.
        key: Key,
        /// The revision of the deletion.
        mod_revision: Revision,
        /// As it was before, when asked for.
        prev: Option<KeyValue>,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { kv, .. } => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision at which it changed.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { kv, .. } => kv.mod_revision,
            Self::Delete { mod_revision, .. } => *mod_revision,
        }
    }

    /// Whether the key did not exist before.
    pub fn is_create(&self) -> bool {
        matches!(self, Self::Put { kv, .. } if kv.create_revision == kv.mod_revision)
    }

    /// What the key was before, when asked for and it was.
    pub fn prev(&self) -> Option<&KeyValue> {
        match self {
            Self::Put { prev, .. } | Self::Delete { prev, .. } => prev.as_ref(),
        }
    }
}

/// All watched changes of one revision, in the order they were made.
///
/// Without events it is a mark of progress: nothing that is watched changed up to this revision. A watch that resumes
/// begins at `revision.next()` in either case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchBatch {
    /// The revision.
    pub revision: Revision,
    /// The changes; empty in a mark of progress.
    pub events: Vec<Event>,
}

/// A running watch: batches with rising revisions, or one error and then the end.
///
/// It is pulled: a reader that does not read costs no memory, and finds what it missed in the store's history. It
/// ends with [`Error::Compacted`](crate::Error::Compacted) when that history is gone by then, and with
/// [`Error::Closed`](crate::Error::Closed) when the store closes; reading on after the end is harmless. [`next`](WatchStream::next) is safe to cancel.
pub struct WatchStream {
    batches: BoxStream<'static, Result<WatchBatch>>,
}

impl WatchStream {
    /// Makes a watch of a backend's stream.
    pub fn new(batches: impl Stream<Item = Result<WatchBatch>> + Send + 'static) -> Self {
        Self {
            batches: batches.fuse().boxed(),
        }
    }

    /// Waits for the next batch.
    pub async fn next(&mut self) -> Option<Result<WatchBatch>> {
        self.batches.next().await
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchStream").finish_non_exhaustive()
    }
}
