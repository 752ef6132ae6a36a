//! What every route can reach.

use std::sync::Arc;

use symphony_api::Code;
use symphony_control::members::Members;
use symphony_core::name::Name;
use symphony_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::AuditLog;
use crate::config::{Limits, ServerConfig};
use crate::decisions::{Decisions, Office, Standing};
use crate::failure::{Answer, Failure};
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::token_book::TokenBook;

/// The state of a server. Cheap to clone.
pub(crate) type App = Arc<Shared>;

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    office: Arc<dyn Office>,
    pub(crate) members: Members,
    pub(crate) tls: Option<symphony_pki::Tls>,
    pub(crate) plain: bool,
    pub(crate) gate: Gate,
    pub(crate) audit: AuditLog,
    pub(crate) tokens: TokenBook,
    pub(crate) limits: Limits,
    pub(crate) manager: Name,
    /// Where the API listens, for the list of services.
    pub(crate) address: String,
    /// The secret of the agents' data ports.
    pub(crate) agent_token: Option<String>,
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
    pub(crate) backups: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(
        config: &ServerConfig,
        address: String,
        store: Arc<dyn Store>,
        office: Arc<dyn Office>,
        shutdown: CancellationToken,
    ) -> App {
        let limits = config.limits.clone();
        let seats = Seats {
            watches: Arc::new(Semaphore::new(limits.watches)),
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            plugin_uploads: Arc::new(Semaphore::new(limits.plugin_uploads)),
            sessions: Arc::new(Semaphore::new(limits.sessions)),
            consoles: Arc::new(Semaphore::new(limits.consoles)),
            backups: Arc::new(Semaphore::new(limits.backups)),
        };
        let members = Members::new(Arc::clone(&store));
        let metrics = Metrics::new();
        Arc::new(Self {
            audit: AuditLog::start(config.audit_log.clone(), metrics.audit.clone()),
            tokens: TokenBook::new(store.clone()),
            store,
            office,
            members,
            tls: config.tls.clone(),
            plain: config.plain,
            gate: Gate::new(&config.tokens),
            limits,
            manager: config.manager.clone(),
            address,
            agent_token: config.tokens.agent.clone(),
            seats,
            metrics,
            shutdown,
            tasks: TaskTracker::new(),
        })
    }
}

impl Shared {
    /// Who leads.
    pub(crate) fn standing(&self) -> Standing {
        self.office.standing()
    }

    /// The loops, when this manager leads. Requests that need them are handed on to the leader before they come here.
    pub(crate) fn decisions(&self) -> Answer<Arc<dyn Decisions>> {
        match self.office.standing() {
            Standing::Leading(decisions) => Ok(decisions),
            Standing::Following { .. } | Standing::Vacant => Err(Failure::new(
                Code::NoLeader,
                "this manager does not lead any more; ask again",
            )),
        }
    }
}
