//! Reconcile: everything that is not as its spec says is brought there, one pass at a time per object.
//!
//! ```text
//!   unsettled ─► pass: intent ─► driver.probes ─► agent: facts ─► driver.plan ─► check ─► agent: steps ─┐
//!       ▲                                                          ▲                                    │
//!       └── failed: again later ◄── condition says why             └──────────── facts ◄────────────────┘
//! ```
//!
//! A pass that fails leaves a condition and is made again, for ever, with growing pauses. [`drive`] is
//! what is the same for every kind; [`volumes`], [`images`], [`machines`], [`segments`] (networks, node by node) and
//! [`exports`] (volumes for other nodes), [`fences`] (nodes whose power is to be cut) what is not; [`due`] says what a pass is made over, [`looks`] when to look at what is as it should be; [`outcome`] is how a pass
//! can end; [`watching`] follows long calls.

mod drive;
mod due;
mod exports;
mod fences;
mod images;
mod looks;
mod machines;
mod outcome;
mod segments;
mod volumes;
mod watching;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use symphony_core::name::Name;
use symphony_protocol::Notice;
use symphony_store::Txn;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agents::Agents;
use crate::metrics::Metrics;
use crate::plugins::Slots;
use crate::view::{ResourceKey, SegmentKey, State, View};
use crate::write::{WriteError, Writer};

use due::{Lane, Spec, Subject, Work};
pub(crate) use exports::Seeing;
use looks::Looks;
pub(crate) use outcome::PassError;
pub(crate) use segments::Settled;

/// Most passes at once over machines: a guest may take a minute to shut down, and others must not wait for it.
const MACHINES_MAX: usize = 256;
/// Most passes at once over everything else.
const PASSES_MAX: usize = 64;
/// Most rounds of plan and steps in one pass.
pub(crate) const ROUNDS_MAX: u32 = 16;
/// The first pause after a failure; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Most pauses that are remembered.
const PAUSES_MAX: usize = 20_000;
/// A look happens at least this often, whatever woke it.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// How often a status is written again when its record changed under it.
pub(crate) const TRIES: u32 = 20;

/// What a pass needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) writer: Writer,
    pub(crate) view: View,
    pub(crate) slots: Slots,
    pub(crate) agents: Agents,
    pub(crate) metrics: Metrics,
    /// Claims are given back one at a time: all on a node change the same record.
    pub(crate) releasing: Arc<tokio::sync::Mutex<()>>,
    /// Parts of networks that are as they should be.
    pub(crate) settled: Settled,
    /// Volumes that are served to other nodes as they should be.
    pub(crate) seeing: Seeing,
}

/// After a failure: when to try again, unless the spec changes first.
struct Pause {
    spec: Spec,
    until: Instant,
    length: Duration,
}

/// A pass that ended.
type Done = (Subject, Spec, Result<Option<Duration>, PassError>);

/// The loop.
pub(crate) struct Reconciler {
    context: Context,
    running: HashSet<Lane>,
    pauses: HashMap<Subject, Pause>,
    passes: JoinSet<Done>,
    /// Machines that are as they should be.
    looks: Looks,
    /// The sessions that were there at the last look.
    sessions: HashMap<Name, u64>,
}

