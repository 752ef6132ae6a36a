//! A store in memory with etcd's semantics, on tokio's clock; and doors to it, each of which can fail in its own way. A
//! request that was sent is done even when nobody waits for it any more.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use symphony_store::{
    Error, Key, KeyValue, LeaseId, LeaseStatus, Range, RangeResult, Result, Revision, Status, Store, Txn, TxnResult,
    Watch, WatchBatch, WatchStream,
};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::rng::Rng;
use state::State;

/// Called with each new revision, before anybody else sees it.
pub type OnCommit = Box<dyn FnMut(&WatchBatch) + Send>;

struct Core {
    state: Mutex<State>,
    on_commit: Mutex<Option<OnCommit>>,
    head: watch::Sender<u64>,
    leased: Notify,
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, after what time has done; then tells of each new revision.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        while let Some(lease) = { self.state().expired() } {
            self.commit(|state| state.revoke(lease))?;
        }
        self.commit(work)
    }

    fn commit<T>(&self, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::Closed);
        }
        let before = state.revision;
        let result = work(&mut state);
        let now = state.revision;
        if now > before
            && let Some(batch) = state.newest()
            && let Some(tell) = self.on_commit.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            tell(batch);
        }
        drop(state);
        self.head.send_if_modified(|head| std::mem::replace(head, now) != now);
        result
    }
}

/// How a door is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whoever is behind it does not run: nothing goes out or comes in before it runs again.
    pub frozen: bool,
    /// Whoever was behind it is dead: nothing more comes of it.
    pub dead: bool,
    /// Nobody can reach the store.
    pub down: bool,
    /// How many of a thousand answers to writes are lost.
    pub lost_permille: u64,
    /// How often the watches were broken.
    pub cuts: u64,
}

/// One way to the store. Clones share it.
#[derive(Clone)]
pub struct SimStore {
    core: Arc<Core>,
    condition: Arc<watch::Sender<Condition>>,
    /// None: answers come at once.
    rng: Option<Rng>,
    /// How many answers were lost.
    lost: Arc<Mutex<u64>>,
}

#[derive(Debug, thiserror::Error)]
#[error("simulated")]
struct Simulated;

fn unavailable(maybe_done: bool) -> Error {
    Error::Unavailable {
        maybe_done,
        source: Arc::new(Simulated),
    }
}

impl Default for SimStore {
    fn default() -> Self {
        Self::new()
    }
}

impl SimStore {
    /// An empty store. Within a runtime only.
    #[must_use]
    pub fn new() -> Self {
        let core = Arc::new(Core {
            state: Mutex::new(State::new()),
            on_commit: Mutex::new(None),
            head: watch::channel(1).0,
            leased: Notify::new(),
        });
        tokio::spawn(expire(Arc::downgrade(&core)));
        Self {
            core,
            condition: Arc::new(watch::channel(Condition::default()).0),
            rng: None,
            lost: Arc::default(),
        }
    }

    /// Another way to the same store, with delays.
    #[must_use]
    pub fn door(&self, rng: &Rng) -> Self {
        Self {
            core: Arc::clone(&self.core),
            condition: Arc::new(watch::channel(Condition::default()).0),
            rng: Some(rng.clone()),
            lost: Arc::default(),
        }
    }

    /// Changes how this door is.
    pub fn set(&self, change: impl FnOnce(&mut Condition)) {
        self.condition.send_modify(change);
    }

