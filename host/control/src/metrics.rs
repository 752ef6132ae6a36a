//! What the loops count. Names start with `symphony_`.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Mutex;

/// A decision's source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByDecider {
    pub(crate) decider: String,
}

/// A fault of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByFault {
    pub(crate) plugin: String,
    pub(crate) digest: String,
    pub(crate) call: String,
    pub(crate) reason: String,
}

/// Counters, by clones of handles.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    pub(crate) placements: Family<ByDecider, Counter>,
    pub(crate) unplaceable: Counter,
    pub(crate) plugin_faults: Family<ByFault, Counter>,
    pub(crate) conflicts: Counter,
    pub(crate) reconciled: Counter,
    pub(crate) reconcile_failures: Counter,
    pub(crate) sessions: Gauge,
    pub(crate) place_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Arc::default(),
            placements: Family::default(),
            unplaceable: Counter::default(),
            plugin_faults: Family::default(),
            conflicts: Counter::default(),
            reconciled: Counter::default(),
            reconcile_failures: Counter::default(),
            sessions: Gauge::default(),
            place_seconds: Histogram::new(exponential_buckets(0.000_05, 4.0, 10)),
        };
        {
            let mut registry = metrics.lock();
            let prefix = registry.sub_registry_with_prefix("symphony");
            prefix.register(
                "placements",
                "Placements made durable, by who decided",
                metrics.placements.clone(),
            );
            prefix.register(
                "unplaceable",
                "Decisions that no candidate fits",
                metrics.unplaceable.clone(),
            );
            prefix.register(
                "plugin_faults",
                "Faults of plugins, by call and reason",
                metrics.plugin_faults.clone(),
            );
            prefix.register(
                "write_conflicts",
                "Writes of the loops that lost a race and were made again",
                metrics.conflicts.clone(),
            );
            prefix.register(
                "reconciled",
                "Resources brought to what their spec says",
                metrics.reconciled.clone(),
            );
            prefix.register(
                "reconcile_failures",
                "Passes over one resource that failed",
                metrics.reconcile_failures.clone(),
            );
            prefix.register("agent_sessions", "Agents that have a session", metrics.sessions.clone());
            prefix.register(
                "place_seconds",
                "One call of the scheduler, with the checks",
                metrics.place_seconds.clone(),
            );
        }
        metrics
    }

    /// Writes all metrics in the text format of `OpenMetrics`.
    pub(crate) fn encode(&self, text: &mut String) {
        // Writing to a string never fails.
        let _ = prometheus_client::encoding::text::encode(text, &self.lock());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
