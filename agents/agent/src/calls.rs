//! The calls under way: which may start, and what comes back.
//!
//! A call belongs to the session that brought it. When that is lost the call goes on, and its answer is dropped: the
//! next manager reads the facts. Nothing here starts work on its own.

mod readmission;

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use symphony_protocol::{Answer, CALLS_MAX, Call, Failure, FailureKind, Outcome, ToManager};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::executor::{Executor, ProgressSink};
use crate::ledger::{Ledger, ObjectKey, Stamp};

/// The calls under way.
#[derive(Clone)]
pub struct Calls {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Ledger,
    executors: RwLock<Vec<Arc<dyn Executor>>>,
    objects: Mutex<HashSet<ObjectKey>>,
    tasks: TaskTracker,
    abandon: CancellationToken,
    /// Woken whenever a call ends.
    ended: Notify,
    /// One readmission at a time.
    settling: tokio::sync::Mutex<()>,
}

/// An object that is being worked on.
struct Slot {
    shared: Arc<Shared>,
    object: ObjectKey,
}

impl Calls {
    /// None yet.
    #[must_use]
    pub fn new(ledger: Ledger, executors: Vec<Arc<dyn Executor>>) -> Self {
        let shared = Shared {
            ledger,
            executors: RwLock::new(executors),
            objects: Mutex::default(),
            tasks: TaskTracker::new(),
            abandon: CancellationToken::new(),
            ended: Notify::new(),
            settling: tokio::sync::Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Runs calls for one more role.
    pub fn add(&self, executor: Arc<dyn Executor>) {
        let mut executors = self.shared.executors.write().unwrap_or_else(PoisonError::into_inner);
        executors.push(executor);
    }

    /// How many are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.shared.objects().len()
    }

    /// Starts a call, or answers at once why not.
    pub async fn accept(&self, call: Call, uplink: &mpsc::Sender<ToManager>) {
        let id = call.id;
        match self.reserve(&call) {
            Ok(slot) => {
                let uplink = uplink.clone();
                self.shared.tasks.spawn(async move {
                    let result = slot.run(call, ProgressSink::new(id, uplink.clone())).await;
                    // The slot goes first: the next call on the object may come as soon as the answer is out.
                    drop(slot);
                    symphony_crash::point("agent.answer.before_send");
                    // No session, no answer: the next manager reads the facts.
                    let _ = uplink.send(ToManager::Answer(Answer { call: id, result })).await;
                });
            }
            Err(failure) => {
                let _ = uplink
                    .send(ToManager::Answer(Answer {
                        call: id,
                        result: Err(failure),
                    }))
                    .await;
            }
        }
    }

    /// Waits for the calls under way, at most this long; then drops them where they are.
    pub async fn end(&self, patience: Duration) {
        self.shared.tasks.close();
        if tokio::time::timeout(patience, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                calls = self.under_way(),
                "dropping calls under way; they are safe to repeat"
            );
            self.shared.abandon.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(1), self.shared.tasks.wait()).await;
        }
    }

    fn reserve(&self, call: &Call) -> Result<Slot, Failure> {
        let object = call.object.parse::<ObjectKey>();
        let object = object.map_err(|error| Failure::new(FailureKind::Other, error.to_string()))?;
        self.shared.ledger.check(object, Stamp::of(call))?;
        let mut objects = self.shared.objects();
        if objects.len() >= CALLS_MAX {
            return Err(Failure::new(
                FailureKind::Busy,
                format!("{CALLS_MAX} calls are under way"),
            ));
        }
        if !objects.insert(object) {
            return Err(Failure::new(
                FailureKind::Busy,
                format!("a call on {object} is under way"),
            ));
        }
        drop(objects);
        Ok(Slot {
            shared: Arc::clone(&self.shared),
            object,
        })
    }
}

impl Shared {
    fn executor(&self, call: &Call) -> Option<Arc<dyn Executor>> {
        let executors = self.executors.read().unwrap_or_else(PoisonError::into_inner);
        executors.iter().find(|executor| executor.handles(&call.work)).cloned()
    }

    fn executors(&self) -> Vec<Arc<dyn Executor>> {
        self.executors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn objects(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    async fn run(&self, call: Call, progress: ProgressSink) -> Result<Outcome, Failure> {
        let Some(executor) = self.shared.executor(&call) else {
            return Err(Failure::new(
                FailureKind::Missing,
                "this node has no service for that work",
            ));
        };
        if call.work.acts() {
            self.shared.ledger.act(self.object, Stamp::of(&call)).await?;
        }
        let id = call.id;
        tracing::debug!(call = %id, object = %self.object, "started");
        let work = AssertUnwindSafe(executor.run(call, progress)).catch_unwind();
        let result = tokio::select! {
            // Dropping the work is safe: every step may be cut anywhere.
            () = self.shared.abandon.cancelled() => Ok(Err(Failure::new(FailureKind::Lost, "the agent ends"))),
            result = work => result,
        };
        let result = result.unwrap_or_else(|_| Err(Failure::new(FailureKind::Other, "stopped on an internal error")));
        if let Err(failure) = &result {
            tracing::warn!(call = %id, object = %self.object, kind = ?failure.kind, "{failure}");
        }
        result
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.objects().remove(&self.object);
        self.shared.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
