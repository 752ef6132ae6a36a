//! The agents that have a session, and calls to them.
//!
//! One session per node: a newer one takes the place of an older one. A call waits for its answer or for the end of the
//! session; then nobody knows whether the work was done, and the next facts will tell. What is stored about nodes is in
//! [`nodes`].

mod membership;
mod nodes;
mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symphony_core::counter::{Admission, Epoch, Generation, Tenure};
use symphony_core::id::CallId;
use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_protocol::{
    Call, Failure, FailureKind, HEARTBEAT_MS, Hello, Notice, Outcome, Progress, Readmitted, ToAgent, Welcome, Work,
    version_refusal,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::view::View;
use crate::write::Writer;

pub use session::{Inbox, Session};
use session::{Line, Pending};

/// Frames that may wait for an agent; more wait with their callers.
const QUEUE: usize = 256;
/// Notices that may wait for the loops; the oldest are dropped then, and the loops look again anyway.
const NOTICES_MAX: usize = 1_024;

/// The sessions. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    shared: Arc<Shared>,
}

struct Shared {
    epoch: Epoch,
    writer: Writer,
    view: View,
    lines: Mutex<HashMap<Name, Arc<Line>>>,
    changed: watch::Sender<u64>,
    sessions: AtomicU64,
    notices: broadcast::Sender<Notice>,
    /// Ends with the term: then there are no sessions any more.
    term: CancellationToken,
}

/// Why an agent gets no session. The text is sent to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// One call to a node.
pub(crate) struct Request<'a> {
    pub(crate) node: &'a Name,
    pub(crate) object: String,
    pub(crate) generation: Generation,
    pub(crate) tenure: Tenure,
    /// The node's, as it was when this was decided on.
    pub(crate) admission: Admission,
    pub(crate) work: Work,
}

