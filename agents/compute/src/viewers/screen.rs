//! One viewer of a screen: the bytes of VNC, as they come.

use axum::extract::ws::{Message, WebSocket, close_code};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{PING_EVERY, SEND_TIMEOUT, SILENCE_MAX, close, send};

const READ_BYTES: usize = 32 << 10;

/// Carries both directions until one side ends.
pub(super) async fn carry(mut socket: WebSocket, vnc: UnixStream, _seat: OwnedSemaphorePermit) {
    if exchange(&mut socket, vnc).await {
        close(socket, close_code::NORMAL, "the machine is off").await;
    }
}

/// Whether the viewer is still there at the end.
async fn exchange(socket: &mut WebSocket, vnc: UnixStream) -> bool {
    let (mut from, mut to) = vnc.into_split();
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut shown = BytesMut::new();
    loop {
        shown.reserve(READ_BYTES);
        tokio::select! {
            read = from.read_buf(&mut shown) => {
                match read {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return true,
                }
                if !send(socket, Message::Binary(shown.split().freeze())).await {
                    return false;
                }
            }
            message = socket.recv() => {
                heard = Instant::now();
                let bytes = match message {
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                };
                // Keys and the pointer are a few bytes; a screen that takes none is no longer one.
                match tokio::time::timeout(SEND_TIMEOUT, to.write_all(&bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return true,
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE_MAX || !send(socket, Message::Ping(Bytes::new())).await {
                    return false;
                }
            }
        }
    }
}
