//! All records of the store, decoded, as of one revision. One task follows the store's watch and applies what comes; the
//! loops read. When the watch ends (compaction, a closed store) everything is read anew.

mod state;

use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use symphony_store::{Keys, Range, Revision, Store, Watch, read_all};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use state::Stored;
pub(crate) use state::{Exporting, ResourceKey, SegmentKey, State, all_ports};

/// How many records are read at a time when everything is read.
const PAGE: usize = 1_000;
/// Every key of this version.
const ROOT: &str = "v1/";
/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_millis(200);

/// The records, decoded. Cheap to clone.
#[derive(Clone)]
pub struct View {
    state: Arc<RwLock<State>>,
    revision: watch::Receiver<Revision>,
}

impl View {
    /// Reads everything, then follows the store until `stop`.
    pub(crate) async fn follow(store: Arc<dyn Store>, stop: CancellationToken) -> Result<Self, symphony_store::Error> {
        let first = read(store.as_ref()).await?;
        let (sender, revision) = watch::channel(first.revision());
        let state = Arc::new(RwLock::new(first));
        let follower = Follower {
            store,
            state: Arc::clone(&state),
            sender,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follower.run() => {
                    // Without the store there is nothing to do; whoever started this manager can start it again.
                    tracing::error!("the store has closed itself; the manager ends");
                    stop.cancel();
                }
            }
        });
        Ok(Self { state, revision })
    }

    /// The state now. Never hold it over an await.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Wakes whenever anything changed.
    pub(crate) fn changes(&self) -> watch::Receiver<Revision> {
        self.revision.clone()
    }

    /// Waits until the view has seen a revision: after a write of one's own, before the next look.
    pub(crate) async fn seen(&self, revision: Revision) {
        let mut changes = self.revision.clone();
        // The sender lives as long as the manager; when it is gone, waiting is over anyway.
        let _ = changes.wait_for(|seen| *seen >= revision).await;
    }
}

struct Follower {
    store: Arc<dyn Store>,
    state: Arc<RwLock<State>>,
    sender: watch::Sender<Revision>,
}

impl Follower {
    async fn run(self) {
        loop {
            let from = self.sender.borrow().next();
            match self.store.watch(Watch::new(Keys::prefix(ROOT), from)).await {
                Ok(mut stream) => {
                    while let Some(Ok(batch)) = stream.next().await {
                        self.state
                            .write()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .apply(&batch);
                        self.sender.send_replace(batch.revision);
                    }
                }
                Err(symphony_store::Error::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the watch could not start");
                    tokio::time::sleep(RETRY).await;
                }
            }
            match read(self.store.as_ref()).await {
                Ok(fresh) => {
                    let revision = fresh.revision();
                    *self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
                    self.sender.send_replace(revision);
                }
                Err(symphony_store::Error::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the store could not be read");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

async fn read(store: &dyn Store) -> Result<State, symphony_store::Error> {
    let all = read_all(store, Range::prefix(ROOT), PAGE).await?;
    let mut state = State::new(all.revision);
    for kv in &all.kvs {
        state.put(kv);
    }
    Ok(state)
}
