//! The control socket: `DIR/control.sock`, for root and the agent's own user. Lets the node in for a role, and says how the
//! agent is. It is there before the node is in any cluster, and as long as the agent runs.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use symphony_protocol::control::{AgentStatus, INIT_PATH, InitRequest, STATUS_PATH};
use symphony_protocol::enrol::Refusal;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::membership::Membership;

/// Its rights: the owner alone.
const MODE: u32 = 0o600;
/// Connections at once.
const CONNECTIONS_MAX: usize = 16;
const BODY_BYTES_MAX: usize = 16 << 10;
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It can't be made.
    #[error("the control socket {path} can't be made")]
    Make {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something is there.
    #[error("the control socket {path} {why}")]
    Taken {
        /// Where.
        path: PathBuf,
        /// What.
        why: &'static str,
    },
}

/// The bound socket. Its file goes when it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket. It has its rights before it has its name, so there is no moment at which others could open it.
    ///
    /// # Errors
    /// Another agent has it, something else is there, or it can't be made: paths of sockets are short.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        make_room(path)?;
        let cannot = |source| ControlError::Make {
            path: path.to_owned(),
            source,
        };
        // Reached through its folder's handle, so that the folder's path may be longer than a socket's.
        let (folder, name) = (path.parent().unwrap_or(Path::new(".")), path.file_name());
        let name = name.ok_or_else(|| cannot(io::ErrorKind::InvalidInput.into()))?;
        let folder = fs::File::open(folder).map_err(cannot)?;
        let base = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder)));
        let draft = base.join(format!(".{}.{}", name.display(), std::process::id()));
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft).map_err(cannot)?;
        let named = fs::set_permissions(&draft, fs::Permissions::from_mode(MODE))
            .and_then(|()| fs::rename(&draft, base.join(name)));
        if let Err(source) = named {
            let _ = fs::remove_file(&draft);
            return Err(cannot(source));
        }
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves until the end; requests under way are cut then.
    pub async fn serve(self, membership: Membership, end: CancellationToken) {
        let open = Router::new()
            .route(INIT_PATH, post(init))
            .route(STATUS_PATH, get(status))
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "not_found", NOT_HERE) })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(membership);
        let closed = Router::new().fallback(|| async { refuse(StatusCode::FORBIDDEN, "forbidden", NOT_YOURS) });
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            let accepted = tokio::select! {
                () = end.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let peer = stream.peer_cred().map(|peer| peer.uid());
            let routes = if peer.is_ok_and(is_trusted) { &open } else { &closed };
            let (service, end) = (TowerToHyperService::new(routes.clone()), end.clone());
            tokio::spawn(async move {
                let _place = place;
                let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
                server
                    .http1()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_TIMEOUT);
                tokio::select! {
                    () = end.cancelled() => {}
                    // What became of it the client knows.
                    _ = server.serve_connection(TokioIo::new(stream), service) => {}
                }
            });
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

const NOT_HERE: &str =
    "this is the control socket of an agent; it knows `symphony --socket SOCKET ROLE init MANAGER --token T`";
const NOT_YOURS: &str = "the control socket is for root and the agent's own user";

async fn status(State(membership): State<Membership>) -> Json<AgentStatus> {
    Json(membership.status())
}

async fn init(State(membership): State<Membership>, request: axum::body::Bytes) -> Response {
    let request: InitRequest = match serde_json::from_slice(&request) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    // On its own: whoever asked may leave, and the node is in or not all the same.
    let asked = tokio::spawn({
        let membership = membership.clone();
        async move { membership.init(request.role, &request.manager, &request.token).await }
    });
    match asked.await {
        Ok(Ok(())) => Json(membership.status()).into_response(),
        Ok(Err(error)) => {
            let refusal = error.refusal();
            tracing::warn!(code = refusal.code, "not let in: {}", refusal.detail);
            (StatusCode::CONFLICT, Json(refusal)).into_response()
        }
        Err(_) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "stopped on an internal error",
        ),
    }
}

fn refuse(status: StatusCode, code: &str, detail: &str) -> Response {
    let refusal = Refusal {
        code: code.to_owned(),
        detail: detail.to_owned(),
        leader: None,
    };
    (status, Json(refusal)).into_response()
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == own_uid()
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Takes away what an earlier agent left. Anything else that is there stays, and is an error.
fn make_room(path: &Path) -> Result<(), ControlError> {
    let taken = |why| ControlError::Taken {
        path: path.to_owned(),
        why,
    };
    let cannot = |source| ControlError::Make {
        path: path.to_owned(),
        source,
    };
    let known = match fs::symlink_metadata(path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(error)),
    };
    if !known.file_type().is_socket() {
        return Err(taken("is there already and is no socket"));
    }
    if known.uid() != own_uid() {
        return Err(taken("belongs to another user"));
    }
    let folder = fs::File::open(path.parent().unwrap_or(Path::new("."))).map_err(cannot)?;
    let short = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder));
    match Probe::connect(Path::new(&short).join(path.file_name().unwrap_or_default())) {
        Ok(_) => Err(taken("is in use: another agent runs in this folder")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(cannot),
        Err(error) => Err(cannot(error)),
    }
}

#[cfg(test)]
mod tests;