impl Reconciler {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            running: HashSet::new(),
            pauses: HashMap::new(),
            passes: JoinSet::new(),
            looks: Looks::default(),
            sessions: HashMap::new(),
        }
    }

    /// Runs until `stop`; passes under way are dropped then (a pass may be killed anywhere).
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.context.view.changes();
        let mut sessions = self.context.agents.changes();
        let mut swaps = self.context.slots.changes();
        let mut notices = self.context.agents.notices();
        self.look_at_new_sessions();
        loop {
            changes.mark_unchanged();
            let now = Instant::now();
            self.start_passes(now);
            // What is past waits for room or for something else that wakes; only what is to come needs the clock.
            let pauses = self
                .pauses
                .values()
                .map(|pause| pause.until)
                .filter(|until| *until > now);
            let next = pauses.chain(self.looks.next(now)).min();
            let wait = next.map_or(AT_LEAST_EVERY, |until| {
                until.saturating_duration_since(Instant::now()).min(AT_LEAST_EVERY)
            });
            // Each arm is safe to cancel: wake-ups carry nothing, and a finished pass stays in the set.
            tokio::select! {
                () = stop.cancelled() => return,
                Some(done) = self.passes.join_next() => self.finished(done),
                _ = changes.changed() => {}
                _ = sessions.changed() => {
                    self.context.metrics.sessions.set(i64::try_from(self.context.agents.connected().len()).unwrap_or(i64::MAX));
                    self.pauses.clear();
                    self.look_at_new_sessions();
                }
                notice = notices.recv() => self.noticed(notice),
                _ = swaps.changed() => self.pauses.clear(),
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
            }
            while let Some(done) = self.passes.try_join_next() {
                self.finished(done);
            }
        }
    }

    fn start_passes(&mut self, now: Instant) {
        let gone: Vec<ResourceKey> = {
            let state = self.context.view.read();
            let due = self.looks.due(now);
            due.filter(|key| !state.machines.contains_key(*key)).cloned().collect()
        };
        for key in gone {
            self.looks.remove(&key);
        }
        for (subject, spec, work) in self.due(now) {
            self.running.insert(subject.lane());
            if let Subject::Machine(key) = &subject {
                self.looks.remove(key);
            }
            let context = self.context.clone();
            self.passes.spawn(async move {
                let result = match work {
                    Work::Volume(volume) => volumes::pass(&context, volume).await.map(|()| None),
                    Work::Image(image) => images::pass(&context, image).await.map(|()| None),
                    Work::Machine(machine) => machines::pass(&context, machine).await,
                    Work::Segment(key, session) => segments::pass(&context, key, session).await.map(|()| None),
                    Work::Export(volume) => exports::pass(&context, volume).await.map(|()| None),
                    Work::Fence(node) => fences::pass(&context, &node).await.map(|()| None),
                    Work::Network(network) => segments::forget(&context, network).await.map(|()| None),
                };
                (subject, spec, result)
            });
        }
    }

    /// Whatever was known of a node's machines before its agent came (again) is not known any more.
    fn look_at_new_sessions(&mut self) {
        let sessions = self.context.agents.sessions();
        let is_new = |node: &Name| sessions.get(node) != self.sessions.get(node) && sessions.contains_key(node);
        let state = self.context.view.read();
        let now = Instant::now();
        for (key, machine) in &state.machines {
            let node = machine.value.placement.as_ref().map(|placement| &placement.node);
            if node.is_some_and(is_new) {
                self.looks.set(key.clone(), now);
            }
        }
        drop(state);
        self.sessions = sessions;
    }

    /// An agent saw something happen by itself. When notices were lost, everything is looked at in time anyway.
    fn noticed(&mut self, notice: Result<Notice, broadcast::error::RecvError>) {
        let Ok(notice) = notice else { return };
        let id = notice.object.strip_prefix("machine/").and_then(|id| id.parse().ok());
        let key = id.and_then(|id| self.context.view.read().machine_keys.get(&id).cloned());
        if let Some(key) = key {
            self.pauses.remove(&Subject::Machine(key.clone()));
            self.looks.set(key, Instant::now());
        }
    }

    fn finished(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let (subject, spec, result) = match done {
            Ok(done) => done,
            Err(error) => {
                // A pass that panicked is a bug of ours; its subject stays marked as running, so it can't do it again.
                tracing::error!(%error, "a reconcile pass ended abnormally");
                return;
            }
        };
        self.running.remove(&subject.lane());
        match result {
            Ok(look_again) => {
                self.context.metrics.reconciled.inc();
                self.pauses.remove(&subject);
                if let Some(then) = look_again {
                    self.look_again_at(&subject, then);
                }
            }
            Err(PassError::Raced) => self.look_again_at(&subject, Duration::ZERO),
            Err(error) => {
                if !error.is_waiting() {
                    self.context.metrics.reconcile_failures.inc();
                }
                let last = self
                    .pauses
                    .get(&subject)
                    .filter(|pause| pause.spec == spec)
                    .map(|pause| pause.length);
                let length = last.map_or(PAUSE, |length| (length * 2).min(PAUSE_MAX));
                let (why, pause_ms) = (crate::chain::chain(&error), length.as_millis());
                if error.is_waiting() {
                    tracing::debug!(?subject, why, pause_ms, "a pass waits");
                } else {
                    tracing::info!(?subject, why, pause_ms, "a pass failed");
                }
                self.look_again_at(&subject, length);
                if self.pauses.len() >= PAUSES_MAX {
                    // Those of what is long gone among them; the others start with short pauses again.
                    self.pauses.clear();
                }
                self.pauses.insert(
                    subject,
                    Pause {
                        spec,
                        until: Instant::now() + length,
                        length,
                    },
                );
            }
        }
    }

    /// Looks at a machine again after this time, or sooner: what was noticed while the pass ran is news.
    fn look_again_at(&mut self, subject: &Subject, then: Duration) {
        if let Subject::Machine(key) = subject {
            self.looks.set_sooner(key.clone(), Instant::now() + then);
        }
    }
}

/// Whether the part of a network that is on a node is as its own machines need it, as seen since its agent connected.
fn is_settled(state: &State, context: &Context, key: &SegmentKey) -> bool {
    let session = context.agents.session_of(&key.1);
    match (state.ports.get(key), session) {
        (Some(segment), Some(session)) => context.settled.has(key, segment.own_changed, session),
        _ => false,
    }
}

/// Writes what a pass has found out. A record that changed meanwhile ends the pass.
pub(crate) async fn commit(context: &Context, txn: Txn) -> Result<(), PassError> {
    match context.writer.commit(txn).await {
        Ok(revision) => {
            context.view.seen(revision).await;
            Ok(())
        }
        Err(WriteError::Conflict) => Err(PassError::Raced),
        Err(error) => Err(error.into()),
    }
}

/// Somebody else wrote: their write is on its way to the view.
pub(crate) async fn wait_for_change(context: &Context) {
    let mut changes = context.view.changes();
    changes.mark_unchanged();
    let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
}
