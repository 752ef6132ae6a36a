//! What a plugin's calls cost, for metrics. Counted since the component was loaded; never read to decide anything.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The counters of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// Calls into the guest, by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// Faults by reason.
    pub faults: BTreeMap<&'static str, u64>,
    /// Fuel used.
    pub fuel: u64,
    /// Calls that took longer than the limit for slow ones.
    pub slow: u64,
    /// Instances made.
    pub instances: u64,
    /// Linear memory of the instance that was called last, in bytes.
    pub memory_bytes: usize,
    /// How long the last call took.
    pub last_call: Duration,
    /// How long all calls took.
    pub total_time: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<StatsSnapshot>);

impl Stats {
    pub(crate) fn called(&self, call: &'static str, fuel: u64, took: Duration, slow: Duration, memory_bytes: usize) {
        let mut stats = self.lock();
        *stats.calls.entry(call).or_default() += 1;
        stats.fuel = stats.fuel.saturating_add(fuel);
        stats.slow += u64::from(took > slow);
        stats.memory_bytes = memory_bytes;
        stats.last_call = took;
        stats.total_time = stats.total_time.saturating_add(took);
    }

    pub(crate) fn fault(&self, reason: &'static str) {
        *self.lock().faults.entry(reason).or_default() += 1;
    }

    pub(crate) fn instance(&self) {
        self.lock().instances += 1;
    }

    pub(crate) fn snapshot(&self) -> StatsSnapshot {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, StatsSnapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
