//! A manager that belongs to no cluster yet: it serves its control socket alone, and waits there for `manager init`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use symphony_api::v1::Membership;
use symphony_api::{Code, Problem};
use symphony_control::members::MemberError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::{Failure, problem_response};
use crate::net::{ControlSocket, ServeError, is_trusted};
use crate::routes::enrol;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer under way may take to be sent at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Makes a manager a member.
#[async_trait]
pub trait Initialise: Send + Sync + 'static {
    /// Makes the cluster or joins it. Doing so again after a failure goes on where it was.
    async fn initialise(&self) -> Result<Membership, MemberError>;
}

#[derive(Clone)]
struct Waiting {
    init: Arc<dyn Initialise>,
    done: mpsc::Sender<()>,
}

/// Waits on the control socket until the manager is a member; whether it is. Without is: it was asked to stop.
///
/// # Errors
/// The socket can't be made.
pub async fn wait(socket: &Path, init: Arc<dyn Initialise>, stop: &CancellationToken) -> Result<bool, ServeError> {
    let socket = ControlSocket::bind(socket)?;
    let (done, mut is_done) = mpsc::channel(1);
    let router = Router::new()
        .route("/v1/manager/init", post(initialise))
        .fallback(uninitialised)
        .with_state(Waiting { init, done });
    let answers = TaskTracker::new();
    let member = loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = is_done.recv() => break true,
            () = stop.cancelled() => break false,
        };
        let Ok(stream) = accepted else {
            // Want of files or memory may pass.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let is_trusted = stream.peer_cred().is_ok_and(|peer| is_trusted(peer.uid()));
        if !is_trusted {
            continue;
        }
        let router = router.clone();
        answers.spawn(async move {
            let mut http = Builder::new(TokioExecutor::new());
            http.http1()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .keep_alive(false);
            let service = TowerToHyperService::new(router);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(error, "a connection ended badly");
            }
        });
    };
    // The answer to whoever made it a member is still on its way.
    answers.close();
    _ = tokio::time::timeout(DRAIN, answers.wait()).await;
    Ok(member)
}

async fn initialise(State(waiting): State<Waiting>) -> Response {
    match waiting.init.initialise().await {
        Ok(membership) => {
            // Full only when it was said already.
            _ = waiting.done.try_send(());
            axum::Json(membership).into_response()
        }
        Err(error) => finished(&enrol::problem(&error)),
    }
}

async fn uninitialised() -> Response {
    let detail =
        "this manager belongs to no cluster yet; run `symphony --socket SOCKET manager init` with its control socket";
    finished(&Failure::from(Problem::new(Code::NotReady, detail)))
}

fn finished(failure: &Failure) -> Response {
    problem_response(&failure.0)
}