    /// How many answers were lost at this door.
    #[must_use]
    pub fn lost(&self) -> u64 {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who looks at each new revision.
    pub fn on_commit(&self, tell: OnCommit) {
        *self.core.on_commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    }

    async fn thawed(&self) {
        let mut condition = self.condition.subscribe();
        let _ = condition.wait_for(|now| !now.frozen).await;
    }

    async fn delay(&self) {
        if let Some(rng) = &self.rng {
            tokio::time::sleep(rng.millis(0, 3)).await;
        }
    }

    async fn call<T, W>(&self, writes: bool, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&mut State) -> Result<T> + Send + 'static,
    {
        let Some(rng) = self.rng.clone() else {
            // Others get their turn, as while a real store works.
            tokio::task::yield_now().await;
            return self.core.with(work);
        };
        let door = self.clone();
        let sent = tokio::spawn(async move {
            door.thawed().await;
            door.delay().await;
            let now = *door.condition.borrow();
            if now.dead {
                return Err(unavailable(writes));
            }
            if now.down {
                tokio::time::sleep(Duration::from_millis(200)).await;
                return Err(unavailable(false));
            }
            let result = door.core.with(work);
            door.delay().await;
            door.thawed().await;
            let now = *door.condition.borrow();
            if writes && result.is_ok() && (now.down || now.dead || rng.happens(now.lost_permille)) {
                *door.lost.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                return Err(unavailable(true));
            }
            result
        });
        sent.await.unwrap_or(Err(Error::Closed))
    }
}

/// Ends leases when their time is over, as long as there is a store.
async fn expire(core: std::sync::Weak<Core>) {
    loop {
        let Some(strong) = core.upgrade() else { return };
        let next = strong.state().next_expiry();
        let next = next
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(1))
            .min(Instant::now() + Duration::from_secs(1));
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(next) => {}
            () = strong.leased.notified() => {}
        }
        if strong.with(|_| Ok(())).is_err() {
            return;
        }
    }
}

struct Reader {
    door: SimStore,
    watch: Watch,
    next: u64,
    caught_up: bool,
    cuts: u64,
    head: watch::Receiver<u64>,
    condition: watch::Receiver<Condition>,
}

impl Reader {
    async fn next(&mut self) -> Result<WatchBatch> {
        loop {
            self.door.thawed().await;
            let head = *self.head.borrow_and_update();
            let now = *self.condition.borrow_and_update();
            if now.cuts != self.cuts || now.down || now.dead {
                return Err(unavailable(false));
            }
            let found = {
                let state = self.door.core.state();
                if state.closed {
                    return Err(Error::Closed);
                }
                if self.next <= head {
                    state.check_watch(self.next)?;
                }
                state.after(&self.watch.keys, self.watch.prev_kv, self.next)
            };
            if let Some(batch) = found {
                self.next = batch.revision.0 + 1;
                self.door.delay().await;
                return Ok(batch);
            }
            if self.next <= head + 1 && (!self.caught_up || self.next <= head) {
                (self.caught_up, self.next) = (true, head + 1);
                return Ok(WatchBatch {
                    revision: Revision(head),
                    events: Vec::new(),
                });
            }
            tokio::select! {
                biased;
                _ = self.head.changed() => {}
                _ = self.condition.changed() => {}
            }
        }
    }
}

#[async_trait]
impl Store for SimStore {
    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<KeyValue>> {
        key.check()?;
        let range = Range {
            at,
            ..Range::key(key.clone())
        };
        Ok(self.range(range).await?.kvs.into_iter().next())
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        self.call(false, move |state| state.range(&range)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        self.call(!txn.is_read_only(), move |state| state.txn(&txn)).await
    }

    async fn watch(&self, watch: Watch) -> Result<WatchStream> {
        let from = watch.from.0;
        self.call(false, move |state| state.check_watch(from)).await?;
        let condition = self.condition.subscribe();
        let cuts = condition.borrow().cuts;
        let reader = Reader {
            next: from.max(1),
            caught_up: false,
            cuts,
            head: self.core.head.subscribe(),
            condition,
            door: self.clone(),
            watch,
        };
        Ok(WatchStream::new(stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(batch) => Some((Ok(batch), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        let lease = self.call(true, move |state| state.grant(ttl)).await?;
        self.core.leased.notify_one();
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.call(false, move |state| state.keep_alive(lease)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        self.call(true, move |state| state.revoke(lease)).await
    }

    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        self.call(false, move |state| state.time_to_live(lease)).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.call(false, move |state| state.compact(revision)).await
    }

    async fn status(&self) -> Result<Status> {
        let status = |state: &mut State| {
            let (revision, compact_revision) = (Revision(state.revision), Revision(state.compact));
            Ok(Status {
                revision,
                compact_revision,
                size_bytes: 1,
            })
        };
        self.call(false, status).await
    }

    async fn close(&self) {
        self.core.state().closed = true;
        self.core.head.send_modify(|_| {});
    }
}
