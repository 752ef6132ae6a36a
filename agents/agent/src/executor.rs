//! What a role of a node must be able to do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use symphony_core::id::CallId;
use symphony_core::node::{Compute, Pool};
use symphony_protocol::{Call, Failure, Notice, Outcome, Progress, ToManager, Work};
use tokio::sync::mpsc;

/// Notices that wait for a session.
const NOTICES_MAX: usize = 64;
/// Least time between two progress frames of one call.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the calls of one role.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Whether this work is its.
    fn handles(&self, work: &Work) -> bool;

    /// Does the work. Never called twice at the same time for one object. May be dropped at any await: everything that
    /// it does must be safe to do again.
    ///
    /// # Errors
    /// The first step that failed.
    async fn run(&self, call: Call, progress: ProgressSink) -> Result<Outcome, Failure>;

    /// The pools that it offers.
    fn pools(&self) -> Vec<Pool> {
        Vec::new()
    }

    /// What it has that may be on one node only, running or not: objects as in calls (`machine/ID`). Never what it only
    /// found.
    ///
    /// # Errors
    /// Nobody knows what there is.
    async fn owned(&self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    /// Ends what [`Self::owned`] told of, and forgets it; volumes stay. May be repeated.
    ///
    /// # Errors
    /// It may still run.
    async fn discard(&self, object: &str) -> Result<(), Failure> {
        let _ = object;
        Ok(())
    }

    /// What it has for machines.
    fn compute(&self) -> Option<Compute> {
        None
    }

    /// Programs that it may run to cut the power of other nodes.
    fn fence_programs(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it serves on the data port. The port asks for the token before it comes here.
    fn routes(&self) -> Router {
        Router::new()
    }
}

/// Where an executor says how far a call is. Frames over the rate, or for a session that is gone or slow, are dropped.
#[derive(Debug, Clone)]
pub struct ProgressSink {
    call: CallId,
    uplink: mpsc::Sender<ToManager>,
    last: Arc<Mutex<Option<Instant>>>,
}

impl ProgressSink {
    /// For one call of one session.
    #[must_use]
    pub fn new(call: CallId, uplink: mpsc::Sender<ToManager>) -> Self {
        Self {
            call,
            uplink,
            last: Arc::default(),
        }
    }

    /// Says how far a step is, in bytes; `total_bytes` is 0 when nobody knows.
    pub fn report(&self, step: usize, action: &str, done_bytes: u64, total_bytes: u64) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.duration_since(last) < PROGRESS_INTERVAL) {
            return;
        }
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        let progress = Progress {
            call: self.call,
            step,
            action: action.to_owned(),
            done_bytes,
            total_bytes,
        };
        if self.uplink.try_send(ToManager::Progress(progress)).is_ok() {
            *last = Some(now);
        }
    }
}

/// Where an executor says that something happened to an object by itself. What does not fit is dropped: the manager
/// looks at every object now and then anyway.
#[derive(Debug, Clone)]
pub struct NoticeSink(mpsc::Sender<Notice>);

/// What was noticed, on its way to the manager.
#[derive(Debug)]
pub struct Notices(mpsc::Receiver<Notice>);

/// A way for notices: one end for the executors, one for the agent.
#[must_use]
pub fn notices() -> (NoticeSink, Notices) {
    let (sink, notices) = mpsc::channel(NOTICES_MAX);
    (NoticeSink(sink), Notices(notices))
}

impl NoticeSink {
    /// Says that something happened to an object (`machine/ID`). Never waits.
    pub fn notice(&self, object: String) {
        let _ = self.0.try_send(Notice { object });
    }
}

impl Notices {
    /// The next one; nothing when nobody can notice anything any more. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn notices_are_bounded_and_never_wait() {
        let (sink, mut notices) = notices();
        for count in 0..10 * NOTICES_MAX {
            sink.notice(format!("machine/{count}"));
        }
        drop(sink);
        let mut heard = 0;
        while let Some(notice) = notices.next().await {
            assert_eq!(notice.object, format!("machine/{heard}"));
            heard += 1;
        }
        assert_eq!(heard, NOTICES_MAX);
    }

    #[test]
    fn progress_is_thinned_and_never_waits() {
        let (uplink, mut frames) = mpsc::channel(1);
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let sink = ProgressSink::new(id, uplink.clone());
        for done in 0..1000 {
            sink.report(0, "fetch-image", done, 1000);
        }
        assert!(matches!(
            frames.try_recv(),
            Ok(ToManager::Progress(Progress { done_bytes: 0, .. }))
        ));
        // At most one more: a thousand calls may take longer than the interval on a busy machine.
        assert!(frames.try_recv().is_err() || frames.try_recv().is_err());
        drop(frames);
        ProgressSink::new(id, uplink).report(0, "x", 0, 0);
    }
}
