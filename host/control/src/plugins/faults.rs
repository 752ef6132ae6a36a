//! Faults of plugins: counted, told as events, and after too many of them the component is taken out of service.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use symphony_core::digest::Digest;
use symphony_core::event::Severity;
use symphony_core::keys;
use symphony_core::plugin::Slot;
use symphony_runtime::{FaultKind, PluginFault};
use symphony_store::{Compare, Txn};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::events::{about_plugin, about_slot, event, with};
use crate::metrics::{ByFault, Metrics};
use crate::view::View;
use crate::write::{TxnRecords as _, WriteError, Writer};

/// Reports that may wait.
pub(crate) const REPORTS_MAX: usize = 1_024;
/// This many faults …
const FAULTS_MAX: usize = 3;
/// … within this time take a component out of service.
const WINDOW: Duration = Duration::from_secs(60);
/// The same fault of the same component is told at most this often; it is always counted.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Components whose faults are remembered.
const REMEMBERED_MAX: usize = 256;

/// A fault, and where its plugin served.
pub(crate) struct Report {
    pub(crate) slot: Slot,
    pub(crate) fault: PluginFault,
}

/// Takes reports until `stop`.
pub(crate) struct FaultKeeper {
    pub(crate) writer: Writer,
    pub(crate) view: View,
    pub(crate) metrics: Metrics,
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) recent: HashMap<Digest, VecDeque<Instant>>,
    pub(crate) told: HashMap<(Digest, &'static str), Instant>,
}

impl FaultKeeper {
    pub(crate) fn new(writer: Writer, view: View, metrics: Metrics, reports: mpsc::Receiver<Report>) -> Self {
        Self {
            writer,
            view,
            metrics,
            reports,
            recent: HashMap::new(),
            told: HashMap::new(),
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let report = tokio::select! {
                () = stop.cancelled() => return,
                report = self.reports.recv() => report,
            };
            let Some(report) = report else { return };
            if let Err(error) = self.take(report).await {
                tracing::warn!(%error, "a plugin fault could not be written down");
            }
        }
    }

    async fn take(&mut self, Report { slot, fault }: Report) -> Result<(), WriteError> {
        let labels = ByFault {
            plugin: fault.plugin.to_string(),
            digest: fault.digest.short(),
            call: fault.call.to_owned(),
            reason: fault.reason().to_owned(),
        };
        self.metrics.plugin_faults.get_or_create(&labels).inc();
        let told = self.tell(slot, &fault).await;
        // What the host itself could not do is not held against the plugin; nor is a plugin's own clear refusal.
        if matches!(fault.kind, FaultKind::Host(_) | FaultKind::Guest(_)) {
            return told;
        }
        if self.is_too_much(fault.digest, Instant::now()) {
            self.take_out(slot, &fault).await?;
        }
        told
    }

    async fn tell(&mut self, slot: Slot, fault: &PluginFault) -> Result<(), WriteError> {
        let now = Instant::now();
        let key = (fault.digest, fault.reason());
        if self
            .told
            .get(&key)
            .is_some_and(|last| now.duration_since(*last) < TELL_EVERY)
        {
            return Ok(());
        }
        if self.told.len() >= REMEMBERED_MAX {
            self.told.clear();
        }
        self.told.insert(key, now);
        let mut told = event(
            Severity::Warning,
            "plugin-fault",
            about_plugin(fault.plugin.as_str(), &fault.digest.to_string()),
            fault.to_string(),
        );
        told = with(told, "fault", fault.reason());
        told = with(told, "call", fault.call);
        told = with(told, "version", &fault.version);
        told = with(told, "digest", fault.digest);
        told = with(told, "slot", slot);
        self.writer.commit(Txn::new().tell(&told)?).await.map(|_| ())
    }

    fn is_too_much(&mut self, digest: Digest, now: Instant) -> bool {
        if self.recent.len() >= REMEMBERED_MAX {
            self.recent.clear();
        }
        let recent = self.recent.entry(digest).or_default();
        recent.push_back(now);
        while recent.front().is_some_and(|first| now.duration_since(*first) > WINDOW) || recent.len() > FAULTS_MAX {
            recent.pop_front();
        }
        recent.len() >= FAULTS_MAX
    }

    /// One write: what served before serves again, or the built-in policy. A driver that nothing served before stays:
    /// an empty slot would make nothing at all.
    async fn take_out(&mut self, slot: Slot, fault: &PluginFault) -> Result<(), WriteError> {
        let Some((record, revision)) = self
            .view
            .read()
            .activations
            .get(&slot)
            .map(|record| (record.value.clone(), record.revision))
        else {
            return Ok(());
        };
        if record.active != Some(fault.digest) {
            return Ok(());
        }
        let reason = format!(
            "{} {} failed {FAULTS_MAX} times within {} s, last: {}",
            fault.plugin,
            fault.version,
            WINDOW.as_secs(),
            fault.kind
        );
        let next = match record.rolled_back(&reason, clock::now()) {
            Ok(next) => next,
            Err(_) if slot == Slot::VolumeScheduler => record.swapped(None, "{}", &reason, clock::now()),
            Err(_) => return Ok(()),
        };
        let now_serves = next
            .active
            .map_or_else(|| "built-in".to_owned(), |digest| digest.to_string());
        let told = event(Severity::Warning, "plugin-taken-out", about_slot(slot), reason);
        let told = with(with(told, "digest", fault.digest), "now", now_serves);
        let key = keys::activation(slot);
        let txn = Txn::new()
            .when(Compare::mod_revision(key.clone(), revision))
            .put_record(key, &next)?
            .tell(&told)?;
        match self.writer.commit(txn).await {
            Ok(revision) => {
                self.view.seen(revision).await;
                self.recent.remove(&fault.digest);
                Ok(())
            }
            Err(WriteError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
