//! The agents' sessions: lines of JSON up the request's body and down the answer's.
//!
//! One task owns a session: it reads frames, writes frames, and ends when either side does, when nothing is heard for
//! too long, or when the manager stops.

mod lines;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use symphony_api::{Code, Problem};
use symphony_protocol::{FRAME_BYTES_MAX, Hello, SILENCE_MS_MAX, ToAgent, ToManager};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::enrol;
use crate::app::App;
use crate::decisions::{AgentSession, Decisions, Standing};
use crate::failure::{Answer, Failure};
use crate::forward::no_leader;
use crate::peer::Peer;
use lines::{Broken, Lines};

/// Frames on their way to the socket.
const QUEUE: usize = 16;

/// Opens the session of an agent: newline-separated JSON frames in both directions, the first of them `Hello`.
#[utoipa::path(post, path = "/agent/v1/session", tag = "agents",
    request_body(content = Vec<u8>, content_type = "application/x-ndjson"),
    responses(
        (status = 200, description = "Frames, as long as the session lasts", body = Vec<u8>, content_type = "application/x-ndjson"),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn open(State(app): State<App>, peer: Option<Extension<Peer>>, request: Request) -> Answer<Response> {
    let decisions = leading(&app)?;
    let busy = |_| Failure::new(Code::TooManyRequests, "as many agents as may be have a session");
    let seat = app.seats.sessions.clone().try_acquire_owned().map_err(busy)?;
    let mut lines = Lines::new(request.into_body().into_data_stream());
    let first = tokio::time::timeout(silence(), lines.next()).await;
    let mut hello = match first {
        Ok(Ok(Some(ToManager::Hello(hello)))) => hello,
        Ok(Ok(_)) => return Err(Failure::new(Code::MalformedBody, "the first frame must be `hello`")),
        Ok(Err(broken)) => return Err(Failure::new(Code::MalformedBody, broken.to_string())),
        Err(_) => {
            return Err(Failure::new(
                Code::MalformedBody,
                "the first frame did not come in time",
            ));
        }
    };
    if app.tls.is_some() {
        expect_node(&app, peer.as_deref(), &mut hello).await?;
    }
    let (frames, answer) = mpsc::channel(QUEUE);
    app.tasks
        .spawn(hold(app.clone(), decisions, hello, lines, frames, seat));
    let body = Body::from_stream(ReceiverStream::new(answer).map(Ok::<_, std::convert::Infallible>));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// The loops, for a session; an agent that asks another manager is told who leads.
fn leading(app: &App) -> Answer<Arc<dyn Decisions>> {
    match app.standing() {
        Standing::Leading(decisions) => Ok(decisions),
        Standing::Following { manager, address } => {
            let mut problem = Problem::new(Code::NotLeader, format!("manager {manager} leads, at {address}"));
            problem.leader = Some(address);
            Err(problem.into())
        }
        Standing::Vacant => Err(no_leader()),
    }
}

/// An agent is who its certificate says, as long as it is enrolled, and has the roles that it was let in for: of those that it
/// claims only these are left.
async fn expect_node(app: &App, peer: Option<&Peer>, hello: &mut Hello) -> Answer<()> {
    let Some(Peer::Member { identity, serial, .. }) = peer else {
        let detail = "an agent shows the certificate that it got when it was enrolled";
        return Err(Failure::new(Code::Unauthorized, detail));
    };
    if peer.and_then(Peer::node) != Some(hello.node.as_str()) {
        let detail = format!("the certificate is of {}, not of node {}", identity.member, hello.node);
        return Err(Failure::new(Code::Forbidden, detail));
    }
    let enrolled = app
        .members
        .enrolment(identity, serial)
        .await
        .map_err(|error| enrol::problem(&error))?;
    let Some(enrolment) = enrolled else {
        let detail = format!(
            "{} was removed from the cluster; enrol it again with a new token",
            identity.member
        );
        return Err(Failure::new(Code::NotAMember, detail));
    };
    // The certificate has arrived: those before it are over.
    if enrolment.serials.len() > 1 {
        let shown = app.members.shown(identity, serial).await;
        shown.map_err(|error| enrol::problem(&error))?;
    }
    let claimed = hello.roles.clone();
    // A role that was taken from it does not take the others with it.
    hello.retain_roles(|role| enrolment.roles.contains(&role));
    if let (Some(role), true) = (claimed.first(), hello.roles.is_empty()) {
        let detail = format!(
            "node {} was not let in for the role {role}; `symphony token create --role {role}` makes a token for it",
            hello.node,
            role = role.as_str()
        );
        return Err(Failure::new(Code::Forbidden, detail));
    }
    if claimed.len() > hello.roles.len() {
        tracing::warn!(node = %hello.node, "an agent claims roles that it was not let in for; they are left out");
    }
    Ok(())
}

/// Holds a session from its beginning to its end.
async fn hold(
    app: App,
    decisions: Arc<dyn Decisions>,
    hello: Hello,
    lines: Lines,
    frames: mpsc::Sender<Bytes>,
    seat: OwnedSemaphorePermit,
) {
    let node = hello.node.clone();
    match decisions.connect(hello).await {
        Ok(session) => {
            let why = exchange(session, lines, &frames, &app.shutdown).await;
            tracing::info!(%node, why, "an agent's session ended");
        }
        Err(refused) => {
            tracing::warn!(%node, refused, "an agent got no session");
            let _ = send(&frames, &ToAgent::Refused(refused)).await;
        }
    }
    drop(seat);
}

async fn exchange(
    mut session: Box<dyn AgentSession>,
    mut lines: Lines,
    frames: &mpsc::Sender<Bytes>,
    shutdown: &CancellationToken,
) -> &'static str {
    let heartbeat_every = Duration::from_millis(symphony_protocol::HEARTBEAT_MS);
    let mut heartbeat = tokio::time::interval(heartbeat_every);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    heartbeat.reset();
    let mut heard = tokio::time::Instant::now();
    loop {
        // Each arm waits on something that keeps its place when another arm is taken.
        tokio::select! {
            frame = session.next() => match frame {
                Some(frame) => if send(frames, &frame).await.is_err() { return "the agent takes no frames" },
                None => return "another session took its place, or this manager leads no more",
            },
            line = lines.next() => match line {
                Ok(Some(frame)) => {
                    heard = tokio::time::Instant::now();
                    session.receive(frame);
                }
                Ok(None) => return "the agent ended it",
                // An agent that ends cuts the connection: nobody is there to be told.
                Err(Broken::Lost) => return "the connection was lost",
                Err(broken) => {
                    let _ = send(frames, &ToAgent::Refused(broken.to_string())).await;
                    return "the agent sent what is no frame";
                }
            },
            _ = heartbeat.tick() => if send(frames, &ToAgent::Heartbeat).await.is_err() { return "the agent takes no frames" },
            () = tokio::time::sleep_until(heard + silence()) => return "nothing was heard of the agent",
            () = frames.closed() => return "the connection was lost",
            () = shutdown.cancelled() => return "the manager stops",
        }
    }
}

async fn send(frames: &mpsc::Sender<Bytes>, frame: &ToAgent) -> Result<(), ()> {
    let mut line = serde_json::to_vec(frame).map_err(|error| tracing::error!(%error, "a frame can't be written"))?;
    line.push(b'\n');
    if line.len() > FRAME_BYTES_MAX {
        tracing::error!(bytes = line.len(), "a frame for an agent is too long; its session ends");
        return Err(());
    }
    let sent = tokio::time::timeout(silence(), frames.send(line.into())).await;
    sent.map_err(drop)?.map_err(drop)
}

fn silence() -> Duration {
    Duration::from_millis(SILENCE_MS_MAX)
}
