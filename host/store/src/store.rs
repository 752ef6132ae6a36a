//! The contract of a store.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Key, KeyValue, LeaseId, LeaseStatus, MemberHealth, MemberState, Range, RangeResult, Result, Revision, Txn,
    TxnResult, Watch, WatchStream,
};

/// How a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision that can be read, and after which can be watched; 0 when nothing was compacted.
    pub compact_revision: Revision,
    /// The bytes on disk, with what compaction freed and new writes will take again.
    pub size_bytes: u64,
}

/// A store with etcd's semantics. Used as `Arc<dyn Store>`.
///
/// Every call may answer [`Error::Closed`](crate::Error::Closed), [`Error::Unavailable`](crate::Error::Unavailable),
/// [`Error::Failed`](crate::Error::Failed) and [`Error::Corrupt`](crate::Error::Corrupt); the others are named. Reads
/// see every write that was answered before they began. A call whose future is dropped may still be done.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads one key, now or at a revision. Errors: `Compacted`, `FutureRevision`, `EmptyKey`, `TooLarge`.
    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<KeyValue>>;

    /// Reads many keys at one revision.
    ///
    /// Errors: `Compacted`, `FutureRevision`; `TooLarge` when the answer would pass
    /// [`RANGE_BYTES_MAX`](crate::limits::RANGE_BYTES_MAX): set a limit, or use [`read_all`].
    async fn range(&self, range: Range) -> Result<RangeResult>;

    /// Does a transaction, durably when it changes anything.
    ///
    /// Errors, after each of which nothing is changed: those of [`Txn::check`], `LeaseNotFound`, `LimitReached` (keys
    /// of one delete or of one lease). A condition that does not hold is told by [`TxnResult::succeeded`].
    async fn txn(&self, txn: Txn) -> Result<TxnResult>;

    /// Watches keys: first what happened since `watch.from`, then what happens, with no gap and no repetition.
    ///
    /// When it has caught up, and then from time to time while nothing happens, it gives an empty batch: a mark of
    /// progress. It begins after the compacted revision: what was changed at that one may be forgotten already.
    /// Errors: `Compacted`, `LimitReached` (watches).
    async fn watch(&self, watch: Watch) -> Result<WatchStream>;

    /// Grants a lease that ends after `ttl` without a keep-alive; a store may grant more (etcd: whole seconds, and no
    /// less than one and a half election timeouts). It survives a restart of the store, from which its time counts anew.
    /// Errors: `InvalidTtl`, `LimitReached` (leases).
    async fn grant(&self, ttl: Duration) -> Result<LeaseId>;

    /// Lets the lease's time count anew; answers its time to live. Errors: `LeaseNotFound`.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration>;

    /// Ends a lease and deletes its keys, all in one revision, which is answered (the newest one, when it had none).
    /// Errors: `LeaseNotFound`.
    async fn revoke(&self, lease: LeaseId) -> Result<Revision>;

    /// Looks at a lease. Errors: `LeaseNotFound`.
    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus>;

    /// Forgets history before `revision`, which stays readable itself (but not to watch). What is live is never
    /// forgotten.
    /// Errors: `Compacted` when that was done already, `FutureRevision`.
    async fn compact(&self, revision: Revision) -> Result<()>;

    /// Tells how the store is.
    async fn status(&self) -> Result<Status>;

    /// Asks each member how it is, side by side; one that does not answer is in the list with the reason. A store without
    /// members of its own answers for itself.
    async fn members(&self) -> Result<Vec<MemberHealth>> {
        let status = self.status().await?;
        Ok(vec![MemberHealth {
            endpoint: "embedded".to_owned(),
            answer: Ok(MemberState {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                is_old: false,
                leads: true,
                has_leader: true,
                size_bytes: status.size_bytes,
                used_bytes: status.size_bytes,
                alarms: Vec::new(),
            }),
        }])
    }

    /// Closes the store: what was taken is finished, and every later call and watch answers `Closed`. Closing twice is
    /// no error. On return the embedded store's file can be opened again.
    async fn close(&self);
}

/// Short forms for any store.
#[async_trait]
pub trait StoreExt: Store {
    /// Puts one key, whatever was there; answers the revision.
    async fn put(&self, key: impl Into<Key> + Send, value: impl Into<Bytes> + Send) -> Result<Revision> {
        let txn = Txn::new().put(key, value);
        Ok(self.txn(txn).await?.revision)
    }

    /// Deletes one key, if it is there; answers the revision.
    async fn delete(&self, key: impl Into<Key> + Send) -> Result<Revision> {
        let txn = Txn::new().delete(key);
        Ok(self.txn(txn).await?.revision)
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// Reads a range of any length in pages of one revision, `page` keys each: for what may pass
/// [`RANGE_BYTES_MAX`](crate::limits::RANGE_BYTES_MAX). The range's own limit ends it earlier; it reads forward only.
///
/// Errors: those of [`Store::range`]; `Compacted` also when compaction overtakes the reader.
pub async fn read_all(store: &dyn Store, range: Range, page: usize) -> Result<RangeResult> {
    let wanted = range.limit.unwrap_or(usize::MAX);
    let mut next = Range {
        reverse: false,
        limit: Some(wanted.min(page.max(1))),
        ..range
    };
    let mut all = store.range(next.clone()).await?;
    next.at = next.at.or(Some(all.revision));
    while all.more
        && all.kvs.len() < wanted
        && let Some(last) = all.kvs.last()
    {
        next.keys = next.keys.after(&last.key);
        next.limit = Some(page.max(1).min(wanted - all.kvs.len()));
        let answer = store.range(next.clone()).await?;
        all.kvs.extend(answer.kvs);
        all.more = answer.more;
    }
    if !all.more && !next.count_only {
        all.count = Some(all.kvs.len() as u64);
    }
    Ok(all)
}
