//! When leases end. The file knows which there are and how long each lives; the deadlines are in memory only, so that a
//! keep-alive costs no write and every lease begins anew when the store is opened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::embedded::shared::Shared;
use crate::embedded::writer::Request;
use crate::{Clock, Error, LeaseId, Result};

#[derive(Debug)]
pub(super) struct Leases {
    timers: Mutex<HashMap<LeaseId, Timer>>,
    clock: Arc<dyn Clock>,
    granted: Notify,
}

#[derive(Debug)]
struct Timer {
    ttl: Duration,
    ends: Duration,
    /// Its time is over, and the writer knows: nothing keeps it alive any more.
    ending: bool,
}

impl Leases {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            timers: Mutex::new(HashMap::new()),
            clock,
            granted: Notify::new(),
        }
    }

    fn timers(&self) -> MutexGuard<'_, HashMap<LeaseId, Timer>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self, lease: LeaseId, ttl: Duration) {
        let ends = self.clock.now() + ttl;
        let timer = Timer {
            ttl,
            ends,
            ending: false,
        };
        self.timers().insert(lease, timer);
        self.granted.notify_one();
    }

    pub(super) fn end(&self, lease: LeaseId) {
        self.timers().remove(&lease);
    }

    pub(super) fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        let now = self.clock.now();
        let mut timers = self.timers();
        let timer = timers.get_mut(&lease).filter(|timer| timer.lives(now));
        let timer = timer.ok_or(Error::LeaseNotFound { lease })?;
        timer.ends = now + timer.ttl;
        Ok(timer.ttl)
    }

    /// The time to live that was granted, and what is left of it.
    pub(super) fn time_left(&self, lease: LeaseId) -> Result<(Duration, Duration)> {
        let now = self.clock.now();
        let timers = self.timers();
        let timer = timers.get(&lease).filter(|timer| timer.lives(now));
        let timer = timer.ok_or(Error::LeaseNotFound { lease })?;
        Ok((timer.ttl, timer.ends.saturating_sub(now)))
    }

    fn next_end(&self) -> Option<Duration> {
        let timers = self.timers();
        timers
            .values()
            .filter(|timer| !timer.ending)
            .map(|timer| timer.ends)
            .min()
    }

    /// The leases whose time is over, each only once.
    fn take_due(&self) -> Vec<LeaseId> {
        let now = self.clock.now();
        let mut timers = self.timers();
        let due = timers
            .iter_mut()
            .filter(|(_, timer)| !timer.ending && timer.ends <= now);
        due.map(|(lease, timer)| {
            timer.ending = true;
            *lease
        })
        .collect()
    }
}

impl Timer {
    fn lives(&self, now: Duration) -> bool {
        !self.ending && now < self.ends
    }
}

/// Hands leases whose time is over to the writer, until cancelled or the writer is gone.
pub(super) async fn run(shared: Arc<Shared>, requests: mpsc::WeakSender<Request>, cancel: CancellationToken) {
    let leases = &shared.leases;
    loop {
        let next_end = leases.next_end();
        let due = async {
            match next_end {
                Some(at) => leases.clock.wait_until(at).await,
                None => std::future::pending().await,
            }
        };
        // Each arm only waits: a grant that comes in between leaves its notice behind.
        tokio::select! {
            () = cancel.cancelled() => return,
            () = leases.granted.notified() => continue,
            () = due => {}
        }
        for lease in leases.take_due() {
            let Some(requests) = requests.upgrade() else {
                return;
            };
            if requests.send(Request::Expire { lease }).await.is_err() {
                return;
            }
        }
    }
}
