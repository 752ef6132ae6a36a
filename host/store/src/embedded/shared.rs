//! What the writer, the readers and the watches of one store share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use redb::{Database, ReadTransaction, ReadableDatabase as _};
use tokio::sync::{Semaphore, watch};

use crate::embedded::Options;
use crate::embedded::leases::Leases;
use crate::embedded::read::{Overflow, View};
use crate::embedded::tables::{Heads, LEASE_KEYS, LIVE, LOG, META, VERSIONS, failed};
use crate::limits::LEASE_KEYS_MAX;
use crate::recent::Recent;
use crate::{Error, Key, LeaseId, Op, OpResult, Range, RangeResult, Result, Revision, Txn, TxnResult};

/// How far the store is: what watches wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) revision: u64,
    pub(super) state: State,
}

/// Whether the store serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// No new call is served, those under way are.
    Closing,
    /// The file is closed.
    Closed,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// None once closed. The lock is held for as long as a transaction, never over an await.
    database: RwLock<Option<Database>>,
    failure: OnceLock<Error>,
    recent: Mutex<Recent>,
    pub(super) published: watch::Sender<Published>,
    pub(super) leases: Leases,
    pub(super) watch_slots: Arc<Semaphore>,
    pub(super) options: Options,
    path: Option<PathBuf>,
}

impl Shared {
    pub(super) fn new(
        database: Database,
        path: Option<PathBuf>,
        heads: Heads,
        leases: Leases,
        options: Options,
    ) -> Self {
        Self {
            database: RwLock::new(Some(database)),
            failure: OnceLock::new(),
            recent: Mutex::new(Recent::new(options.recent_revisions, options.recent_bytes)),
            published: watch::Sender::new(Published {
                revision: heads.revision,
                state: State::Open,
            }),
            leases,
            watch_slots: Arc::new(Semaphore::new(options.watches_max)),
            options,
            path,
        }
    }

    /// The database, for one transaction; none once closed.
    pub(super) fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a snapshot of what is committed.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Snapshot) -> Result<T>) -> Result<T> {
        self.check_open()?;
        let database = self.database();
        let Some(database) = database.as_ref() else {
            return Err(Error::Closed);
        };
        let tx = database.begin_read().map_err(failed)?;
        let heads = Heads::load(&tx.open_table(META).map_err(failed)?)?;
        read(&Snapshot { tx, heads })
    }

    /// Reads on a thread that may be blocked.
    pub(super) async fn read_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Snapshot) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || shared.read(read)).await;
        done.unwrap_or(Err(Error::Closed))
    }

    /// The bytes of the file; of a store without a file, what its database holds is not told.
    pub(super) fn size_bytes(&self) -> u64 {
        let size = self.path.as_ref().and_then(|path| std::fs::metadata(path).ok());
        size.map_or(0, |metadata| metadata.len())
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.published.borrow().state == State::Open {
            return Ok(());
        }
        Err(Error::Closed)
    }

    /// Why a request that was handed to the writer got no answer: it was not begun, unless the writer panicked.
    pub(super) fn why_unanswered(&self) -> Error {
        self.failure.get().cloned().unwrap_or(Error::Closed)
    }

    /// Remembers that the writer panicked.
    pub(super) fn fail(&self, error: Error) {
        // It does so once only.
        let _ = self.failure.set(error);
    }

    /// Serves no new call and ends all watches.
    pub(super) fn refuse(&self) {
        self.set_state(State::Closing);
    }

    /// Ends all watches, and closes the file when the readers under way are done.
    pub(super) fn shut(&self) {
        self.refuse();
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(database) = database
            && let Err(error) = database.close()
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "store file was not closed cleanly"
            );
        }
        self.set_state(State::Closed);
    }

    fn set_state(&self, state: State) {
        self.published.send_modify(|published| published.state = state);
    }

    /// Completes once the file is closed.
    pub(super) async fn closed(&self) {
        let mut published = self.published.subscribe();
        // The sender is in `self`, so that waiting cannot fail.
        let _ = published.wait_for(|published| published.state == State::Closed).await;
    }
}

/// One state of the store, for as long as it is looked at.
pub(super) struct Snapshot {
    tx: ReadTransaction,
    heads: Heads,
}

impl Snapshot {
    pub(super) fn heads(&self) -> Heads {
        self.heads
    }

    pub(super) fn range(&self, range: &Range) -> Result<RangeResult> {
        self.range_or(range, Overflow::Fails)
    }

    fn range_or(&self, range: &Range, overflow: Overflow) -> Result<RangeResult> {
        let live = self.tx.open_table(LIVE).map_err(failed)?;
        let versions = self.tx.open_table(VERSIONS).map_err(failed)?;
        let view = View {
            live: &live,
            versions: &versions,
        };
        view.range(range, self.heads, overflow)
    }

    /// Does a transaction that changes nothing in either branch.
    pub(super) fn txn(&self, txn: &Txn) -> Result<TxnResult> {
        let live = self.tx.open_table(LIVE).map_err(failed)?;
        let versions = self.tx.open_table(VERSIONS).map_err(failed)?;
        let view = View {
            live: &live,
            versions: &versions,
        };
        let succeeded = view.holds(&txn.compares)?;
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            // The caller made sure that there is nothing else.
            if let Op::Get { range } = op {
                results.push(OpResult::Get(view.range(
                    &range.in_txn(),
                    self.heads,
                    Overflow::Cuts,
                )?));
            }
        }
        Ok(TxnResult {
            succeeded,
            revision: Revision(self.heads.revision),
            results,
        })
    }

    /// The keys that go with a lease.
    pub(super) fn lease_keys(&self, lease: LeaseId) -> Result<Vec<Key>> {
        let table = self.tx.open_table(LEASE_KEYS).map_err(failed)?;
        let rows = table
            .range::<(u64, &[u8])>((lease.0, &[][..])..(lease.0 + 1, &[][..]))
            .map_err(failed)?;
        let keys = rows.take(LEASE_KEYS_MAX);
        keys.map(|row| Ok(Key::from(row.map_err(failed)?.0.value().1)))
            .collect()
    }

    /// Calls `each` for what changed from revision `from` on, in order, until it answers false.
    pub(super) fn each_change(&self, from: u64, mut each: impl FnMut(u64, &[u8]) -> Result<bool>) -> Result<()> {
        let log = self.tx.open_table(LOG).map_err(failed)?;
        for row in log.range((from, 0)..).map_err(failed)? {
            let (place, key) = row.map_err(failed)?;
            if !each(place.value().0, key.value())? {
                break;
            }
        }
        Ok(())
    }

    /// The versions of keys, for history.
    pub(super) fn with_view<T>(&self, look: impl FnOnce(&SnapshotView<'_>) -> Result<T>) -> Result<T> {
        let live = self.tx.open_table(LIVE).map_err(failed)?;
        let versions = self.tx.open_table(VERSIONS).map_err(failed)?;
        look(&View {
            live: &live,
            versions: &versions,
        })
    }
}

pub(super) type SnapshotView<'v> = View<
    'v,
    redb::ReadOnlyTable<&'static [u8], crate::embedded::tables::LiveRow>,
    redb::ReadOnlyTable<(&'static [u8], u64), &'static [u8]>,
>;
