//! What serves now, slot by slot. One task follows the activations; everyone else takes what is there.
//!
//! A swap is one pointer: calls under way hold the old component and end on it. A component that can't be loaded leaves
//! its slot to the built-in policy (schedulers) or empty (drivers: nothing can be made meanwhile, and nothing is lost).

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use symphony_core::digest::Digest;
use symphony_core::plan::export::Exports;
use symphony_core::plan::fence::Fences;
use symphony_core::plan::image::Images;
use symphony_core::plan::machine::Machines;
use symphony_core::plan::network::Networks;
use symphony_core::plan::volume::Volumes;
use symphony_core::plugin::{Activation, Slot};
use symphony_core::volume::Decider;
use symphony_runtime::{Descriptor, DriverPlugin, Hosted, PluginFault, SchedulerPlugin};
use symphony_store::Revision;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::view::View;

use super::faults::Report;
use super::library::{Library, LoadError};

/// How long to wait before a component that could not be loaded is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// A scheduler that serves.
#[derive(Clone)]
pub(crate) struct Scheduler {
    pub(crate) decider: Decider,
    pub(crate) plugin: Arc<SchedulerPlugin>,
}

impl Scheduler {
    fn new(plugin: Arc<SchedulerPlugin>) -> Self {
        let manifest = plugin.manifest();
        let decider = Decider {
            name: manifest.name.to_string(),
            version: manifest.version.clone(),
            digest: Some(manifest.digest),
            instead_of: None,
        };
        Self { decider, plugin }
    }

    /// Whether it looks at what machines need. One that does not would put them where they can't run: the built-in
    /// policy decides for it.
    pub(crate) fn places_machines(&self) -> bool {
        sees_machines(self.plugin.descriptor())
    }
}

fn sees_machines(descriptor: &Descriptor) -> bool {
    let asks = |columns: &[String], name: &str| columns.iter().any(|column| column == name);
    asks(&descriptor.candidate_columns, "cpu.free") && asks(&descriptor.request_columns, "cpu.count")
}

/// What serves. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Slots {
    shared: Arc<Shared>,
}

struct Shared {
    library: Arc<Library>,
    serving: RwLock<Serving>,
    /// The last component that was loaded ahead of its activation.
    warm: Mutex<HashMap<Slot, (Digest, String, Loaded)>>,
    applied: watch::Sender<HashMap<Slot, Revision>>,
    generation: watch::Sender<u64>,
    reports: mpsc::Sender<Report>,
}

#[derive(Default)]
struct Serving {
    scheduler: Option<Scheduler>,
    drivers: HashMap<Slot, AnyDriver>,
}

/// A component, ready to serve.
#[derive(Clone)]
enum Loaded {
    Scheduler(Arc<SchedulerPlugin>),
    Driver(AnyDriver),
}

/// A `DriverPlugin` of the kind whose slot it is kept under.
type AnyDriver = Arc<dyn Any + Send + Sync>;

