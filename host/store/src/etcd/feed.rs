//! The one follower of the cluster that all watches of this store share, and what it saw last.
//!
//! It begins with the first watch. From time to time it compares itself with the newest revision: a connection that
//! looks alive and brings nothing is given up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::etcd::cluster::Cluster;
use crate::etcd::fault::chain;
use crate::etcd::follow::Follow;
use crate::recent::Recent;
use crate::{Error, Result, Revision};

/// How far the feed is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Published {
    /// All revisions up to this one were seen; 0 before the feed began.
    pub(super) revision: u64,
    /// Whether the cluster answered when it was last asked.
    pub(super) alive: bool,
}

#[derive(Debug)]
pub(super) struct Feed {
    pub(super) cluster: Arc<Cluster>,
    pub(super) published: watch::Sender<Published>,
    recent: Mutex<Recent>,
    started: AtomicBool,
}

/// A question for the newest revision that is under way.
type Probe = BoxFuture<'static, Result<Revision>>;

impl Feed {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        let options = &cluster.options;
        Self {
            recent: Mutex::new(Recent::new(options.recent_revisions, options.recent_bytes)),
            published: watch::Sender::new(Published::default()),
            started: AtomicBool::new(false),
            cluster,
        }
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to follow, unless it does. It ends when the store closes.
    pub(super) fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::Relaxed) {
            let feed = Arc::clone(self);
            tokio::spawn(async move {
                let closed = feed.cluster.closed.clone();
                tokio::select! {
                    () = closed.cancelled() => {}
                    () = feed.run() => {}
                }
            });
        }
    }

    async fn run(&self) {
        loop {
            let error = match self.cluster.head().await {
                Ok(head) => self.follow_from(head).await,
                Err(error) => error,
            };
            self.published.send_modify(|published| published.alive = false);
            // Also when history is gone: then the feed was cut off for long, and begins anew at the newest revision.
            tracing::warn!(error = %chain(&error), "the watch of etcd begins anew");
            sleep(self.cluster.options.connect_timeout).await;
        }
    }

    /// Follows from the newest revision on, until that is no longer possible.
    async fn follow_from(&self, head: Revision) -> Error {
        self.recent().clear();
        let now = Published {
            revision: head.0,
            alive: true,
        };
        self.published.send_replace(now);
        let mut follow = Follow::new(Arc::clone(&self.cluster), head.0 + 1, true);
        let interval = self.cluster.options.check_interval;
        let mut due = Instant::now() + interval;
        let mut probe: Option<Probe> = None;
        // The newest revision when it was last asked for, while it has not been seen.
        let mut awaited: Option<u64> = None;
        loop {
            let asked = async {
                if let Some(probe) = &mut probe {
                    return Some(probe.await);
                }
                sleep_until(due).await;
                None
            };
            tokio::select! {
                batch = follow.next() => match batch {
                    Ok(batch) => {
                        let revision = batch.revision.0;
                        self.recent().push(batch);
                        self.published.send_modify(|published| published.revision = revision);
                        awaited = awaited.filter(|awaited| *awaited > revision);
                    }
                    Err(error) => return error,
                },
                head = asked => {
                    let Some(head) = head else {
                        let cluster = Arc::clone(&self.cluster);
                        probe = Some(async move { cluster.head().await }.boxed());
                        continue;
                    };
                    probe = None;
                    due = Instant::now() + interval;
                    self.published.send_modify(|published| published.alive = head.is_ok());
                    if let Ok(head) = head {
                        if awaited.is_some() {
                            follow.reopen("it is behind the newest revision and brings nothing");
                        }
                        awaited = (head.0 >= follow.next_revision()).then_some(head.0);
                    }
                }
            }
        }
    }
}
