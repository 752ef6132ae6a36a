//! One viewer of a console.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, close_code};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{HISTORY_BYTES_MAX, PING_EVERY, SILENCE_MAX, close, send};
use crate::console::{Console, INPUT_BYTES_MAX, View};

/// How much of what was said goes into one message, in bytes, when it comes faster than the viewer takes it.
const MESSAGE_BYTES: usize = 32 << 10;

/// Why a viewer is let go.
enum End {
    /// The machine is off, and everything was told.
    Off,
    /// So many pieces were lost.
    Lagged(u64),
    /// There is nobody to say goodbye to.
    Gone,
}

/// Tells a viewer what the guest says, and the guest what the viewer says.
pub(super) async fn watch(mut socket: WebSocket, console: Arc<Console>, _seat: OwnedSemaphorePermit) {
    let view = match console.view() {
        Ok(view) => view,
        Err(error) => {
            tracing::warn!(%error, "a console's log can't be read");
            return close(socket, close_code::ERROR, "the console's log can't be read").await;
        }
    };
    match carry(&mut socket, &console, view).await {
        End::Off => close(socket, close_code::NORMAL, "the machine is off").await,
        End::Lagged(pieces) => {
            let reason = format!("the viewer was too slow, and {pieces} pieces of output passed it by");
            close(socket, close_code::POLICY, &reason).await;
        }
        End::Gone => {}
    }
}

async fn carry(socket: &mut WebSocket, console: &Console, view: View) -> End {
    let View {
        mut history,
        mut output,
        ended,
    } = view;
    let before = history.split_off(history.len().saturating_sub(HISTORY_BYTES_MAX));
    if !before.is_empty() && !send(socket, Message::Binary(before.into())).await {
        return End::Gone;
    }
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    // What the viewer said and the guest has not taken yet: one message. No other is read meanwhile.
    let mut typed: VecDeque<Bytes> = VecDeque::new();
    loop {
        // Each arm waits on something that keeps its place when another one is taken.
        tokio::select! {
            said = output.recv() => {
                let first = match said {
                    Ok(first) => first,
                    Err(RecvError::Lagged(pieces)) => return End::Lagged(pieces),
                    Err(RecvError::Closed) => return End::Off,
                };
                if let Err(end) = tell(socket, &mut output, first.to_vec()).await {
                    return end;
                }
            }
            () = ended.cancelled() => return match tell(socket, &mut output, Vec::new()).await {
                Ok(()) => End::Off,
                Err(end) => end,
            },
            room = console.room(), if !typed.is_empty() => {
                // Off: the arm above says so.
                if let (Ok(room), Some(piece)) = (room, typed.pop_front()) {
                    room.send(piece.into());
                }
                heard = Instant::now();
            }
            message = socket.recv(), if typed.is_empty() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Binary(bytes))) => typed = pieces(bytes),
                    Some(Ok(Message::Text(text))) => typed = pieces(text.into()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                }
            }
            _ = ping.tick() => {
                // A guest that does not read keeps us from hearing its viewer.
                let silent = typed.is_empty() && heard.elapsed() > SILENCE_MAX;
                if silent || !send(socket, Message::Ping(Bytes::new())).await {
                    return End::Gone;
                }
            }
        }
    }
}

/// Tells all that was said by now, in as few messages as may be.
async fn tell(socket: &mut WebSocket, output: &mut Receiver<Arc<[u8]>>, mut text: Vec<u8>) -> Result<(), End> {
    loop {
        let more = match output.try_recv() {
            Ok(piece) => {
                text.extend_from_slice(&piece);
                true
            }
            Err(TryRecvError::Lagged(pieces)) => return Err(End::Lagged(pieces)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => false,
        };
        if (!more && !text.is_empty()) || text.len() >= MESSAGE_BYTES {
            let message = Message::Binary(std::mem::take(&mut text).into());
            if !send(socket, message).await {
                return Err(End::Gone);
            }
        }
        if !more {
            return Ok(());
        }
    }
}

/// A message in pieces that a console takes.
fn pieces(mut bytes: Bytes) -> VecDeque<Bytes> {
    let mut pieces = VecDeque::new();
    while !bytes.is_empty() {
        pieces.push_back(bytes.split_to(bytes.len().min(INPUT_BYTES_MAX)));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_comes_in_pieces_and_whole() {
        let text: Vec<u8> = (0..3 * INPUT_BYTES_MAX + 1).map(|at| (at % 251) as u8).collect();
        let cut = pieces(text.clone().into());
        assert!(cut.iter().all(|piece| (1..=INPUT_BYTES_MAX).contains(&piece.len())));
        assert_eq!((cut.len(), cut.into_iter().flatten().collect::<Vec<u8>>()), (4, text));
        assert!(pieces(Bytes::new()).is_empty());
    }
}
