//! The session with the manager: connect, say hello, take calls, send answers, notice silence, and begin again.
//!
//! It ends only when the agent does. Losing the manager changes nothing on the node: the calls under way go on, and no
//! work is started before a manager asks for it.
//!
//! ```text
//!   connecting ──200, Welcome──► open ──silence, error, end──► waiting (100 ms … 5 s, jittered) ──► connecting, next manager
//!       ▲  └──421, the leader is there──┐
//!       └───────────────────────────────┘
//! ```

pub mod lines;

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use symphony_core::counter::Epoch;
use symphony_pki::{Expect, Tls};
use symphony_protocol::enrol::Refusal;
use symphony_protocol::{Heartbeat, Hello, SESSION_PATH, SILENCE_MS_MAX, ToAgent, ToManager, Welcome};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::calls::Calls;
use crate::executor::Notices;
use crate::ledger::Ledger;
use crate::membership::{AskError, ManagerAddress, Membership, ask};
use lines::{LineError, Lines};

/// Frames that may wait for the network. Answers wait for a place, progress and heartbeats do not.
const UPLINK_MAX: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_millis(SILENCE_MS_MAX);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Between two looks for a leader while none leads.
const ELECTION_PAUSE: Duration = Duration::from_millis(300);
/// How often one manager may send this agent on to another before it takes a breath.
const HOPS_MAX: u32 = 3;

/// Why a session ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No connection, or no answer that helps.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Another manager leads; or none at the moment.
    #[error("this manager does not lead{}", .0.as_ref().map_or_else(String::new, |leader| format!("; {leader} does")))]
    Elsewhere(Option<ManagerAddress>),
    /// What the node has has changed, or its certificate: the manager must hear it.
    #[error("the node's roles or its certificate have changed")]
    Changed,
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
    membership: Membership,
    hello: watch::Receiver<Hello>,
    ledger: Ledger,
    calls: Calls,
    notices: Notices,
}

/// Which manager is next.
#[derive(Debug, Default)]
struct Course {
    /// Where the leader is, as one said who does not lead; or who was left for a moment only.
    hint: Option<ManagerAddress>,
    hops: u32,
    turn: usize,
    backoff: Duration,
}

impl Session {
    /// Prepares; nothing is sent yet. `hello.epoch_seen` is filled in at each connection.
    ///
    /// # Errors
    /// The HTTP client can't be made.
    pub fn new(
        membership: Membership,
        tls: &Tls,
        hello: watch::Receiver<Hello>,
        ledger: Ledger,
        calls: Calls,
        notices: Notices,
    ) -> Result<Self, reqwest::Error> {
        let mut config = tls.client_config(Expect::Manager);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .http2_prior_knowledge()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self {
            client,
            membership,
            hello,
            ledger,
            calls,
            notices,
        })
    }

    /// Holds a session, again and again, until the agent ends.
    pub async fn keep(mut self, end: CancellationToken) {
        let mut course = Course::default();
        loop {
            let manager = course.next(&self.membership.managers());
            let mut welcomed = false;
            let error = tokio::select! {
                // Dropping the session closes its connection; the calls under way have tasks of their own.
                () = end.cancelled() => return,
                error = self.hold(&manager, &mut welcomed) => error,
            };
            let pause = course.after(&error, &manager, welcomed, self.membership.managers().len());
            self.tell(&error, &manager);
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn tell(&self, error: &SessionError, manager: &ManagerAddress) {
        match error {
            SessionError::Elsewhere(Some(leader)) => tracing::debug!(%manager, %leader, "sent on to the leader"),
            SessionError::Changed => tracing::debug!(%manager, "saying anew what this node has"),
            _ => {
                if let SessionError::Ask(ask) = error
                    && ask.code() == Some(Refusal::STRANGER)
                {
                    self.membership.is_removed();
                }
                let text = Chain(error).to_string();
                tracing::warn!(error = text, %manager, "no session; trying again");
                self.membership.contact(manager, Some(text));
            }
        }
    }

    /// One session, from the connection to its end.
    async fn hold(&mut self, manager: &ManagerAddress, welcomed: &mut bool) -> SessionError {
        match self.run(manager, welcomed).await {
            Ok(()) => SessionError::Ended,
            Err(error) => error,
        }
    }

    async fn run(&mut self, manager: &ManagerAddress, welcomed: &mut bool) -> Result<(), SessionError> {
        let (uplink, frames) = mpsc::channel::<ToManager>(UPLINK_MAX);
        let mut hello = Hello {
            epoch_seen: self.ledger.epoch_seen(),
            revision_seen: self.ledger.revision_seen(),
            admission: Some(self.ledger.admission()),
            ..self.hello.borrow_and_update().clone()
        };
        // One that was removed, and let in again for less, still has what the other roles need.
        let roles = self.membership.roles();
        hello.retain_roles(|role| roles.borrow().contains(&role));
        // The queue is empty, so there is room.
        let _ = uplink.try_send(ToManager::Hello(hello));
        let mut lines = Lines::new(self.connect(manager, frames).await?);
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
        self.membership.learn(&welcome.members);
        self.membership.contact(manager, None);
        tracing::info!(%manager, epoch = %welcome.epoch, "session open");
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
                        Some(ToAgent::Readmit(readmit)) => self.calls.readmit(*readmit, &uplink),
                        Some(ToAgent::Heartbeat) => {}
                        Some(ToAgent::Members(members)) => {
                            self.membership.learn(&members);
                            self.ledger.see_revision(members.revision.unwrap_or(0)).await;
                        }
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
                // An agent that ends is dropped here.
                Ok(()) = self.hello.changed() => return Err(SessionError::Changed),
                () = self.membership.to_be_shown() => return Err(SessionError::Changed),
                () = tokio::time::sleep_until(heard + SILENCE_MAX) => return Err(SessionError::Silence),
            }
        }
    }

    async fn connect(
        &self,
        manager: &ManagerAddress,
        frames: mpsc::Receiver<ToManager>,
    ) -> Result<impl futures_util::Stream<Item = reqwest::Result<Bytes>> + Unpin + use<>, SessionError> {
        let body = ReceiverStream::new(frames).map(|frame| {
            let mut line = serde_json::to_vec(&frame).map_err(std::io::Error::other)?;
            line.push(b'\n');
            Ok::<_, std::io::Error>(Bytes::from(line))
        });
        let request = self.client.post(format!("https://{manager}{SESSION_PATH}"));
        let request = request.body(reqwest::Body::wrap_stream(body));
        let answer = tokio::time::timeout(SILENCE_MAX, request.send())
            .await
            .map_err(|_| SessionError::Silence)?;
        let answer = answer.map_err(|error| ask::failed(manager, &error))?;
        let status = answer.status().as_u16();
        if status == 200 {
            return Ok(answer.bytes_stream().boxed());
        }
        let bytes = tokio::time::timeout(SILENCE_MAX, ask::body(answer)).await;
        let bytes = bytes.map_err(|_| SessionError::Silence)?.unwrap_or_default();
        let address = manager.clone();
        Err(match ask::refusal(status, &bytes) {
            Ok(refusal) if status == 421 || status == 503 => SessionError::Elsewhere(ask::leader(&refusal)),
            Ok(refusal) => AskError::Refused { address, refusal }.into(),
            Err(what) => AskError::Nonsense { address, what }.into(),
        })
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
        self.ledger.see_revision(welcome.members.revision.unwrap_or(0)).await;
        self.ledger.hear(welcome.admission);
        Ok(())
    }
}

