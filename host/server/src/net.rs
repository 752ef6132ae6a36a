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
use crate::decisions::Office;
use crate::routes;
pub(crate) use control_socket::{ControlSocket, is_trusted};

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could reach it, and it has no certificate.
    #[error("{0} can be reached by others, and tokens would go over it in clear")]
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
    office: Arc<dyn Office>,
    shutdown: CancellationToken,
) -> Result<Server, ServeError> {
    let cannot = |source| ServeError::Listen {
        address: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(cannot)?;
    serve_on(listener, config, store, office, shutdown).await
}

/// As [`serve`], on a listener; `config.listen` is not looked at.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve_on(
    listener: TcpListener,
    config: ServerConfig,
    store: Arc<dyn Store>,
    office: Arc<dyn Office>,
    shutdown: CancellationToken,
) -> Result<Server, ServeError> {
    let address = listener.local_addr().map_err(|source| ServeError::Listen {
        address: config.listen,
        source,
    })?;
    if config.tls.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::Remote(address));
    }
    for (token, whose) in [(&config.tokens.client, "clients'"), (&config.tokens.agent, "agents'")] {
        if token.is_empty() {
            return Err(ServeError::EmptyToken(whose));
        }
    }
    let socket = config.control_socket.as_deref().map(ControlSocket::bind).transpose()?;
    let app = Shared::new(&config, public(&config, address), store, office, shutdown.clone());
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

/// Where clients find it.
fn public(config: &ServerConfig, address: SocketAddr) -> String {
    let scheme = if config.tls.is_some() && !config.plain {
        "https"
    } else {
        "http"
    };
    match &config.advertise {
        Some(advertised) => format!("{scheme}://{advertised}"),
        None => format!("{scheme}://{address}"),
    }
}