impl Agents {
    /// Without a session yet; when `term` is cancelled there is none any more.
    pub(crate) fn new(writer: Writer, view: View, term: CancellationToken) -> Self {
        let (changed, _) = watch::channel(0);
        let epoch = writer.leadership().epoch();
        let shared = Shared {
            epoch,
            writer,
            view,
            lines: Mutex::default(),
            changed,
            sessions: AtomicU64::new(0),
            notices: broadcast::channel(NOTICES_MAX).0,
            term,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Ends all sessions when the term ends: agents go to whoever leads then. A manager that only stopped sending work would
    /// keep them for as long as it lives.
    pub(crate) async fn end_with_term(self) {
        self.shared.term.cancelled().await;
        for line in self.lines().values() {
            line.hang_up();
        }
    }

    /// Writes `unknown` on nodes that are not heard of, until `stop`.
    pub(crate) fn watch_silence(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        nodes::watch_silence(self.clone(), stop)
    }

    /// Tells agents of the cluster's members, until `stop`.
    pub(crate) fn follow_members(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        membership::follow(self.clone(), stop)
    }

    /// Gives an agent its session and registers its node.
    ///
    /// # Errors
    /// With the text for the agent: another protocol, a later epoch seen, a store that can't be written.
    pub async fn connect(&self, hello: Hello) -> Result<Session, Refused> {
        if let Some(text) = version_refusal(hello.protocol) {
            return Err(Refused(text));
        }
        if hello.epoch_seen > self.shared.epoch {
            return Err(Refused(format!(
                "the agent has seen epoch {}, this manager has {}; it does not lead any more",
                hello.epoch_seen, self.shared.epoch
            )));
        }
        self.check_store(&hello).await?;
        let (to_agent, frames) = mpsc::channel(QUEUE);
        let is_member = {
            let key = symphony_core::keys::node_enrolment(&hello.node);
            self.shared.view.read().enrolments.contains_key(&key)
        };
        let number = self.shared.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let line = Arc::new(Line::new(
            &hello,
            number,
            is_member,
            to_agent,
            self.shared.notices.clone(),
        ));
        // From here on its end takes it off the list, also when whoever waits for this gives up before it is done: a node
        // that is gone must not look as if it were connected.
        let session = Session::new(self.clone(), Arc::clone(&line), frames);
        {
            let mut lines = self.lines();
            // Looked at under the lock that the end of the term takes: a session is ended by it, or never begins.
            if self.shared.term.is_cancelled() {
                return Err(Refused("this manager does not lead any more".to_owned()));
            }
            if let Some(older) = lines.insert(hello.node.clone(), Arc::clone(&line)) {
                older.hang_up();
            }
        }
        let registered = nodes::register(self, &hello)
            .await
            .map_err(|error| Refused(format!("node {} could not be registered: {error}", hello.node)))?;
        // After the registration: what was written of its certificate before has been seen by now.
        let members = membership::for_node(&self.shared.view.read(), &hello.node);
        let welcome = Welcome {
            epoch: self.shared.epoch,
            heartbeat_ms: HEARTBEAT_MS,
            admission: hello.admission.is_some().then_some(registered.admission),
            members,
        };
        // Nothing else was sent before: calls wait until the node is admitted. A line that was hung up takes nothing.
        let _ = line.send(ToAgent::Welcome(welcome)).await;
        match registered.readmit {
            Some(readmit) => {
                let _ = line.send(ToAgent::Readmit(Box::new(readmit))).await;
                tracing::info!(node = %hello.node, admission = %registered.admission, "the agent is told what it may keep");
            }
            None => self.admit(&line, registered.admission),
        }
        Ok(session)
    }

    /// Looks that the store is not older than what the agent was told of it: what was decided and acknowledged since then
    /// is unknown in it, and a node that follows it would undo that.
    async fn check_store(&self, hello: &Hello) -> Result<(), Refused> {
        let seen = hello.revision_seen;
        let is_comparable = hello.epoch_seen.life() == self.shared.epoch.life();
        if !is_comparable || seen <= self.shared.view.read().revision().0 {
            return Ok(());
        }
        // The view may be behind the store.
        let status = self.shared.writer.store().status().await;
        let newest = status
            .map_err(|error| Refused(format!("the store can't be read: {error}")))?
            .revision
            .0;
        if seen <= newest {
            return Ok(());
        }
        tracing::error!(
            node = %hello.node, seen, newest,
            "the store is older than what this node was told of: it was put back to an older state. The node goes on as it \
             is and takes no orders. Bring back the newer store, or accept the older one: `symphony backup` of it, and \
             `symphony restore` into an empty store"
        );
        Err(Refused(format!(
            "the store is at revision {newest}, and this node was told of {seen}: the store was put back to an older state; \
             nothing is changed on the node until the newer store is back, or the older one went through `symphony backup` \
             and `symphony restore`"
        )))
    }

    /// Lets calls through.
    fn admit(&self, line: &Line, admission: Admission) {
        line.admit(admission);
        tracing::info!(node = %line.node, "the agent has a session");
        self.changed();
    }

    /// An agent has settled what it may keep.
    async fn settled(&self, line: Arc<Line>, readmitted: Readmitted) {
        match nodes::admit(self, &line.node, &readmitted).await {
            Ok(true) => self.admit(&line, readmitted.admission),
            // It was fenced again, or is another session's matter; a session that is left over ends.
            Ok(false) => self.drop_line(&line),
            Err(error) => {
                tracing::warn!(node = %line.node, %error, "a node could not be let in");
                self.drop_line(&line);
            }
        }
    }

    /// The nodes that have a session, admitted or not.
    pub(crate) fn has_session(&self, node: &Name) -> bool {
        self.lines().contains_key(node)
    }

    /// The data port of a node that has a session.
    #[must_use]
    pub fn data_url(&self, node: &Name) -> Option<String> {
        let lines = self.lines();
        let line = lines.get(node).filter(|line| line.admitted().is_some())?;
        Some(line.data_url.clone())
    }

    /// The image service that takes new images: the first by name that has a session.
    #[must_use]
    pub fn image_service(&self) -> Option<(Name, String)> {
        let lines = self.lines();
        let first = lines
            .values()
            .filter(|line| line.admitted().is_some() && line.roles.contains(&Role::Image))
            .min_by(|a, b| a.node.cmp(&b.node))?;
        Some((first.node.clone(), first.data_url.clone()))
    }

    /// The nodes that have a session and may be asked for something.
    #[must_use]
    pub fn connected(&self) -> Vec<Name> {
        let lines = self.lines();
        let admitted = lines.iter().filter(|(_, line)| line.admitted().is_some());
        let mut names: Vec<Name> = admitted.map(|(name, _)| name.clone()).collect();
        drop(lines);
        names.sort();
        names
    }

    /// The number of a node's session: another one after every new connection. After one, nothing is known of the node.
    pub(crate) fn session_of(&self, node: &Name) -> Option<u64> {
        let lines = self.lines();
        let line = lines.get(node).filter(|line| line.admitted().is_some())?;
        Some(line.number)
    }

    /// The numbers of all sessions.
    pub(crate) fn sessions(&self) -> HashMap<Name, u64> {
        self.lines()
            .iter()
            .filter(|(_, line)| line.admitted().is_some())
            .map(|(node, line)| (node.clone(), line.number))
            .collect()
    }

    /// What agents say happened by itself.
    pub(crate) fn notices(&self) -> broadcast::Receiver<Notice> {
        self.shared.notices.subscribe()
    }

    /// Wakes when a session began or ended.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Has a node do something, and waits for what comes of it.
    ///
    /// # Errors
    /// The agent's failure; `Unreachable` when the node has no session, `Lost` when it ends before the answer.
    pub(crate) async fn call(
        &self,
        request: Request<'_>,
        progress: Option<watch::Sender<Option<Progress>>>,
    ) -> Result<Outcome, Failure> {
        let unreachable = || {
            Failure::new(
                FailureKind::Unreachable,
                format!("node {} has no agent connected", request.node),
            )
        };
        let line = self.lines().get(request.node).cloned().ok_or_else(unreachable)?;
        match line.admitted() {
            Some(admission) if admission == request.admission => {}
            Some(admission) => {
                let text = format!(
                    "node {} was let in again (admission {admission}) since this was decided on ({})",
                    request.node, request.admission
                );
                return Err(Failure::new(FailureKind::StaleTenure, text));
            }
            None => {
                let text = format!("node {} settles what it may keep", request.node);
                return Err(Failure::new(FailureKind::Unreachable, text));
            }
        }
        let id = CallId::new(clock::new_uuid());
        let call = Call {
            id,
            epoch: self.shared.epoch,
            object: request.object,
            generation: request.generation,
            tenure: request.tenure,
            admission: request.admission,
            work: request.work,
        };
        let (answer, answered) = oneshot::channel();
        let _pending = Pending::begin(&line, id, answer, progress);
        line.send(ToAgent::Call(Box::new(call)))
            .await
            .map_err(|()| unreachable())?;
        let lost = |_| {
            Failure::new(
                FailureKind::Lost,
                format!("the session with node {} ended", request.node),
            )
        };
        answered.await.map_err(lost)?
    }

    /// Takes a session off the list, unless a newer one has its place.
    fn drop_line(&self, line: &Arc<Line>) {
        line.hang_up();
        let mut lines = self.lines();
        if lines.get(&line.node).is_some_and(|current| Arc::ptr_eq(current, line)) {
            lines.remove(&line.node);
            drop(lines);
            tracing::info!(node = %line.node, "the agent's session ended");
            self.changed();
        }
    }

    fn changed(&self) {
        self.shared.changed.send_modify(|count| *count += 1);
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Name, Arc<Line>>> {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
