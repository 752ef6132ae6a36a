//! Machines' consoles and screens: WebSockets that end at the data port of the machine's node. The manager finds the
//! node, asks for the token, and carries the bytes; it reads none of them.
//!
//! ```text
//!   client ──GET, Upgrade──► manager ──GET, Upgrade, the agents' token──► data port ──► QEMU's socket
//!          ◄──────101─────── bytes both ways, as they come ◄─────101─────
//! ```

mod bridge;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use symphony_api::{Code, Problem};
use symphony_control::clock;
use symphony_core::machine::{Machine, MachinePhase};
use symphony_core::name::Name;
use symphony_protocol::data::{DataError, MACHINES_PATH};

use super::machines::find;
use crate::app::App;
use crate::failure::{Answer, Failure, chain};
use crate::principal::Principal;
use crate::reading::project;

/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Longest log or refusal that is taken from a node, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Attaches to a machine's serial console: a WebSocket. Binary messages from the server are what the guest says: first
/// the end of what it has said so far (64 KiB at most), then the rest as it comes, without a gap. Messages to the server
/// are what it is told. Several clients may be attached at once. Closed with 1000 when the machine goes off, and with
/// 1008 when the client was too slow and missed something.
#[utoipa::path(get, path = "/v1/projects/{project}/machines/{machine}/console", tag = "machines",
    params(("project" = String, Path), ("machine" = String, Path, description = "Name or id")),
    responses(
        (status = 101, description = "The WebSocket"),
        (status = 409, description = "It is not running", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn console(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    request: Request,
) -> Answer<Response> {
    let machine = find(&*app.store, &project(&project_text)?, &name).await?;
    open(&app, &machine.value, "console", request).await
}

/// What is kept of what a machine has said on its serial console: the last 128 to 256 KiB, of all its runs.
#[utoipa::path(get, path = "/v1/projects/{project}/machines/{machine}/console/log", tag = "machines",
    params(("project" = String, Path), ("machine" = String, Path, description = "Name or id")),
    responses(
        (status = 200, description = "As it was said", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 409, description = "It is on no node yet", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn console_log(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
) -> Answer<Response> {
    let machine = find(&*app.store, &project(&project_text)?, &name).await?.value;
    let node = Node::of(&app, &machine).await?;
    let answer = node.send(node.get("console/log")).await?;
    let status = answer.status();
    let bytes = node.read(answer).await?;
    if !status.is_success() {
        return Err(node.refusal(&machine, &bytes));
    }
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Bytes::from(bytes)).into_response())
}

/// Attaches to a machine's screen: a WebSocket with the bytes of VNC (RFB) in binary messages both ways, as noVNC speaks
/// it; it may ask for the subprotocol `binary`.
#[utoipa::path(get, path = "/v1/projects/{project}/machines/{machine}/screen", tag = "machines",
    params(("project" = String, Path), ("machine" = String, Path, description = "Name or id")),
    responses(
        (status = 101, description = "The WebSocket"),
        (status = 409, description = "It is not running", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn screen(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    request: Request,
) -> Answer<Response> {
    let machine = find(&*app.store, &project(&project_text)?, &name).await?;
    open(&app, &machine.value, "screen", request).await
}

/// Opens the same WebSocket at the machine's node, answers what the node does, and lets the bytes through.
async fn open(app: &App, machine: &Machine, what: &str, mut request: Request) -> Answer<Response> {
    is_websocket(request.headers())?;
    let phase = machine.status.phase;
    if !matches!(
        phase,
        MachinePhase::Starting | MachinePhase::Running | MachinePhase::Stopping
    ) {
        let detail = format!(
            "machine {} has no {what} now: it is {}",
            machine.meta.name,
            phase_text(phase)
        );
        return Err(Failure::new(Code::WrongPower, detail));
    }
    let busy = |_| {
        let detail = "as many consoles as may be are open; close one or try again";
        Failure::new(Code::TooManyRequests, detail)
    };
    let seat = app.seats.consoles.clone().try_acquire_owned().map_err(busy)?;
    let node = Node::of(app, machine).await?;
    let mut get = node.get(what).version(reqwest::Version::HTTP_11);
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_PROTOCOL,
    ] {
        if let Some(value) = request.headers().get(&name) {
            get = get.header(name, value);
        }
    }
    let answer = node.send(get).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let bytes = node.read(answer).await?;
        return Err(node.refusal(machine, &bytes));
    }
    let mut switching = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = switching.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    for name in [header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_PROTOCOL] {
        if let Some(value) = answer.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let principal = request.extensions().get::<Arc<Principal>>().cloned();
    let token = principal.and_then(|principal| principal.token);
    let (client, app_then) = (hyper::upgrade::on(&mut request), app.clone());
    app.tasks.spawn(async move {
        tokio::select! {
            () = bridge::carry(client, answer) => {}
            () = app_then.tokens.ended(token, clock::now) => {}
            () = app_then.shutdown.cancelled() => {}
        }
        drop(seat);
    });
    Ok(switching)
}

/// Says what is missing of the head of a WebSocket; the rest of it the node checks.
fn is_websocket(headers: &HeaderMap) -> Answer<()> {
    let has = |name: header::HeaderName, wanted: &str| {
        let text = headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        text.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted))
    };
    let wrong = |name, detail| Err(Failure::field(Code::InvalidArgument, name, detail));
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        let detail = "this is a WebSocket: ask with HTTP/1.1, `Connection: Upgrade` and `Upgrade: websocket`";
        return wrong("Upgrade", detail);
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return wrong("Sec-WebSocket-Version", "it must be 13");
    }
    if !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        return wrong("Sec-WebSocket-Key", "it is missing");
    }
    Ok(())
}

