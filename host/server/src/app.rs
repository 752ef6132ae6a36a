//! What every route can reach.

use std::sync::Arc;

use symphony_core::name::Name;
use symphony_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Limits, ServerConfig};
use crate::decisions::Decisions;
use crate::gate::Gate;
use crate::metrics::Metrics;

/// The state of a server. Cheap to clone.
pub(crate) type App = Arc<Shared>;

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) decisions: Arc<dyn Decisions>,
    pub(crate) gate: Gate,
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
        Ok(Arc::new(Self {
            store,
            decisions,
            gate: Gate::new(&config.tokens),
            limits,
            manager: config.manager.clone(),
            address,
            data,
            seats,
            metrics: Metrics::new(),
            shutdown,
            tasks: TaskTracker::new(),
        }))
    }
}
