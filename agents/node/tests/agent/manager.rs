//! A manager that does what the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures_util::StreamExt as _;
use symphony_core::counter::{Epoch, Generation};
use symphony_core::id::CallId;
use symphony_pki::Identity;
use symphony_protocol::{Call, Failure, Hello, Outcome, Progress, SESSION_PATH, ToAgent, ToManager, Welcome, Work};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::cluster;
use crate::process::PATIENCE;

pub(crate) struct Manager {
    /// `ADDRESS:PORT`.
    pub(crate) address: String,
    pub(crate) epoch: AtomicU64,
    sessions: Mutex<mpsc::Receiver<Raw>>,
}

/// A connection before the welcome.
struct Raw {
    down: mpsc::Sender<Result<Bytes, std::io::Error>>,
    up: mpsc::Receiver<ToManager>,
}

pub(crate) struct Session {
    pub(crate) hello: Hello,
    pub(crate) progress: Vec<Progress>,
    /// Objects to which something happened by itself.
    pub(crate) noticed: Vec<String>,
    epoch: Epoch,
    down: mpsc::Sender<Result<Bytes, std::io::Error>>,
    up: mpsc::Receiver<ToManager>,
    heartbeats: tokio::task::JoinHandle<()>,
}

/// The agent is gone, or closed the session.
#[derive(Debug)]
pub(crate) struct Gone;

impl Manager {
    pub(crate) async fn start() -> Self {
        Self::start_with(Router::new()).await
    }

    /// With more routes than the session's.
    pub(crate) async fn start_with(more: Router) -> Self {
        let (sender, sessions) = mpsc::channel(16);
        let routes = Router::new().route(SESSION_PATH, post(open)).with_state(sender);
        Self {
            address: cluster::serve(cluster::manager(), routes.merge(more)).await,
            epoch: AtomicU64::new(1),
            sessions: Mutex::new(sessions),
        }
    }

    async fn raw(&self) -> (Raw, Hello) {
        let mut sessions = self.sessions.lock().await;
        loop {
            let mut raw = tokio::time::timeout(PATIENCE, sessions.recv())
                .await
                .expect("no session")
                .unwrap();
            match tokio::time::timeout(PATIENCE, raw.up.recv()).await.expect("no hello") {
                Some(ToManager::Hello(hello)) => return (raw, hello),
                Some(other) => panic!("{other:?} before hello"),
                // Of an agent that was killed before it said anything.
                None => {}
            }
        }
    }

    async fn welcomed(&self) -> (Raw, Hello, Epoch) {
        let (raw, hello) = self.raw().await;
        let epoch = Epoch(self.epoch.load(Ordering::SeqCst));
        let welcome = Welcome {
            epoch,
            heartbeat_ms: 200,
            ..Welcome::default()
        };
        send(&raw.down, &ToAgent::Welcome(welcome)).await;
        (raw, hello, epoch)
    }

