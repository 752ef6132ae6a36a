//! A manager in this process: the store, who it is, the loops and the API, started and ended in order.
//!
//! ```text
//!   start: folder (lock) ─► listener ─► store ─► identity (kept, or `manager init`) ─► sandbox ─► office ─► API, control
//!          socket ─► client.toml
//!   stop:  API (requests under way end) ─► office (the loops, the lease) ─► store
//! ```

mod files;
mod identity;
mod place;
mod presence;
pub(crate) mod state;

use std::io::Write as _;
use std::sync::Arc;

use symphony_api::ClientConfig;
use symphony_cli::Failure;
use symphony_control::members::Members;
use symphony_control::{Control, ControlConfig, LEASE_TTL, Lease, Office, Standing};
use symphony_core::name::Name;
use symphony_pki::{Credentials, Tls};
use symphony_runtime::{Compiler, Limits, Options, Runtime};
use symphony_server::{ServeError, Server, ServerConfig, Tokens};
use symphony_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args::{EtcdArgs, Listen};
use crate::first_party;
use crate::folder::Folder;

use identity::Applicant;

/// What a manager is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// Where it listens and is found.
    pub(crate) listen: &'a Listen,
    /// The etcd cluster that has its state; the embedded store when there is none.
    pub(crate) etcd: &'a EtcdArgs,
    /// Its name; made up and kept when not given.
    pub(crate) name: Option<&'a Name>,
}

/// A running manager.
pub(crate) struct Manager {
    folder: Folder,
    address: String,
    plain: bool,
    store: Arc<dyn Store>,
    members: Members,
    office: Office,
    server: Server,
    /// Ends the server, and what is done beside; the loops have a token of their own, because they end after it.
    stop: CancellationToken,
    beside: TaskTracker,
}

impl Manager {
    /// Starts a manager on a folder. It serves when this returns. With etcd it first waits to be made a member, if it is
    /// none: nothing when `stop` came first.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub(crate) async fn start(
        folder: Folder,
        setup: Setup<'_>,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, Failure> {
        files::raise_limit();
        let alone = !setup.etcd.is_given();
        let listener = place::listen(setup.listen).await?;
        let bound = listener
            .local_addr()
            .map_err(|error| Failure::caused("could not look at the listener", &error))?;
        let store = state::open(&folder, setup.etcd).await?;
        let members = Members::new(Arc::clone(&store));
        if let Err(error) = members.not_restoring().await {
            store.close().await;
            return Err(Failure::caused("could not start the manager", &error));
        }
        let name = state::name(&folder, setup.name, alone)?;
        let address = place::advertised(setup.listen, bound, &setup.etcd.etcd);
        let applicant = Applicant::new(&folder, members.clone(), name.clone(), address.clone());
        let Some(credentials) = credentials(&folder, &applicant, alone, stop).await? else {
            store.close().await;
            return Ok(None);
        };
        let tls = Tls::new(&credentials)
            .map_err(|error| Failure::caused("could not use this manager's certificate", &error))?;
        members
            .register_manager(&name, &address)
            .await
            .map_err(|error| Failure::caused("could not put this manager on record", &error))?;
        let client = state::client_token(&folder, &members, &name).await?;
        let tokens = Tokens {
            client: client.clone(),
            agent: None,
        };
        let config = control_config(&folder, Arc::clone(&store)).await?;
        let unstarted = |error: symphony_control::StartError| Failure::caused("could not start the manager", &error);
        let office = if alone {
            Office::alone(config).await.map_err(unstarted)?
        } else {
            let lease = Lease {
                manager: name.to_string(),
                address: address.clone(),
                ttl: LEASE_TTL,
            };
            Office::among(config, lease).await.map_err(unstarted)?
        };
        let stop = CancellationToken::new();
        // A manager of its own on this server's own address speaks plain HTTP too: nothing to set up for curl.
        let plain = alone && bound.ip().is_loopback();
        let config = ServerConfig {
            listen: bound,
            control_socket: Some(folder.join("control.sock")),
            tokens,
            tls: Some(tls.clone()),
            plain,
            advertise: Some(address.clone()),
            manager: name.clone(),
            audit_log: Some(folder.join("audit.log")),
            limits: symphony_server::Limits::default(),
        };
        let served = symphony_server::serve_on(
            listener,
            config,
            Arc::clone(&store),
            Arc::new(office.clone()),
            stop.clone(),
        );
        let server = served.await.map_err(|error| unserved(&error))?;
        let beside = TaskTracker::new();
        beside.spawn(applicant.keep_renewed(credentials, tls, stop.clone()));
        beside.spawn(presence::keep(Arc::clone(&store), name, stop.clone()));
        beside.close();
        let manager = Self {
            folder,
            address,
            plain,
            store,
            members,
            office,
            server,
            stop,
            beside,
        };
        ClientConfig::single(manager.url(), client)
            .save(&manager.folder.join("client.toml"))
            .map_err(|error| Failure::caused("could not write the client's file", &error))?;
        Ok(Some(manager))
    }

    /// `http://ADDRESS:PORT`, or `https://` where plain HTTP is not taken.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        format!("{scheme}://{}", self.address)
    }

    /// Where members reach it: `ADDRESS:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Letting members in.
    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// Its loops, while it leads.
    pub(crate) fn control(&self) -> Option<Control> {
        match self.office.standing() {
            Standing::Leading(control) => Some(control),
            Standing::Following(_) | Standing::Vacant => None,
        }
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
            () = self.office.ended() => {
                let failure = Failure::new("the store can't be written any more, so the manager ends");
                Err(failure.hint("look at the disk (full? errors?), then start it again: nothing acknowledged is lost"))
            }
        }
    }

    /// Ends it: requests under way first, then the loops, then the store.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.server.stopped().await;
        self.beside.wait().await;
        self.office.stop().await;
        self.store.close().await;
    }
}

/// Who the manager is: kept, made at once when it is alone, or waited for.
async fn credentials(
    folder: &Folder,
    applicant: &Applicant,
    alone: bool,
    stop: &CancellationToken,
) -> Result<Option<Credentials>, Failure> {
    if let Some(kept) = applicant.kept().await? {
        return Ok(Some(kept));
    }
    if alone {
        let joined = applicant.join().await;
        let (_, credentials) = joined.map_err(|error| Failure::caused("could not make the cluster", &error))?;
        return Ok(Some(credentials));
    }
    let socket = folder.join("control.sock");
    _ = writeln!(
        std::io::stderr(),
        "this manager belongs to no cluster yet; make it a member with:\n  symphony --socket {} manager init",
        socket.display()
    );
    applicant.wait(&socket, stop).await
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

async fn control_config(folder: &Folder, store: Arc<dyn Store>) -> Result<ControlConfig, Failure> {
    let options = Options {
        cache_dir: folder.join("plugins").join("compiled"),
        compiler: Compiler::this_program(),
        limits: Limits::default(),
    };
    let runtime = tokio::task::spawn_blocking(move || Runtime::open(options))
        .await
        .map_err(|error| Failure::caused("could not start the sandbox", &error))?
        .map_err(|error| Failure::caused("could not start the sandbox", &error))?;
    Ok(ControlConfig {
        store,
        runtime,
        plugins_dir: folder.join("plugins"),
        first_party: first_party::COMPONENTS.map(<[u8]>::to_vec).to_vec(),
        stop: CancellationToken::new(),
    })
}
