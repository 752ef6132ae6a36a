//! The session with the manager: connect, say hello, take calls, send answers, notice silence, and begin again.
//!
//! It ends only when the agent does. Losing the manager changes nothing on the node: the calls under way go on, and no
//! work is started before a manager asks for it.
//!
//! ```text
//!   connecting ──200, Welcome──► open ──silence, error, end──► waiting (100 ms … 5 s, jittered) ──► connecting
//! ```

pub mod lines;

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use symphony_core::counter::Epoch;
use symphony_protocol::{Heartbeat, Hello, SESSION_PATH, SILENCE_MS_MAX, ToAgent, ToManager, Welcome};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::calls::Calls;
use crate::executor::Notices;
use crate::ledger::Ledger;
use lines::{LineError, Lines};

/// Frames that may wait for the network. Answers wait for a place, progress and heartbeats do not.
const UPLINK_MAX: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_millis(SILENCE_MS_MAX);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Why a session ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No connection, or it broke.
    #[error("the manager can't be reached")]
    Connect(#[source] reqwest::Error),
    /// Another answer than 200.
    #[error("the manager answered {status}{hint}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What to do about it.
        hint: &'static str,
    },
    /// The manager does not want this agent.
    #[error("the manager refuses this agent: {0}")]
    Refused(String),
    /// A deposed manager.
    #[error("the manager has epoch {manager}, and one with epoch {seen} was heard before")]
    Deposed {
        /// Of this manager.
        manager: Epoch,
        /// The highest that was seen.
        seen: Epoch,
    },
    /// Bytes that are no frame.
    #[error("the manager sent what is no frame")]
    Frame(#[source] LineError),
    /// A frame at a time when it makes no sense.
    #[error("the manager sent a frame out of order")]
    Order,
    /// Nothing was heard.
    #[error("nothing was heard of the manager for {} s", SILENCE_MAX.as_secs())]
    Silence,
    /// The manager closed it.
    #[error("the manager ended the session")]
    Ended,
}

/// What a session needs.
pub struct Session {
    client: reqwest::Client,
    manager: String,
    token: String,
    hello: Hello,
    ledger: Ledger,
    calls: Calls,
    notices: Notices,
}

impl Session {
    /// Prepares; nothing is sent yet. `hello.epoch_seen` is filled in at each connection.
    ///
    /// # Errors
    /// The HTTP client can't be made.
    pub fn new(
        manager: &str,
        token: &str,
        hello: Hello,
        ledger: Ledger,
        calls: Calls,
        notices: Notices,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(symphony_pki::trusting_nobody())
            .http2_prior_knowledge()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .build()?;
        let manager = manager.trim_end_matches('/').to_owned();
        Ok(Self {
            client,
            manager,
            token: token.to_owned(),
            hello,
            ledger,
            calls,
            notices,
        })
    }