const fn phase_text(phase: MachinePhase) -> &'static str {
    match phase {
        MachinePhase::Pending => "waiting for a node",
        MachinePhase::Unplaceable => "on no node, because none takes it now",
        MachinePhase::Preparing => "being prepared",
        MachinePhase::Starting => "starting",
        MachinePhase::Running => "running",
        MachinePhase::Stopping => "stopping",
        MachinePhase::Stopped => "off",
        MachinePhase::BackOff => "off, and started again after a pause",
        MachinePhase::Deleting => "being deleted",
        MachinePhase::Failed => "failed",
    }
}

/// The data port of a machine's node.
struct Node<'a> {
    app: &'a App,
    client: reqwest::Client,
    name: &'a Name,
    url: String,
}

impl<'a> Node<'a> {
    async fn of(app: &'a App, machine: &'a Machine) -> Answer<Self> {
        let Some(placement) = &machine.placement else {
            let detail = format!("machine {} is on no node yet", machine.meta.name);
            return Err(Failure::new(Code::WrongPower, detail));
        };
        let name = &placement.node;
        let Some(data_url) = app.data_url(name).await? else {
            let detail = format!(
                "the agent of node {name} is not connected; machine {} may run",
                machine.meta.name
            );
            return Err(Failure::new(Code::NotReady, detail));
        };
        let url = format!("{}{MACHINES_PATH}{}/", data_url.trim_end_matches('/'), machine.meta.id);
        let client = app.data_client(name)?;
        Ok(Self { app, client, name, url })
    }

    fn get(&self, what: &str) -> reqwest::RequestBuilder {
        let get = self.client.get(format!("{}{what}", self.url));
        match &self.app.agent_token {
            Some(token) => get.bearer_auth(token),
            None => get,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer<reqwest::Response> {
        match tokio::time::timeout(ANSWER_MAX, request.send()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::warn!(node = %self.name, error = %chain(&error), "a node's data port was not reached");
                Err(self.silent("can't be reached"))
            }
            Err(_) => Err(self.silent("did not answer in time")),
        }
    }

    async fn read(&self, mut answer: reqwest::Response) -> Answer<Vec<u8>> {
        let mut bytes = Vec::new();
        let whole = async {
            while let Some(piece) = answer.chunk().await.map_err(|_| self.silent("broke its answer off"))? {
                bytes.extend_from_slice(&piece);
                if bytes.len() > ANSWER_BYTES_MAX {
                    return Err(self.silent("gave an answer that is too long"));
                }
            }
            Ok(())
        };
        let read = tokio::time::timeout(ANSWER_MAX, whole).await;
        read.unwrap_or_else(|_| Err(self.silent("did not end its answer in time")))?;
        Ok(bytes)
    }

    /// What a node's refusal means for the client.
    fn refusal(&self, machine: &Machine, bytes: &[u8]) -> Failure {
        let Ok(error) = serde_json::from_slice::<DataError>(bytes) else {
            return self.silent("gave an answer that can't be read");
        };
        let (name, node) = (&machine.meta.name, self.name);
        match error.code.as_str() {
            "off" => Failure::new(
                Code::WrongPower,
                format!("machine {name}: {} on node {node}", error.message),
            ),
            "not-found" => Failure::new(
                Code::WrongPower,
                format!("machine {name} has not been made on node {node} yet"),
            ),
            "busy" => Failure::new(Code::TooManyRequests, format!("machine {name}: {}", error.message)),
            "bad-request" => Failure::new(Code::InvalidArgument, error.message),
            _ => {
                tracing::error!(%node, code = error.code, error.message, "a node refused a console");
                Failure::new(Code::Internal, format!("node {node} refused: {}", error.message))
            }
        }
    }

    fn silent(&self, what: &str) -> Failure {
        Failure::new(Code::NotReady, format!("the data port of node {} {what}", self.name))
    }
}
