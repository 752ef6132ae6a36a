//! Who watches machines: their consoles and screens on the data port, as WebSockets, and the consoles' logs.
//!
//! A viewer that is slow loses its place, never anybody else's time: each has a task of its own, and the console waits
//! for none of them.

mod screen;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use symphony_agent::data::refuse;
use symphony_protocol::data::MACHINES_PATH;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::Machines;
use crate::console::{Console, VIEWERS_MAX};

/// How much of what was said before a viewer gets at first, in bytes.
pub const HISTORY_BYTES_MAX: usize = 64 << 10;
/// Longest message that is taken from a viewer, in bytes.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// How often a viewer is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A viewer that says nothing for so long, not even that it is there, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(50);
/// How long a viewer may take nothing at all.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// What the data port serves of machines.
pub fn routes(machines: Arc<Machines>) -> Router {
    Router::new()
        .route(&format!("{MACHINES_PATH}{{machine}}/console"), get(console))
        .route(&format!("{MACHINES_PATH}{{machine}}/console/log"), get(log))
        .route(&format!("{MACHINES_PATH}{{machine}}/screen"), get(screen))
        .with_state(machines)
}

async fn console(State(machines): State<Arc<Machines>>, Path(machine): Path<String>, upgrade: Upgrade) -> Response {
    let console = match known(&machines, &machine) {
        Ok(console) => console,
        Err(refused) => return *refused,
    };
    // After a new start of the agent, nobody may have asked for this machine yet.
    if console.connect().await.is_err() {
        return refuse(StatusCode::CONFLICT, "off", "the machine is off, or has no console");
    }
    let (upgrade, seat) = match place(&console, upgrade) {
        Ok(both) => both,
        Err(refused) => return *refused,
    };
    upgrade.on_upgrade(move |socket| watch::watch(socket, console, seat))
}

async fn log(State(machines): State<Arc<Machines>>, Path(machine): Path<String>) -> Response {
    let console = match known(&machines, &machine) {
        Ok(console) => console,
        Err(refused) => return *refused,
    };
    match console.view() {
        Ok(view) => ([(header::CONTENT_TYPE, "application/octet-stream")], view.history).into_response(),
        Err(error) => {
            tracing::warn!(%error, machine, "a console's log can't be read");
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the console's log can't be read",
            )
        }
    }
}

async fn screen(State(machines): State<Arc<Machines>>, Path(machine): Path<String>, upgrade: Upgrade) -> Response {
    let console = match known(&machines, &machine) {
        Ok(console) => console,
        Err(refused) => return *refused,
    };
    let (upgrade, seat) = match place(&console, upgrade) {
        Ok(both) => both,
        Err(refused) => return *refused,
    };
    let connected = match machines.screen(&machine) {
        Ok(socket) => UnixStream::connect(socket).await.ok(),
        Err(_) => None,
    };
    let Some(vnc) = connected else {
        return refuse(StatusCode::CONFLICT, "off", "the machine is off, or has no screen");
    };
    let upgrade = upgrade.protocols(["binary"]);
    upgrade.on_upgrade(move |socket| screen::carry(socket, vnc, seat))
}

fn known(machines: &Machines, machine: &str) -> Result<Arc<Console>, Box<Response>> {
    let console = machines.is_known(machine).then(|| machines.console(machine).ok());
    let missing = || refuse(StatusCode::NOT_FOUND, "not-found", "there is no such machine here");
    console.flatten().ok_or_else(|| Box::new(missing()))
}

fn place(console: &Console, upgrade: Upgrade) -> Result<(WebSocketUpgrade, OwnedSemaphorePermit), Box<Response>> {
    let upgrade = upgrade.map_err(|wrong| refuse(wrong.status(), "bad-request", wrong.body_text()));
    let upgrade = upgrade?
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX);
    let busy = || {
        let message = format!("{VIEWERS_MAX} viewers watch this machine, and more are not taken");
        refuse(StatusCode::TOO_MANY_REQUESTS, "busy", message)
    };
    let seat = console.seat().ok_or_else(|| Box::new(busy()))?;
    Ok((upgrade, seat))
}

/// Sends a message; false when the viewer is gone, or took nothing for too long.
async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(
        tokio::time::timeout(SEND_TIMEOUT, socket.send(message)).await,
        Ok(Ok(()))
    )
}

/// Says goodbye with a reason, and waits a little until it was heard.
async fn close(mut socket: WebSocket, code: u16, reason: &str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let goodbye = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            // What still comes is thrown away: closing over it would take the goodbye back.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
}