    /// Holds a session, again and again, until the agent ends.
    pub async fn keep(mut self, end: CancellationToken) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let mut welcomed = false;
            let error = tokio::select! {
                // Dropping the session closes its connection; the calls under way have tasks of their own.
                () = end.cancelled() => return,
                error = self.hold(&mut welcomed) => error,
            };
            tracing::warn!(error = %Chain(&error), manager = %self.manager, "no session; trying again");
            backoff = match error {
                SessionError::Refused(_) | SessionError::Status { .. } => BACKOFF_MAX,
                _ if welcomed => BACKOFF_MIN,
                _ => (backoff * 2).min(BACKOFF_MAX),
            };
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(jittered(backoff)) => {}
            }
        }
    }

    /// One session, from the connection to its end.
    async fn hold(&mut self, welcomed: &mut bool) -> SessionError {
        match self.run(welcomed).await {
            Ok(()) => SessionError::Ended,
            Err(error) => error,
        }
    }

    async fn run(&mut self, welcomed: &mut bool) -> Result<(), SessionError> {
        let (uplink, frames) = mpsc::channel::<ToManager>(UPLINK_MAX);
        let hello = Hello {
            epoch_seen: self.ledger.epoch_seen(),
            ..self.hello.clone()
        };
        // The queue is empty, so there is room.
        let _ = uplink.try_send(ToManager::Hello(hello));
        let mut lines = Lines::new(self.connect(frames).await?);
        let first = tokio::time::timeout(SILENCE_MAX, lines.next()).await;
        let first = first.map_err(|_| SessionError::Silence)?;
        let welcome = match first.map_err(SessionError::Frame)? {
            Some(ToAgent::Welcome(welcome)) => welcome,
            Some(ToAgent::Refused(why)) => return Err(SessionError::Refused(why)),
            Some(_) => return Err(SessionError::Order),
            None => return Ok(()),
        };
        self.greet(&welcome).await?;
        *welcomed = true;
        tracing::info!(manager = %self.manager, epoch = %welcome.epoch, "session open");
        let interval = Duration::from_millis(welcome.heartbeat_ms.clamp(100, SILENCE_MS_MAX / 2));
        let mut heartbeat = tokio::time::interval_at(Instant::now() + interval, interval);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                // `Lines` keeps what it has read when it is dropped here, so no frame is lost.
                frame = lines.next() => {
                    heard = Instant::now();
                    match frame.map_err(SessionError::Frame)? {
                        Some(ToAgent::Call(call)) => {
                            // Waits only to refuse: a manager that takes no refusals is as good as silent.
                            let accepted = self.calls.accept(*call, &uplink);
                            let accepted = tokio::time::timeout(SILENCE_MAX, accepted).await;
                            accepted.map_err(|_| SessionError::Silence)?;
                        }
                        Some(ToAgent::Heartbeat) => {}
                        Some(ToAgent::Refused(why)) => return Err(SessionError::Refused(why)),
                        Some(ToAgent::Welcome(_)) => return Err(SessionError::Order),
                        None => return Ok(()),
                    }
                }
                // What was noticed without a session is told here too: it may still be news.
                Some(notice) = self.notices.next() => {
                    // A manager that is slow looks by itself.
                    let _ = uplink.try_send(ToManager::Noticed(notice));
                }
                _ = heartbeat.tick() => {
                    let calls = u32::try_from(self.calls.under_way()).unwrap_or(u32::MAX);
                    // A full queue is a sign of life itself.
                    let _ = uplink.try_send(ToManager::Heartbeat(Heartbeat { calls, memory_bytes: memory_bytes() }));
                }
                () = tokio::time::sleep_until(heard + SILENCE_MAX) => return Err(SessionError::Silence),
            }
        }
    }

    async fn connect(
        &self,
        frames: mpsc::Receiver<ToManager>,
    ) -> Result<impl futures_util::Stream<Item = reqwest::Result<Bytes>> + Unpin + use<>, SessionError> {
        let body = ReceiverStream::new(frames).map(|frame| {
            let mut line = serde_json::to_vec(&frame).map_err(std::io::Error::other)?;
            line.push(b'\n');
            Ok::<_, std::io::Error>(Bytes::from(line))
        });
        let request = self.client.post(format!("{}{SESSION_PATH}", self.manager));
        let request = request.bearer_auth(&self.token).body(reqwest::Body::wrap_stream(body));
        let answer = tokio::time::timeout(SILENCE_MAX, request.send())
            .await
            .map_err(|_| SessionError::Silence)?;
        let answer = answer.map_err(SessionError::Connect)?;
        match answer.status().as_u16() {
            200 => Ok(answer.bytes_stream().boxed()),
            401 | 403 => Err(SessionError::Status {
                status: 401,
                hint: ": is the token in agent.toml the manager's?",
            }),
            404 => Err(SessionError::Status {
                status: 404,
                hint: ": is the address in agent.toml a manager's?",
            }),
            status => Err(SessionError::Status { status, hint: "" }),
        }
    }

    async fn greet(&self, welcome: &Welcome) -> Result<(), SessionError> {
        let seen = self.ledger.epoch_seen();
        if welcome.epoch < seen {
            return Err(SessionError::Deposed {
                manager: welcome.epoch,
                seen,
            });
        }
        self.ledger.see_epoch(welcome.epoch).await;
        Ok(())
    }
}

/// Between half and all of it: agents that lost the same manager don't come back at the same moment.
fn jittered(duration: Duration) -> Duration {
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let half = duration / 2;
    half + half.mul_f64(f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX))
}

/// Resident memory of this process; 0 when nobody knows.
fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// An error with all its causes.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_jittered_and_bounded() {
        let waits: Vec<_> = (0..100).map(|_| jittered(BACKOFF_MAX)).collect();
        assert!(waits.iter().all(|wait| (BACKOFF_MAX / 2..=BACKOFF_MAX).contains(wait)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }

    #[test]
    fn memory_is_known() {
        assert!(memory_bytes() > 1 << 20);
    }
}
