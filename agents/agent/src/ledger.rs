//! What the agent must not forget: the highest epoch and revision it has seen, the admission that its node settled under, and for each
//! object the highest generation it acted on and its floor, the highest tenure it heard of. Nothing below is ever done
//! again: so a release, which has a tenure of its own, ends for ever what was placed here before it.
//!
//! Written and flushed *before* acting. One thread owns the file; calls that come together share one flush. A failed
//! flush ends the process, as nobody knows what is on disk then.
//!
//! ```text
//!   calls ──record──► queue (bounded) ──► writer: append one frame ─► fsync ─► state ─► answer each
//! ```

mod file;
mod frame;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::fs::Dir;
use symphony_core::counter::{Admission, Epoch, Generation, Tenure};
use symphony_protocol::{Call, Failure, FailureKind};
use tokio::sync::{mpsc, oneshot};

pub use file::LedgerError;
use file::LedgerFile;
pub use frame::Entry;
pub use state::ObjectKey;
use state::State;

/// Records that may wait for the writer; also the most that share one flush.
const QUEUE_MAX: usize = 256;
/// What the process ends with when the ledger can't be flushed (`EX_IOERR`).
const EXIT_IO: i32 = 74;

/// The ledger of an agent.
#[derive(Debug, Clone)]
pub struct Ledger {
    state: Arc<Mutex<State>>,
    queue: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    entry: Entry,
    done: oneshot::Sender<()>,
}

/// Under what a call was decided on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The leader's.
    pub epoch: Epoch,
    /// The spec's.
    pub generation: Generation,
    /// The object's.
    pub tenure: Tenure,
    /// The node's.
    pub admission: Admission,
}

impl Stamp {
    /// A call's.
    #[must_use]
    pub const fn of(call: &Call) -> Self {
        Self {
            epoch: call.epoch,
            generation: call.generation,
            tenure: call.tenure,
            admission: call.admission,
        }
    }
}

