//! A manager in this process: the store, the loops and the API, started and ended in order.
//!
//! ```text
//!   start: folder (lock) ─► listener ─► store ─► sandbox ─► loops ─► API, control socket ─► client.toml
//!   stop:  API (requests under way end) ─► loops ─► store
//! ```

use std::io::Write as _;
use std::sync::Arc;

use symphony_api::ClientConfig;
use symphony_cli::Failure;
use symphony_control::{Control, ControlConfig, Sole};
use symphony_runtime::{Compiler, Limits, Options, Runtime};
use symphony_server::{ServeError, Server, ServerConfig, Tokens};
use symphony_store::{Embedded, Store};
use tokio_util::sync::CancellationToken;

use crate::args::Listen;
use crate::first_party;
use crate::folder::Folder;

/// A running manager.
pub(crate) struct Manager {
    folder: Folder,
    agent_token: String,
    store: Arc<dyn Store>,
    control: Control,
    server: Server,
    /// Ends the server; the loops have a token of their own, because they end after it.
    stop: CancellationToken,
}

impl Manager {
    /// Starts a manager on a folder. It serves when this returns.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub(crate) async fn start(folder: Folder, listen: &Listen) -> Result<Self, Failure> {
        // Before the work of a start: the server itself binds last, so that nobody is let in too early.
        expect_free(listen)?;
        let tokens = Tokens {
            client: folder.secret("api.token")?,
            agent: folder.secret("agent.token")?,
        };
        let (client_token, agent_token) = (tokens.client.clone(), tokens.agent.clone());
        let store: Arc<dyn Store> = Arc::new(open_store(&folder).await?);
        let control = start_loops(&folder, Arc::clone(&store), agent_token.clone()).await?;
        let stop = CancellationToken::new();
        let config = ServerConfig {
            listen: listen.listen,
            allow_remote: listen.allow_remote,
            control_socket: Some(folder.join("control.sock")),
            tokens,
            manager: "manager"
                .parse()
                .map_err(|error| Failure::caused("could not name the manager", &error))?,
            ca_sha256: None,
            audit_log: Some(folder.join("audit.log")),
            limits: symphony_server::Limits::default(),
        };
        let server = symphony_server::serve(config, Arc::clone(&store), Arc::new(control.clone()), stop.clone())
            .await
            .map_err(|error| unserved(&error))?;
        let manager = Self {
            folder,
            agent_token,
            store,
            control,
            server,
            stop,
        };
        ClientConfig::single(manager.url(), client_token)
            .save(&manager.folder.join("client.toml"))
            .map_err(|error| Failure::caused("could not write the client's file", &error))?;
        Ok(manager)
    }

    /// `http://ADDRESS:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The agents' secret.
    pub(crate) fn agent_token(&self) -> &str {
        &self.agent_token
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its loops.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Says on stdout, in the one line that scripts wait for, that it serves.
    ///
    /// # Errors
    /// When stdout can't be written.
    pub(crate) fn say_ready(&self) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "ready {}", self.url())
            .and_then(|()| stdout.flush())
            .map_err(Failure::from)
    }

    /// Waits until it is told to end.
    ///
    /// # Errors
    /// When it can't go on: its store has failed.
    pub(crate) async fn serve_until(&self, stop: &CancellationToken) -> Result<(), Failure> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = self.control.ended() => {
                let failure = Failure::new("the store can't be written any more, so the manager ends");
                Err(failure.hint("look at the disk (full? errors?), then start it again: nothing acknowledged is lost"))
            }
        }
    }

    /// Ends it: requests under way first, then the loops, then the store.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.server.stopped().await;
        self.control.stop().await;
        self.store.close().await;
    }
}

fn unserved(error: &ServeError) -> Failure {
    let failure = Failure::caused("could not serve the API", error);
    match error {
        // The kernel takes 107 bytes for the path of a socket.
        ServeError::ControlSocket { .. } => failure.hint("choose a folder with a shorter path, that you may write to"),
        ServeError::ControlSocketTaken { .. } => failure.hint("look at what is there; it is not ours to remove"),
        ServeError::Listen { .. } => failure.hint("take a free port with --listen 127.0.0.1:0"),
        _ => failure,
    }
}

/// Says early, and in clear words, that the API can't be where it is wanted.
fn expect_free(listen: &Listen) -> Result<(), Failure> {
    let address = listen.listen;
    if !address.ip().is_loopback() && !listen.allow_remote {
        return Err(Failure::usage(format!(
            "{address} can be reached by others, and the API is not encrypted in this version"
        ))
        .hint("listen on 127.0.0.1 and come through a tunnel; if the network is all yours: --allow-remote"));
    }
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(Failure::caused(format!("could not listen on {address}"), &error)
                .hint("something else has that port; take a free one with --listen 127.0.0.1:0"))
        }
        Err(error) => Err(Failure::caused(format!("could not listen on {address}"), &error)
            .hint("--listen takes an address of this server, like 127.0.0.1:15760")),
    }
}

async fn open_store(folder: &Folder) -> Result<Embedded, Failure> {
    let path = folder.join("store.redb");
    Embedded::open(&path, symphony_store::Options::default())
        .await
        .map_err(|error| Failure::caused(format!("could not open the store {}", path.display()), &error))
}

async fn start_loops(folder: &Folder, store: Arc<dyn Store>, agent_token: String) -> Result<Control, Failure> {
    let options = Options {
        cache_dir: folder.join("plugins").join("compiled"),
        compiler: Compiler::this_program(),
        limits: Limits::default(),
    };
    let runtime = tokio::task::spawn_blocking(move || Runtime::open(options))
        .await
        .map_err(|error| Failure::caused("could not start the sandbox", &error))?
        .map_err(|error| Failure::caused("could not start the sandbox", &error))?;
    let config = ControlConfig {
        store,
        election: Arc::new(Sole),
        runtime,
        plugins_dir: folder.join("plugins"),
        first_party: first_party::COMPONENTS.map(<[u8]>::to_vec).to_vec(),
        agent_token,
        stop: CancellationToken::new(),
    };
    Control::start(config)
        .await
        .map_err(|error| Failure::caused("could not start the manager", &error))
}
