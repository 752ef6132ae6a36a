//! The time that leases and progress marks run on, injected so that tests need not wait. Never the wall clock.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

/// A clock that never goes back. Its zero is arbitrary and fixed for its life.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time since the clock's zero.
    fn now(&self) -> Duration;

    /// Completes once [`now`](Clock::now) is `at` or later; at once when it already is. Safe to drop at any time.
    fn wait_until(&self, at: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's monotonic clock, through tokio's timer.
#[derive(Debug)]
pub struct MonotonicClock {
    zero: Instant,
}

impl MonotonicClock {
    /// A clock whose zero is now.
    pub fn new() -> Self {
        Self { zero: Instant::now() }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.zero.elapsed()
    }

    fn wait_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep_until(self.zero + at).boxed()
    }
}

/// A clock for tests: it stands still until it is told to go on.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Duration>,
}

impl ManualClock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self {
            now: watch::Sender::new(Duration::ZERO),
        }
    }

    /// Moves the clock on by `step` and wakes all who wait for a time that has come.
    pub fn advance(&self, step: Duration) {
        self.now.send_modify(|now| *now += step);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.now.borrow()
    }

    fn wait_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        async move {
            if now.wait_for(|now| *now >= at).await.is_err() {
                // The clock is gone: that time never comes.
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }
}
