//! One session: frames out through a bounded queue, answers in by call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use symphony_core::counter::Admission;
use symphony_core::id::CallId;
use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_protocol::{Failure, Hello, Notice, Outcome, Progress, ToAgent, ToManager};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::Agents;

/// The manager's side of a session.
pub(super) struct Line {
    pub(super) node: Name,
    pub(super) data_url: String,
    pub(super) roles: Vec<Role>,
    pub(super) number: u64,
    /// The protocol that its agent speaks.
    pub(super) protocol: u32,
    /// Whether its node was enrolled when the session began.
    pub(super) is_member: bool,
    /// Under what the node was let in; nothing while it settles what it may keep.
    admitted: OnceLock<Admission>,
    /// Whether the agent has said that it settled.
    has_settled: AtomicBool,
    notices: broadcast::Sender<Notice>,
    to_agent: Mutex<Option<mpsc::Sender<ToAgent>>>,
    pending: Mutex<HashMap<CallId, Waiting>>,
}

struct Waiting {
    answer: oneshot::Sender<Result<Outcome, Failure>>,
    progress: Option<watch::Sender<Option<Progress>>>,
}

impl Line {
    pub(super) fn new(
        hello: &Hello,
        number: u64,
        is_member: bool,
        to_agent: mpsc::Sender<ToAgent>,
        notices: broadcast::Sender<Notice>,
    ) -> Self {
        Self {
            node: hello.node.clone(),
            data_url: hello.data_url.clone(),
            roles: hello.roles.clone(),
            number,
            protocol: hello.protocol,
            is_member,
            admitted: OnceLock::new(),
            has_settled: AtomicBool::new(false),
            notices,
            to_agent: Mutex::new(Some(to_agent)),
            pending: Mutex::default(),
        }
    }

    pub(super) fn admitted(&self) -> Option<Admission> {
        self.admitted.get().copied()
    }

    pub(super) fn admit(&self, admission: Admission) {
        let _ = self.admitted.set(admission);
    }

    /// Sends a frame, waiting while the queue is full.
    pub(super) async fn send(&self, frame: ToAgent) -> Result<(), ()> {
        let sender = self
            .to_agent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(())?;
        sender.send(frame).await.map_err(|_| ())
    }

    /// Sends a frame, if there is room in the queue.
    pub(super) fn offer(&self, frame: ToAgent) {
        let sender = self.to_agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.as_ref() {
            let _ = sender.try_send(frame);
        }
    }

    /// Ends the session: nothing is sent any more, and whoever waits for an answer learns that none will come.
    pub(super) fn hang_up(&self) {
        self.to_agent.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.pending().clear();
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<CallId, Waiting>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits; when its caller gives up, its answer is nobody's.
pub(super) struct Pending<'a> {
    line: &'a Line,
    id: CallId,
}

impl<'a> Pending<'a> {
    pub(super) fn begin(
        line: &'a Line,
        id: CallId,
        answer: oneshot::Sender<Result<Outcome, Failure>>,
        progress: Option<watch::Sender<Option<Progress>>>,
    ) -> Self {
        line.pending().insert(id, Waiting { answer, progress });
        Self { line, id }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.line.pending().remove(&self.id);
    }
}

/// The ends that the server holds. Dropping it ends the session.
pub struct Session {
    agents: Agents,
    line: Arc<Line>,
    /// What to send to the agent, in order; closed when the session is over.
    pub to_agent: mpsc::Receiver<ToAgent>,
}

impl Session {
    pub(super) fn new(agents: Agents, line: Arc<Line>, to_agent: mpsc::Receiver<ToAgent>) -> Self {
        Self { agents, line, to_agent }
    }

    /// The part that takes frames, for the task that reads them.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        Inbox {
            agents: self.agents.clone(),
            line: Arc::clone(&self.line),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.agents.drop_line(&self.line);
    }
}

/// Takes what an agent sends.
pub struct Inbox {
    agents: Agents,
    line: Arc<Line>,
}

impl Inbox {
    /// Takes one frame. Never waits.
    pub fn receive(&self, frame: ToManager) {
        match frame {
            ToManager::Answer(answer) => {
                let waiting = self.line.pending().remove(&answer.call);
                if let Some(waiting) = waiting {
                    // Whoever asked may have given up.
                    let _ = waiting.answer.send(answer.result);
                }
            }
            ToManager::Progress(progress) => {
                if let Some(sender) = self
                    .line
                    .pending()
                    .get(&progress.call)
                    .and_then(|waiting| waiting.progress.as_ref())
                {
                    sender.send_replace(Some(progress));
                }
            }
            ToManager::Noticed(notice) => {
                // Without a loop that listens nobody needs to know.
                let _ = self.line.notices.send(notice);
            }
            ToManager::Readmitted(readmitted) => {
                // Once a session, whatever the agent says.
                if self.line.admitted().is_none() && !self.line.has_settled.swap(true, Ordering::SeqCst) {
                    let (agents, line) = (self.agents.clone(), Arc::clone(&self.line));
                    tokio::spawn(async move { agents.settled(line, readmitted).await });
                }
            }
            ToManager::Heartbeat(_) | ToManager::Hello(_) => {}
        }
    }
}
