//! Sockets: where the server listens, how connections are held, and how they end.

mod accept;
mod control_socket;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use symphony_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::Shared;
use crate::config::ServerConfig;
use crate::decisions::Decisions;
use crate::routes;
use control_socket::ControlSocket;

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could reach it, and nobody said that they may.
    #[error(
        "{0} can be reached by others, and tokens go over it in clear; listen on 127.0.0.1, or allow remote clients explicitly"
    )]
    Remote(SocketAddr),
    /// Without a token anyone would be let in.
    #[error("the {0} token is empty")]
    EmptyToken(&'static str),
    /// The address can't be listened on.
    #[error("{address} can't be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The control socket can't be made.
    #[error("the control socket {} can't be made", path.display())]
    ControlSocket {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else uses the path of the control socket.
    #[error("the control socket {} {why}", path.display())]
    ControlSocketTaken {
        /// Its path.
        path: PathBuf,
        /// What is there.
        why: &'static str,
    },
    /// The client for the data ports can't be made.
    #[error("the client for the agents' data ports can't be set up")]
    Client(#[source] reqwest::Error),
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it has stopped: after the shutdown was asked for, and what was under way has ended or run out of time.
    pub async fn stopped(self) {
        if let Err(error) = self.running.await {
            tracing::error!(%error, "the server ended badly");
        }
    }
}

/// Listens, and serves until `shutdown`. When this returns, connections are taken.
///
/// # Errors
/// See [`ServeError`]; nothing is left behind then.
pub async fn serve(
    config: ServerConfig,
    store: Arc<dyn Store>,
    decisions: Arc<dyn Decisions>,
    shutdown: CancellationToken,
) -> Result<Server, ServeError> {
    if !config.listen.ip().is_loopback() && !config.allow_remote {
        return Err(ServeError::Remote(config.listen));
    }
    for (token, whose) in [(&config.tokens.client, "clients'"), (&config.tokens.agent, "agents'")] {
        if token.is_empty() {
            return Err(ServeError::EmptyToken(whose));
        }
    }
    let cannot = |source| ServeError::Listen {
        address: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let socket = config.control_socket.as_deref().map(ControlSocket::bind).transpose()?;
    let app = Shared::new(&config, format!("http://{address}"), store, decisions, shutdown.clone())
        .map_err(ServeError::Client)?;
    app.tokens.prepare().await;
    let following = app.clone();
    app.tasks
        .spawn(async move { following.tokens.follow(following.shutdown.clone()).await });

    let running = tokio::spawn(async move {
        let over_tcp = accept::tcp(listener, routes::api(&app), &app);
        let over_socket = async {
            if let Some(socket) = socket {
                socket.serve(&app).await;
            }
        };
        tokio::join!(over_tcp, over_socket);
        app.tasks.close();
        if tokio::time::timeout(app.limits.drain, app.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = app.tasks.len(), "what was under way did not end in time");
        }
        app.audit.close().await;
    });
    Ok(Server { address, running })
}