    /// Waits for an agent and welcomes it.
    pub(crate) async fn session(&self) -> Session {
        let (raw, hello, epoch) = self.welcomed().await;
        let down = raw.down.clone();
        let heartbeats = tokio::spawn(async move {
            while send(&down, &ToAgent::Heartbeat).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Session {
            hello,
            progress: Vec::new(),
            noticed: Vec::new(),
            epoch,
            down: raw.down,
            up: raw.up,
            heartbeats,
        }
    }

    /// Waits for an agent and refuses it.
    pub(crate) async fn refuse(&self, why: &str) {
        let (raw, _) = self.raw().await;
        send(&raw.down, &ToAgent::Refused(why.to_owned())).await;
    }

    /// Waits for an agent, and says nothing to it as long as the answer is held.
    pub(crate) async fn ignore(&self) -> impl Sized + use<> {
        self.raw().await.0
    }

    /// Waits for an agent, welcomes it, and says nothing more to it as long as the answer is held.
    pub(crate) async fn fall_silent(&self) -> impl Sized + use<> {
        self.welcomed().await.0
    }

    /// Waits for an agent and sends it bytes of the test's own.
    pub(crate) async fn babble(&self, bytes: Vec<u8>) {
        let (raw, _) = self.raw().await;
        let _ = raw.down.send(Ok(Bytes::from(bytes))).await;
        let _ = raw.down.send(Ok(Bytes::from_static(b"\n"))).await;
    }
}

impl Session {
    pub(crate) async fn send(&self, call: &Call) {
        send(&self.down, &ToAgent::Call(Box::new(call.clone()))).await;
    }

    /// Says who belongs to the cluster.
    pub(crate) async fn tell(&self, members: symphony_protocol::Members) {
        send(&self.down, &ToAgent::Members(members)).await;
    }

    pub(crate) fn call_of(&self, object: &str, generation: u64, work: Work) -> Call {
        let id = CallId::new(uuid::Uuid::now_v7());
        Call {
            id,
            epoch: self.epoch,
            object: object.to_owned(),
            generation: Generation(generation),
            tenure: symphony_core::counter::Tenure::default(),
            admission: symphony_core::counter::Admission::default(),
            work,
        }
    }

    /// The next frame that is no sign of life.
    pub(crate) async fn next(&mut self) -> Result<ToManager, Gone> {
        loop {
            match tokio::time::timeout(PATIENCE, self.up.recv())
                .await
                .expect("nothing is heard")
            {
                Some(ToManager::Progress(progress)) => self.progress.push(progress),
                Some(ToManager::Noticed(notice)) => self.noticed.push(notice.object),
                Some(ToManager::Heartbeat(_)) => {}
                Some(frame) => return Ok(frame),
                None => return Err(Gone),
            }
        }
    }

    /// The next sign of life.
    pub(crate) async fn heartbeat(&mut self) -> symphony_protocol::Heartbeat {
        loop {
            match tokio::time::timeout(PATIENCE, self.up.recv())
                .await
                .expect("nothing is heard")
            {
                Some(ToManager::Heartbeat(heartbeat)) => return heartbeat,
                Some(_) => {}
                None => panic!("the session ended"),
            }
        }
    }

    pub(crate) async fn answer(&mut self, call: &Call) -> Result<Result<Outcome, Failure>, Gone> {
        match self.next().await? {
            ToManager::Answer(answer) => {
                assert_eq!(answer.call, call.id);
                Ok(answer.result)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn call(
        &mut self,
        object: &str,
        generation: u64,
        work: Work,
    ) -> Result<Result<Outcome, Failure>, Gone> {
        let call = self.call_of(object, generation, work);
        self.send(&call).await;
        self.answer(&call).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It holds a sender, which would keep the session open.
        self.heartbeats.abort();
    }
}

async fn send(down: &mpsc::Sender<Result<Bytes, std::io::Error>>, frame: &ToAgent) -> bool {
    let mut line = serde_json::to_vec(frame).unwrap();
    line.push(b'\n');
    down.send(Ok(Bytes::from(line))).await.is_ok()
}

async fn open(
    State(sessions): State<mpsc::Sender<Raw>>,
    Extension(peer): Extension<Option<Arc<(Identity, String)>>>,
    body: Body,
) -> Response {
    if peer.is_none_or(|peer| peer.0 != cluster::node(cluster::NODE)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (down, frames) = mpsc::channel(64);
    let (sender, up) = mpsc::channel(4096);
    let closed = down.clone();
    tokio::spawn(async move {
        let mut chunks = body.into_data_stream();
        let mut pending = Vec::new();
        loop {
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk,
                // The answer's body was dropped: the agent closed the session.
                () = closed.closed() => return,
            };
            let Some(Ok(chunk)) = chunk else { return };
            pending.extend_from_slice(&chunk);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                if sender.send(serde_json::from_slice(&line).unwrap()).await.is_err() {
                    return;
                }
            }
        }
    });
    sessions.send(Raw { down, up }).await.unwrap();
    Body::from_stream(ReceiverStream::new(frames)).into_response()
}
