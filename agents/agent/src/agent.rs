//! The agent as a whole: its parts put together, from the start to the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use symphony_core::counter::Epoch;
use symphony_core::network::Underlay;
use symphony_core::node::Role;
use symphony_pki::Tls;
use symphony_protocol::{Hello, PROTOCOL_VERSION};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::calls::Calls;
use crate::config::Config;
use crate::data::{DataPort, Routes};
use crate::executor::{Executor, Notices};
use crate::ledger::{Ledger, LedgerError};
use crate::membership::Membership;
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
    /// `https://ADDRESS:PORT`.
    pub data_url: String,
}

/// An agent that is prepared and does nothing yet.
pub struct Agent {
    port: DataPort,
    tls: Tls,
    membership: Membership,
    session: Session,
    calls: Calls,
    roles: Roles,
}

/// What an agent does, to which more can be added while it runs. Clones are one.
#[derive(Clone)]
pub struct Roles {
    calls: Calls,
    routes: Routes,
    hello: Arc<watch::Sender<Hello>>,
}

impl Roles {
    /// Fills one more role; the manager hears of it.
    pub fn add(&self, role: Role, executor: Arc<dyn Executor>) {
        self.take_in(Some(role), executor);
    }

    /// Does one thing more that needs no role.
    pub fn add_beside(&self, executor: Arc<dyn Executor>) {
        self.take_in(None, executor);
    }

    fn take_in(&self, role: Option<Role>, executor: Arc<dyn Executor>) {
        let (pools, compute, programs) = (executor.pools(), executor.compute(), executor.fence_programs());
        self.routes.add(executor.routes());
        self.calls.add(executor);
        self.hello.send_modify(|hello| {
            hello.roles.extend(role);
            hello.pools.extend(pools);
            hello.fence_programs.extend(programs);
            if compute.is_some() {
                hello.compute = compute;
            }
        });
    }

    /// Says anew what it fills: the node was let in for other roles.
    pub fn say_again(&self) {
        self.hello.send_modify(|_| {});
    }

    /// What it fills.
    #[must_use]
    pub fn filled(&self) -> Vec<Role> {
        self.hello.borrow().roles.clone()
    }
}

impl Agent {
    /// Opens the ledger and the data port of a node that is in a cluster; it fills no role yet. `notices` is what the
    /// executors will notice.
    ///
    /// # Errors
    /// One of them can't be had.
    pub async fn prepare(
        config: &Config,
        membership: Membership,
        tls: Tls,
        notices: Notices,
    ) -> Result<Self, AgentError> {
        let folder = Dir::open_ambient_dir(&config.folder, ambient_authority()).map_err(AgentError::Folder)?;
        let ledger = Ledger::open(folder)?;
        let agent = &config.agent;
        let managers: Vec<String> = membership.managers().iter().map(ToString::to_string).collect();
        let port = DataPort::bind(&agent.listen, &managers).await;
        let port = port.map_err(|source| AgentError::Listen {
            listen: agent.listen.clone(),
            source,
        })?;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            node: membership.name().clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            roles: Vec::new(),
            pools: Vec::new(),
            compute: None,
            labels: agent.labels.clone(),
            data_url: port.url().to_owned(),
            fence_programs: Vec::new(),
            underlay: agent
                .underlay
                .clone()
                .or_else(|| Underlay::of_data_url(port.url()).map(String::from)),
            epoch_seen: Epoch(0),
            revision_seen: 0,
            admission: None,
        };
        let calls = Calls::new(ledger.clone(), Vec::new());
        let (hello, heard) = watch::channel(hello);
        let session = Session::new(membership.clone(), &tls, heard, ledger, calls.clone(), notices);
        let session = session.map_err(AgentError::Client)?;
        let roles = Roles {
            calls: calls.clone(),
            routes: Router::new().into(),
            hello: Arc::new(hello),
        };
        Ok(Self {
            port,
            tls,
            membership,
            session,
            calls,
            roles,
        })
    }

    /// What it does, to add to.
    #[must_use]
    pub fn roles(&self) -> Roles {
        self.roles.clone()
    }

    /// What to say once it runs.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready {
            node: self.membership.name().to_string(),
            data_url: self.port.url().to_owned(),
        }
    }

    /// Runs until the end is asked for; the calls under way then have a few seconds.
    pub async fn run(self, end: CancellationToken) {
        let served = tokio::spawn({
            let (routes, revoked, end) = (self.roles.routes.clone(), self.membership.revoked(), end.clone());
            async move { self.port.serve(routes, &self.tls, revoked, end).await }
        });
        let renewed = self.membership.keep_renewed(&end);
        tokio::join!(self.session.keep(end.clone()), renewed);
        self.calls.end(END_PATIENCE).await;
        if served.await.is_err() {
            tracing::error!("the data port stopped on an internal error");
        }
    }
}