impl Ledger {
    /// Opens the ledger in the agent's folder, making it when there is none. A tail that was torn by a crash is cut.
    ///
    /// # Errors
    /// Another process has it, it can't be read, or it is damaged before its end: then a person must decide.
    pub fn open(dir: Dir) -> Result<Self, LedgerError> {
        let (file, state) = LedgerFile::open(dir)?;
        let state = Arc::new(Mutex::new(state));
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let shared = Arc::clone(&state);
        let spawned = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || write(file, &shared, jobs));
        spawned.map_err(LedgerError::Io)?;
        Ok(Self { state, queue })
    }

    /// The highest epoch that was seen.
    #[must_use]
    pub fn epoch_seen(&self) -> Epoch {
        lock(&self.state).epoch()
    }

    /// The newest revision of the store that was told of; 0 when none was.
    #[must_use]
    pub fn revision_seen(&self) -> u64 {
        lock(&self.state).revision()
    }

    /// Remembers how far the store was; returns when it is durable.
    pub async fn see_revision(&self, revision: u64) {
        if revision > self.revision_seen() {
            self.append(Entry::Revision(revision)).await;
        }
    }

    /// The admission that the node has settled under; 0 before the first.
    #[must_use]
    pub fn admission(&self) -> Admission {
        lock(&self.state).admission()
    }

    /// The node's admission, as the manager of the session that just began says; nothing when it is of a version that
    /// knows none. Until this was called nothing is done: an agent that starts must not take orders from before a fence.
    pub fn hear(&self, admission: Option<Admission>) {
        let mut state = lock(&self.state);
        let heard = admission.unwrap_or_else(|| state.admission());
        state.hear(heard);
    }

    /// What the manager of the latest session said.
    #[must_use]
    pub fn heard(&self) -> Option<Admission> {
        lock(&self.state).heard()
    }

    /// The highest tenure of an object that was heard of; 0 when none was.
    #[must_use]
    pub fn floor(&self, object: ObjectKey) -> Tenure {
        lock(&self.state).floor(object)
    }

    /// Raises an object's floor; returns when that is durable. A floor never sinks.
    pub async fn raise(&self, object: ObjectKey, tenure: Tenure) {
        if tenure > self.floor(object) {
            let object = object.to_string();
            self.append(Entry::Floor { object, tenure }).await;
        }
    }

    /// Remembers that the node has settled; returns when it is durable.
    pub async fn admit(&self, admission: Admission) {
        if admission > self.admission() {
            self.append(Entry::Admitted(admission)).await;
        }
    }

    /// Whether what was decided under this may be done.
    ///
    /// # Errors
    /// [`FailureKind::StaleEpoch`], [`FailureKind::StaleGeneration`] or [`FailureKind::StaleTenure`].
    pub fn check(&self, object: ObjectKey, stamp: Stamp) -> Result<(), Failure> {
        let Stamp {
            epoch,
            generation,
            tenure,
            admission,
        } = stamp;
        let state = lock(&self.state);
        let stale = |text: String| Err(Failure::new(FailureKind::StaleTenure, text));
        if state.heard() != Some(state.admission()) {
            return stale("this node has not settled yet what it may keep".to_owned());
        }
        if admission != state.admission() {
            let own = state.admission();
            return stale(format!(
                "this was decided on under admission {admission}, the node has {own}"
            ));
        }
        if tenure < state.floor(object) {
            let floor = state.floor(object);
            return stale(format!("tenure {tenure} is over; {floor} was heard of"));
        }
        if epoch < state.epoch() {
            let text = format!(
                "epoch {epoch} is over; a manager with epoch {} was heard",
                state.epoch()
            );
            return Err(Failure::new(FailureKind::StaleEpoch, text));
        }
        if generation < state.acted(object) {
            let text = format!("generation {generation} is over; {} was acted on", state.acted(object));
            return Err(Failure::new(FailureKind::StaleGeneration, text));
        }
        Ok(())
    }

    /// Remembers an epoch; returns when it is durable.
    pub async fn see_epoch(&self, epoch: Epoch) {
        if epoch > self.epoch_seen() {
            self.append(Entry::Epoch(epoch)).await;
        }
    }

    /// Checks, and remembers that an object is acted on; returns when it is durable. A repetition writes nothing.
    ///
    /// # Errors
    /// As [`Self::check`], also when a newer manager was heard meanwhile.
    pub async fn act(&self, object: ObjectKey, stamp: Stamp) -> Result<(), Failure> {
        self.check(object, stamp)?;
        self.see_epoch(stamp.epoch).await;
        let acted = lock(&self.state).acted(object);
        symphony_crash::point("agent.ledger.before_floor");
        self.raise(object, stamp.tenure).await;
        symphony_crash::point("agent.ledger.after_floor");
        if stamp.generation > acted {
            self.append(Entry::Acted {
                object: object.to_string(),
                generation: stamp.generation,
            })
            .await;
        }
        self.check(object, stamp)
    }

    async fn append(&self, entry: Entry) {
        let (done, durable) = oneshot::channel();
        // The writer ends only when every handle is gone, or with the process.
        let sent = self.queue.send(Job { entry, done }).await.is_ok();
        if !sent || durable.await.is_err() {
            stop("the ledger's writer is gone");
        }
    }
}

fn write(mut file: LedgerFile, state: &Mutex<State>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < QUEUE_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let (entries, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|job| (job.entry, job.done)).unzip();
        match file.append(&entries) {
            Ok(sequence) => lock(state).apply(&entries, sequence),
            Err(error) => stop(&format!("the ledger can't be written: {error}")),
        }
        for done in waiting {
            // A call that was dropped meanwhile does not wait any more.
            let _ = done.send(());
        }
        if file.is_due() {
            let snapshot = lock(state).entries();
            if let Err(error) = file.compact(&snapshot) {
                stop(&format!("the ledger can't be rewritten: {error}"));
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was flushed is unknown, so nothing may be done any more: the next start reads what is there.
fn stop(why: &str) -> ! {
    tracing::error!("{why}; the agent ends");
    std::process::exit(EXIT_IO)
}

#[cfg(test)]
mod tests;