impl Course {
    /// Where to go now.
    fn next(&self, managers: &[ManagerAddress]) -> ManagerAddress {
        let in_turn = || managers[self.turn % managers.len()].clone();
        self.hint.clone().unwrap_or_else(in_turn)
    }

    /// What a session's end means for the next: where to, and after which pause. The pause grows once all managers were
    /// tried in vain.
    fn after(&mut self, error: &SessionError, manager: &ManagerAddress, welcomed: bool, managers: usize) -> Duration {
        if welcomed {
            (self.hops, self.backoff) = (0, BACKOFF_MIN);
        }
        match error {
            SessionError::Changed => {
                self.hint = Some(manager.clone());
                return Duration::ZERO;
            }
            SessionError::Elsewhere(Some(leader)) if leader != manager && self.hops < HOPS_MAX => {
                self.hint = Some(leader.clone());
                self.hops += 1;
                return Duration::ZERO;
            }
            _ => {}
        }
        self.hint = None;
        self.hops = 0;
        self.turn = self.turn.wrapping_add(1);
        match error {
            SessionError::Elsewhere(_) => jittered(ELECTION_PAUSE),
            SessionError::Refused(_) | SessionError::Ask(AskError::Refused { .. }) => jittered(BACKOFF_MAX),
            _ => {
                let pause = self.backoff.max(BACKOFF_MIN);
                let is_round = self.turn.is_multiple_of(managers.max(1));
                self.backoff = if is_round { (pause * 2).min(BACKOFF_MAX) } else { pause };
                jittered(if is_round { pause } else { BACKOFF_MIN })
            }
        }
    }
}

/// Between half and all of it: agents that lost the same manager don't come back at the same moment.
pub(crate) fn jittered(duration: Duration) -> Duration {
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
    fn managers_are_tried_in_turn_and_the_leader_first() {
        let managers: Vec<ManagerAddress> = ["a", "b", "c"].iter().map(|name| name.parse().unwrap()).collect();
        let mut course = Course::default();
        let mut pauses = Vec::new();
        for round in 0..30 {
            let manager = course.next(&managers);
            assert_eq!(manager, managers[round % 3]);
            pauses.push(course.after(&SessionError::Silence, &manager, false, 3));
        }
        assert!(pauses[0] <= BACKOFF_MIN && pauses[1] <= BACKOFF_MIN && pauses[28] <= BACKOFF_MIN);
        assert!(pauses[29] >= BACKOFF_MAX / 2 && pauses[29] <= BACKOFF_MAX);

        // Sent on at once, but not for ever.
        let elsewhere = |name: &str| SessionError::Elsewhere(Some(name.parse().unwrap()));
        for (hop, leader) in ["b", "c", "b"].iter().enumerate() {
            let manager = course.next(&managers);
            assert_eq!(
                course.after(&elsewhere(leader), &manager, false, 3),
                Duration::ZERO,
                "{hop}"
            );
            assert_eq!(course.next(&managers), leader.parse().unwrap());
        }
        assert!(course.after(&elsewhere("c"), &managers[1], false, 3) >= ELECTION_PAUSE / 2);
        assert_eq!(course.hint, None);
        // Whoever names itself, or nobody, is asked again after a while.
        assert!(course.after(&elsewhere("a"), &managers[0], false, 3) >= ELECTION_PAUSE / 2);
        assert!(course.after(&SessionError::Elsewhere(None), &managers[0], false, 3) >= ELECTION_PAUSE / 2);
        // What changes on the node is said to the same manager at once.
        assert_eq!(
            course.after(&SessionError::Changed, &managers[2], true, 3),
            Duration::ZERO
        );
        assert_eq!(course.next(&managers), managers[2]);
    }

    #[test]
    fn memory_is_known() {
        assert!(memory_bytes() > 1 << 20);
    }
}
