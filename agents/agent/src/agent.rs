//! The agent as a whole: its parts put together, from the start to the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use symphony_core::counter::Epoch;
use symphony_protocol::{Hello, PROTOCOL_VERSION};
use tokio_util::sync::CancellationToken;

use crate::calls::Calls;
use crate::config::Config;
use crate::data::DataPort;
use crate::executor::{Executor, Notices};
use crate::ledger::{Ledger, LedgerError};
use crate::session::Session;

/// How long the calls under way have when the agent is asked to end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent's folder.
    #[error("the agent's folder can't be opened")]
    Folder(#[source] io::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The data port.
    #[error("the data port can't listen on {listen}")]
    Listen {
        /// What was asked for.
        listen: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The HTTP client.
    #[error("the session can't be prepared")]
    Client(#[source] reqwest::Error),
}

/// What to say when the data port serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The node's name.
    pub node: String,
    /// `http://ADDRESS:PORT`.
    pub data_url: String,
}

/// An agent that is prepared and does nothing yet.
pub struct Agent {
    config: Config,
    port: DataPort,
    routes: Router,
    session: Session,
    calls: Calls,
}

impl Agent {
    /// Opens the ledger and the data port. `notices` is what the executors notice.
    ///
    /// # Errors
    /// One of them can't be had.
    pub async fn prepare(
        config: Config,
        executors: Vec<Arc<dyn Executor>>,
        notices: Notices,
    ) -> Result<Self, AgentError> {
        let folder = Dir::open_ambient_dir(&config.folder, ambient_authority()).map_err(AgentError::Folder)?;
        let ledger = Ledger::open(folder)?;
        let agent = &config.agent;
        let port = DataPort::bind(&agent.listen, &agent.manager).await;
        let port = port.map_err(|source| AgentError::Listen {
            listen: agent.listen.clone(),
            source,
        })?;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            node: agent.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            roles: agent.roles.clone(),
            pools: executors.iter().flat_map(|executor| executor.pools()).collect(),
            compute: executors.iter().find_map(|executor| executor.compute()),
            labels: agent.labels.clone(),
            data_url: port.url().to_owned(),
            epoch_seen: Epoch(0),
        };
        let routes = executors
            .iter()
            .fold(Router::new(), |routes, executor| routes.merge(executor.routes()));
        let calls = Calls::new(ledger.clone(), executors);
        let session = Session::new(&agent.manager, &agent.token, hello, ledger, calls.clone(), notices);
        let session = session.map_err(AgentError::Client)?;
        Ok(Self {
            config,
            port,
            routes,
            session,
            calls,
        })
    }

    /// What to say once it runs.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready {
            node: self.config.agent.name.to_string(),
            data_url: self.port.url().to_owned(),
        }
    }

    /// Runs until the end is asked for; the calls under way then have a few seconds.
    pub async fn run(self, end: CancellationToken) {
        let served = tokio::spawn({
            let (token, end) = (self.config.agent.token.clone(), end.clone());
            async move { self.port.serve(self.routes, &token, end).await }
        });
        self.session.keep(end).await;
        self.calls.end(END_PATIENCE).await;
        if served.await.is_err() {
            tracing::error!("the data port stopped on an internal error");
        }
    }
}