impl Slots {
    pub(crate) fn new(library: Arc<Library>, reports: mpsc::Sender<Report>) -> Self {
        let shared = Shared {
            library,
            serving: RwLock::default(),
            warm: Mutex::default(),
            applied: watch::channel(HashMap::new()).0,
            generation: watch::channel(0).0,
            reports,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn scheduler(&self) -> Option<Scheduler> {
        self.serving().scheduler.clone()
    }

    /// The driver of this kind of resource.
    pub(crate) fn driver<K: Hosted>(&self) -> Option<Arc<DriverPlugin<K>>> {
        let driver = self.serving().drivers.get(&K::SLOT).cloned()?;
        driver.downcast().ok()
    }

    /// Changes with every swap.
    pub(crate) fn generation(&self) -> u64 {
        *self.shared.generation.borrow()
    }

    /// Wakes with every swap.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    /// Takes note of a fault. Never waits; when too many come at once, those over the queue are lost and said so.
    pub(crate) fn report(&self, slot: Slot, fault: PluginFault) {
        tracing::warn!(%slot, %fault, reason = fault.reason(), "a plugin is at fault");
        if self.shared.reports.try_send(Report { slot, fault }).is_err() {
            tracing::warn!("too many plugin faults at once; one was not counted");
        }
    }

    /// Loads a component ahead of its activation, so that a bad one is refused before anything changes.
    pub(crate) async fn warm(&self, slot: Slot, digest: Digest, config: &str) -> Result<(), LoadError> {
        let loaded = self.load(slot, digest, config).await?;
        self.shared
            .warm
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(slot, (digest, config.to_owned(), loaded));
        Ok(())
    }

    /// Waits until this manager has acted on the slot's record of that revision (or a later one).
    pub(crate) async fn settled(&self, slot: Slot, revision: Revision) {
        let mut applied = self.shared.applied.subscribe();
        let _ = applied
            .wait_for(|applied| applied.get(&slot).is_some_and(|seen| *seen >= revision))
            .await;
    }

    /// Follows the activations until `stop`.
    pub(crate) async fn follow(self, view: View, stop: CancellationToken) {
        let mut changes = view.changes();
        let mut failing = HashMap::new();
        loop {
            changes.mark_unchanged();
            self.apply(&view, &mut failing).await;
            let retry = if failing.is_empty() { Duration::MAX } else { RETRY };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                () = tokio::time::sleep(retry) => {}
            }
        }
    }

    /// One pass over the activations. `failing` has the slots whose component can't be loaded, and when that was tried
    /// last: it is tried again now and then, and meanwhile the slot stays without it.
    async fn apply(&self, view: &View, failing: &mut HashMap<Slot, Instant>) {
        let records: Vec<(Activation, Revision)> = view
            .read()
            .activations
            .values()
            .map(|record| (record.value.clone(), record.revision))
            .collect();
        for (record, revision) in records {
            let slot = record.slot;
            let is_new = self.shared.applied.borrow().get(&slot) != Some(&revision);
            let is_due = failing.get(&slot).is_some_and(|last| last.elapsed() >= RETRY);
            if !is_new && !is_due {
                continue;
            }
            match self.loaded(&record).await {
                Ok(loaded) => {
                    failing.remove(&slot);
                    self.install(slot, loaded);
                }
                Err(error) => {
                    tracing::error!(%slot, error = %crate::chain::chain(&error), "an active plugin can't be loaded");
                    failing.insert(slot, Instant::now());
                    if is_new {
                        self.install(slot, None);
                    }
                }
            }
            self.shared.applied.send_modify(|applied| {
                applied.insert(slot, revision);
            });
        }
    }

    /// The component that a record names; none for the built-in policy.
    async fn loaded(&self, record: &Activation) -> Result<Option<Loaded>, LoadError> {
        let Some(digest) = record.active else { return Ok(None) };
        match self.take_warm(record.slot, digest, &record.config) {
            Some(loaded) => Ok(Some(loaded)),
            None => self.load(record.slot, digest, &record.config).await.map(Some),
        }
    }

    fn install(&self, slot: Slot, loaded: Option<Loaded>) {
        let mut serving = self.shared.serving.write().unwrap_or_else(PoisonError::into_inner);
        match (slot, loaded) {
            (Slot::VolumeScheduler, Some(Loaded::Scheduler(plugin))) => {
                serving.scheduler = Some(Scheduler::new(plugin))
            }
            (Slot::VolumeScheduler, _) => serving.scheduler = None,
            (slot, Some(Loaded::Driver(plugin))) => drop(serving.drivers.insert(slot, plugin)),
            (slot, _) => drop(serving.drivers.remove(&slot)),
        }
        drop(serving);
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    async fn load(&self, slot: Slot, digest: Digest, config: &str) -> Result<Loaded, LoadError> {
        let library = &self.shared.library;
        Ok(match slot {
            Slot::VolumeScheduler => Loaded::Scheduler(library.scheduler(digest, config).await?),
            Slot::VolumeDriver => Loaded::Driver(library.driver::<Volumes>(digest, config).await?),
            Slot::ImageDriver => Loaded::Driver(library.driver::<Images>(digest, config).await?),
            Slot::MachineDriver => Loaded::Driver(library.driver::<Machines>(digest, config).await?),
            Slot::NetworkDriver => Loaded::Driver(library.driver::<Networks>(digest, config).await?),
            Slot::ExportDriver => Loaded::Driver(library.driver::<Exports>(digest, config).await?),
            Slot::FenceDriver => Loaded::Driver(library.driver::<Fences>(digest, config).await?),
        })
    }

    fn take_warm(&self, slot: Slot, digest: Digest, config: &str) -> Option<Loaded> {
        let mut warm = self.shared.warm.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, known_config, loaded) = warm.remove(&slot)?;
        (known == digest && known_config == config).then_some(loaded)
    }

    fn serving(&self) -> std::sync::RwLockReadGuard<'_, Serving> {
        self.shared.serving.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_asks_for_processors_on_both_sides_places_machines() {
        let descriptor = |candidate: &str, request: &str| Descriptor {
            name: String::new(),
            version: String::new(),
            config_schema: String::new(),
            candidate_columns: vec!["disk.free".to_owned(), candidate.to_owned()],
            request_columns: vec!["disk.bytes".to_owned(), request.to_owned()],
            explains: false,
        };
        assert!(sees_machines(&descriptor("cpu.free", "cpu.count")));
        assert!(!sees_machines(&descriptor("cpu.free", "pool")));
        assert!(!sees_machines(&descriptor("labels", "cpu.count")));
    }
}
