//! What the server counts. Names start with `symphony_http_` and `symphony_audit_`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::audit::Counts;

/// By route, never by path: the number of series is bounded by the API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    method: &'static str,
    route: String,
    status: u16,
}

pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<ByRoute, Counter>,
    seconds: Histogram,
    pub(crate) connections: Gauge,
    pub(crate) watches: Gauge,
    pub(crate) uploaded_bytes: Counter,
    pub(crate) audit: Counts,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.000_25, 4.0, 9)),
            connections: Gauge::default(),
            watches: Gauge::default(),
            uploaded_bytes: Counter::default(),
            audit: Counts::default(),
        };
        {
            let mut registry = metrics.registry.lock().unwrap_or_else(PoisonError::into_inner);
            let prefix = registry.sub_registry_with_prefix("symphony_http");
            prefix.register(
                "requests",
                "Requests answered, by method, route and status",
                metrics.requests.clone(),
            );
            prefix.register("seconds", "Time until an answer began", metrics.seconds.clone());
            prefix.register("connections", "Connections that are open", metrics.connections.clone());
            prefix.register("watches", "Watches that are open", metrics.watches.clone());
            prefix.register(
                "uploaded_bytes",
                "Bytes of images taken in",
                metrics.uploaded_bytes.clone(),
            );
            let prefix = registry.sub_registry_with_prefix("symphony_audit");
            prefix.register("lines", "Lines of the audit log", metrics.audit.written.clone());
            prefix.register(
                "lost",
                "Lines of the audit log that could not be written",
                metrics.audit.lost.clone(),
            );
        }
        metrics
    }

    pub(crate) fn answered(&self, method: &Method, route: &str, status: u16, elapsed: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        self.requests
            .get_or_create(&ByRoute {
                method,
                route: route.to_owned(),
                status,
            })
            .inc();
        self.seconds.observe(elapsed.as_secs_f64());
    }

    /// Adds to the loops' metrics, in the same text format.
    pub(crate) fn encode(&self, text: &mut String) {
        if let Some(end) = text.strip_suffix("# EOF\n").map(str::len) {
            text.truncate(end);
        }
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string never fails.
        let _ = prometheus_client::encoding::text::encode(text, &registry);
    }
}
