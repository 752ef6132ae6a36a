//! The embedded store: one redb file, one writer thread, for a manager on a single node.
//!
//! ```text
//!   txn, grant, revoke, compact ──► bounded queue ──► writer thread: drain, evaluate in order, ONE commit, answer all
//!   get, range, read-only txn   ──► redb read transaction (a snapshot of what is committed)
//!   watch ◄── recent revisions in memory (one ring for all) ◄── writer, after the commit
//!         ◄── history in the file, for whoever is behind the ring
//!   lease clock (task) ──► expired leases ──► queue
//! ```
//!
//! Group commit: what queues up during one fsync is committed by the next, so a lone writer waits for about one fsync
//! and many writers share it. When the disk fails the store closes: what is on disk is then only known after opening
//! the file again, and an fsync is never retried. It never answers a write before it is durable.

mod apply;
mod feed;
mod leases;
mod open;
mod options;
mod read;
mod shared;
mod sweep;
mod tables;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::DropGuard;

pub use options::Options;

use crate::limits::{LEASE_TTL_MAX, LEASE_TTL_MIN};
use crate::{
    Error, Key, KeyValue, LeaseId, LeaseStatus, Range, RangeResult, Result, Revision, Status, Store, Txn, TxnResult,
    Watch, WatchStream,
};
use shared::Shared;
use writer::{Request, WriterThread};

/// A list of at most so many keys is read on the caller's thread; a longer one on a blocking thread.
const INLINE_KEYS_MAX: usize = 128;

/// A store in a file of this process. Dropping it waits for the commit under way, as [`Store::close`] does.
#[derive(Debug)]
pub struct Embedded {
    // Dropped in this order: without senders the writer ends, and the next field waits for it.
    requests: mpsc::Sender<Request>,
    _lease_clock: DropGuard,
    _writer: WriterThread,
    shared: Arc<Shared>,
    /// Room for queued requests in KiB, so that a full queue of large ones stays bounded.
    room: Arc<Semaphore>,
}

impl Embedded {
    async fn send<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(request(reply)).await.is_err() {
            return Err(Error::Closed);
        }
        // The writer drops a request unanswered only when it ends.
        answer.await.unwrap_or_else(|_| Err(self.shared.why_unanswered()))
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await;
        room.map_err(|_| Error::Closed)
    }
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<KeyValue>> {
        key.check()?;
        let range = Range { at, ..Range::key(key) };
        let answer = self.shared.read(|snapshot| snapshot.range(&range))?;
        Ok(answer.kvs.into_iter().next())
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        range.keys.check()?;
        let short = range.keys.as_one().is_some()
            || (!range.count_only && range.limit.is_some_and(|limit| limit <= INLINE_KEYS_MAX));
        if short {
            return self.shared.read(|snapshot| snapshot.range(&range));
        }
        self.shared.read_blocking(move |snapshot| snapshot.range(&range)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        txn.check()?;
        if txn.is_read_only() {
            return self.shared.read_blocking(move |snapshot| snapshot.txn(&txn)).await;
        }
        let room = self.room_for(txn.request_bytes()).await?;
        self.send(|reply| Request::Txn { txn, reply, room }).await
    }

    async fn watch(&self, watch: Watch) -> Result<WatchStream> {
        watch.keys.check()?;
        feed::watch(Arc::clone(&self.shared), watch)
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
            return Err(Error::InvalidTtl {
                min_secs: LEASE_TTL_MIN.as_secs(),
                max_secs: LEASE_TTL_MAX.as_secs(),
            });
        }
        self.send(|reply| Request::Grant { ttl, reply }).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.shared.check_open()?;
        self.shared.leases.keep_alive(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        self.send(|reply| Request::Revoke { lease, reply }).await
    }

    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        self.shared.check_open()?;
        let (granted, remaining) = self.shared.leases.time_left(lease)?;
        let keys = self
            .shared
            .read_blocking(move |snapshot| snapshot.lease_keys(lease))
            .await?;
        Ok(LeaseStatus {
            lease,
            granted,
            remaining,
            keys,
        })
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.send(|reply| Request::Compact { revision, reply }).await
    }

    async fn status(&self) -> Result<Status> {
        let heads = self.shared.read(|snapshot| Ok(snapshot.heads()))?;
        Ok(Status {
            revision: Revision(heads.revision),
            compact_revision: Revision(heads.compact),
            size_bytes: self.shared.size_bytes(),
        })
    }

    async fn close(&self) {
        // An error says that the writer has ended already, which is what is waited for.
        let _ = self.requests.send(Request::Close).await;
        self.shared.closed().await;
    }
}
