//! What every route can reach.

use std::sync::Arc;

use symphony_core::name::Name;
use symphony_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::AuditLog;
use crate::config::{Limits, ServerConfig};
use crate::decisions::Decisions;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::token_book::TokenBook;

/// The state of a server. Cheap to clone.
pub(crate) type App = Arc<Shared>;

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) decisions: Arc<dyn Decisions>,
    pub(crate) gate: Gate,
    pub(crate) audit: AuditLog,
    pub(crate) tokens: TokenBook,
    /// Hash of the certificate of the cluster's authority, for new tokens.
    pub(crate) ca_sha256: Option<[u8; 32]>,
    pub(crate) limits: Limits,
    pub(crate) manager: Name,
    /// Where the API listens, for the list of services.
    pub(crate) address: String,
    /// Speaks to the agents' data ports.
    pub(crate) data: reqwest::Client,
    pub(crate) seats: Seats,
    pub(crate) metrics: Metrics,
    /// Ends watches, sessions and consoles.
    pub(crate) shutdown: CancellationToken,
    /// What goes on after an answer was sent.
    pub(crate) tasks: TaskTracker,
}

/// How many of each may be under way.
pub(crate) struct Seats {
    pub(crate) watches: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) plugin_uploads: Arc<Semaphore>,
    pub(crate) sessions: Arc<Semaphore>,
    pub(crate) consoles: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(
        config: &ServerConfig,
        address: String,
        store: Arc<dyn Store>,
        decisions: Arc<dyn Decisions>,
        shutdown: CancellationToken,
    ) -> Result<App, reqwest::Error> {
        let limits = config.limits.clone();
        let seats = Seats {
            watches: Arc::new(Semaphore::new(limits.watches)),
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            plugin_uploads: Arc::new(Semaphore::new(limits.plugin_uploads)),
            sessions: Arc::new(Semaphore::new(limits.sessions)),
            consoles: Arc::new(Semaphore::new(limits.consoles)),
        };
        let data = reqwest::Client::builder()
            .tls_backend_preconfigured(symphony_pki::trusting_nobody())
            // The agents' token and the images are for the agents alone.
            .no_proxy()
            .connect_timeout(std::time::Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let metrics = Metrics::new();
        Ok(Arc::new(Self {
            audit: AuditLog::start(config.audit_log.clone(), metrics.audit.clone()),
            tokens: TokenBook::new(store.clone()),
            ca_sha256: config.ca_sha256,
            store,
            decisions,
            gate: Gate::new(&config.tokens),
            limits,
            manager: config.manager.clone(),
            address,
            data,
            seats,
            metrics,
            shutdown,
            tasks: TaskTracker::new(),
        }))
    }
}
