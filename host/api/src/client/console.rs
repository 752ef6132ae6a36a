//! A machine's serial console: a WebSocket over the client's connection, and the log of what was said.
//!
//! Never a terminal: that is the command line's.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode, Upgraded, header};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::request::read;
use super::{Client, ClientError, REQUEST_TIMEOUT};

/// Longest piece that is taken from the manager, in bytes.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// Longest piece that is sent at once, in bytes.
const INPUT_BYTES_MAX: usize = 4 << 10;
/// After this long without even a ping the connection counts as lost; the node pings every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<Upgraded>;

/// A console that is attached. Its two directions are used on their own: a guest that does not read never keeps from
/// hearing it.
pub struct Console {
    /// From the guest.
    pub output: ConsoleOutput,
    /// To the guest.
    pub input: ConsoleInput,
}

/// What the guest says.
pub struct ConsoleOutput(SplitStream<Socket>);

/// What the guest is told.
pub struct ConsoleInput(SplitSink<Socket, Message>);

/// What came of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The guest printed something.
    Bytes(Bytes),
    /// It is over: why.
    Ended(ConsoleEnd),
}

/// Why a console ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleEnd {
    /// The machine is off.
    Off,
    /// This viewer did not read fast enough, and missed something.
    Lagged(String),
    /// The node's agent or the manager ends; the machine goes on.
    GoingAway(String),
    /// Anything else, in the words of the node.
    Other(String),
}

impl Client {
    /// Attaches to a machine's console: first comes the end of what it has said so far, then what it says.
    ///
    /// # Errors
    /// When there is no such machine, it is not running (`wrong_power`), too many watch it, or nothing was answered.
    pub async fn console(&self, machine: &str) -> Result<Console, ClientError> {
        let key = generate_key();
        let url = self.url(&["v1", "projects", &self.project, "machines", machine, "console"])?;
        let request = self
            .request(Method::GET, url)
            .version(reqwest::Version::HTTP_11)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.reach(request)).await;
        let answer = answer.map_err(|_| ClientError::ConsoleLost(None))??;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refusal(answer).await);
        }
        let accept = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(ClientError::Strange {
                what: self.address().to_owned(),
                status: answer.status().as_u16(),
            });
        }
        let upgraded = answer.upgrade().await;
        let upgraded = upgraded.map_err(|source| ClientError::transport("the console was not opened", source))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(PIECE_BYTES_MAX))
            .max_frame_size(Some(PIECE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        let (input, output) = socket.split();
        Ok(Console {
            output: ConsoleOutput(output),
            input: ConsoleInput(input),
        })
    }

    /// What is kept of what a machine has said on its console: the last 128 to 256 KiB.
    ///
    /// # Errors
    /// When there is no such machine, it has not been placed, or nothing was answered.
    pub async fn console_log(&self, machine: &str) -> Result<Vec<u8>, ClientError> {
        let url = self.url(&["v1", "projects", &self.project, "machines", machine, "console", "log"])?;
        let request = self.request(Method::GET, url).timeout(REQUEST_TIMEOUT);
        read(self.send(request).await?).await
    }
}

impl ConsoleOutput {
    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn next(&mut self) -> Result<Said, ClientError> {
        loop {
            let message = tokio::time::timeout(SILENCE_MAX, self.0.next()).await;
            match message.map_err(|_| ClientError::ConsoleLost(None))? {
                Some(Ok(Message::Binary(bytes))) => return Ok(Said::Bytes(bytes)),
                Some(Ok(Message::Text(text))) => return Ok(Said::Bytes(text.into())),
                Some(Ok(Message::Close(frame))) => return Ok(Said::Ended(end(frame))),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(ClientError::ConsoleLost(Some(Box::new(error)))),
                None => return Err(ClientError::ConsoleLost(None)),
            }
        }
    }
}

impl ConsoleInput {
    /// Sends the guest something, as if it was typed. Waits while the guest does not read.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for piece in bytes.chunks(INPUT_BYTES_MAX) {
            let sent = self.0.send(Message::Binary(Bytes::copy_from_slice(piece))).await;
            sent.map_err(|error| ClientError::ConsoleLost(Some(Box::new(error))))?;
        }
        Ok(())
    }

    /// Says goodbye. The machine goes on.
    pub async fn close(mut self) {
        // Whoever is gone already needs no goodbye.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.0.close()).await;
    }
}

/// What the node means: its codes are those of RFC 6455.
fn end(frame: Option<CloseFrame>) -> ConsoleEnd {
    let Some(CloseFrame { code, reason }) = frame else {
        return ConsoleEnd::Other("it was closed without a reason".to_owned());
    };
    let reason = reason.to_string();
    match code {
        CloseCode::Normal => ConsoleEnd::Off,
        CloseCode::Policy => ConsoleEnd::Lagged(reason),
        CloseCode::Away => ConsoleEnd::GoingAway(reason),
        _ => ConsoleEnd::Other(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_by_their_codes() {
        let frame = |code| {
            Some(CloseFrame {
                code,
                reason: "why".into(),
            })
        };
        assert_eq!(end(frame(CloseCode::Normal)), ConsoleEnd::Off);
        assert_eq!(end(frame(CloseCode::Policy)), ConsoleEnd::Lagged("why".to_owned()));
        assert_eq!(end(frame(CloseCode::Away)), ConsoleEnd::GoingAway("why".to_owned()));
        assert_eq!(end(frame(CloseCode::Error)), ConsoleEnd::Other("why".to_owned()));
        assert!(matches!(end(None), ConsoleEnd::Other(_)));
    }
}
