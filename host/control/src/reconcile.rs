//! Reconcile: every volume and image that is not as its spec says is brought there, one pass at a time per object.
//!
//! ```text
//!   unsettled ─► pass: intent ─► driver.probes ─► agent: facts ─► driver.plan ─► check ─► agent: steps ─┐
//!       ▲                                                          ▲                                    │
//!       └── failed: again later ◄── condition says why             └──────────── facts ◄────────────────┘
//! ```
//!
//! A pass that fails leaves a condition and is made again, for ever, with growing pauses. [`drive`] is
//! what is the same for every kind, [`volumes`] and [`images`] what is not; [`outcome`] is how a pass can end; [`watching`]
//! follows long calls.

mod drive;
mod images;
mod outcome;
mod volumes;
mod watching;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use symphony_core::counter::Generation;
use symphony_core::digest::Digest;
use symphony_core::image::Image;
use symphony_core::volume::Volume;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agents::Agents;
use crate::metrics::Metrics;
use crate::plugins::Slots;
use crate::view::{ResourceKey, Stored, View};
use crate::write::Writer;

use outcome::PassError;

/// Most passes at once.
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
}

/// What passes are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Volume(ResourceKey),
    Image(ResourceKey, Digest),
}

/// What is never worked on twice at once: a volume, or an image's bytes, whichever images name them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Lane {
    Volume(ResourceKey),
    Bytes(Digest),
}

impl Subject {
    fn lane(&self) -> Lane {
        match self {
            Self::Volume(key) => Lane::Volume(key.clone()),
            Self::Image(_, digest) => Lane::Bytes(*digest),
        }
    }
}

enum Work {
    Volume(Arc<Stored<Volume>>),
    Image(Arc<Stored<Image>>),
}

/// After a failure: when to try again, unless the spec changes first.
struct Pause {
    spec: Spec,
    until: Instant,
    length: Duration,
}

/// What makes a new attempt worth it at once: the spec's generation, whether it is to go, and how much is claimed for it.
type Spec = (Generation, bool, u64);
/// A pass that ended.
type Done = (Subject, Spec, Result<(), PassError>);

/// The loop.
pub(crate) struct Reconciler {
    context: Context,
    running: HashSet<Lane>,
    pauses: HashMap<Subject, Pause>,
    passes: JoinSet<Done>,
}

impl Reconciler {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            running: HashSet::new(),
            pauses: HashMap::new(),
            passes: JoinSet::new(),
        }
    }

    /// Runs until `stop`; passes under way are dropped then (a pass may be killed anywhere).
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.context.view.changes();
        let mut sessions = self.context.agents.changes();
        let mut swaps = self.context.slots.changes();
        loop {
            changes.mark_unchanged();
            self.start_passes();
            let next = self.pauses.values().map(|pause| pause.until).min();
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
                }
                _ = swaps.changed() => self.pauses.clear(),
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
            }
            while let Some(done) = self.passes.try_join_next() {
                self.finished(done);
            }
        }
    }

    fn start_passes(&mut self) {
        let room = PASSES_MAX.saturating_sub(self.running.len());
        let now = Instant::now();
        for (subject, spec, work) in self.due(now, room) {
            self.running.insert(subject.lane());
            let context = self.context.clone();
            self.passes.spawn(async move {
                let result = match work {
                    Work::Volume(volume) => volumes::pass(&context, volume).await,
                    Work::Image(image) => images::pass(&context, image).await,
                };
                (subject, spec, result)
            });
        }
    }

    fn due(&self, now: Instant, room: usize) -> Vec<(Subject, Spec, Work)> {
        let state = self.context.view.read();
        let may_run = |subject: &Subject, spec: Spec| {
            let paused = self
                .pauses
                .get(subject)
                .is_some_and(|pause| pause.spec == spec && pause.until > now);
            !paused && !self.running.contains(&subject.lane())
        };
        let volumes = state.waiting.volumes.iter().filter_map(|key| {
            let volume = state.volumes.get(key)?;
            let claimed = volume
                .value
                .placement
                .as_ref()
                .map_or(0, |placement| placement.claimed_bytes);
            let spec = (volume.value.meta.generation, volume.value.meta.is_deleting(), claimed);
            let subject = Subject::Volume(key.clone());
            may_run(&subject, spec).then(|| (subject, spec, Work::Volume(Arc::clone(volume))))
        });
        let mut digests = HashSet::new();
        let images = state
            .images
            .values()
            .filter(|image| !image.value.is_settled())
            .filter_map(|image| {
                let spec = (image.value.meta.generation, image.value.meta.is_deleting(), 0);
                let key = (image.value.meta.project.clone(), image.value.meta.name.clone());
                let subject = Subject::Image(key, image.value.spec.digest);
                (may_run(&subject, spec) && digests.insert(image.value.spec.digest))
                    .then(|| (subject, spec, Work::Image(Arc::clone(image))))
            });
        images.chain(volumes).take(room).collect()
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
            Ok(()) => {
                self.context.metrics.reconciled.inc();
                self.pauses.remove(&subject);
            }
            Err(PassError::Raced) => {}
            Err(error) => {
                self.context.metrics.reconcile_failures.inc();
                let last = self
                    .pauses
                    .get(&subject)
                    .filter(|pause| pause.spec == spec)
                    .map(|pause| pause.length);
                let length = last.map_or(PAUSE, |length| (length * 2).min(PAUSE_MAX));
                tracing::info!(?subject, error = %crate::chain::chain(&error), pause_ms = length.as_millis(), "a pass failed");
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
}
