//! The control room: starts the loops and gives the server what it needs of them.

use std::path::PathBuf;
use std::sync::Arc;

use symphony_core::counter::Epoch;
use symphony_core::record::RecordError;
use symphony_runtime::Runtime;
use symphony_store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agents::Agents;
use crate::collect;
use crate::election::{Election as _, ElectionError, Leadership, Sole};
use crate::fence::{Automatic, Released};
use crate::members::retire_when_done;
use crate::metrics::Metrics;
use crate::place::PlaceLoop;
use crate::plugins::{ActivateError, FaultKeeper, Library, Plugins, REPORTS_MAX, Slots, UploadError};
use crate::reconcile::{Context, Reconciler, Seeing, Settled};
use crate::view::View;
use crate::write::Writer;

/// What a manager's loops need.
#[derive(Clone)]
pub struct ControlConfig {
    /// The state.
    pub store: Arc<dyn Store>,
    /// Runs the components.
    pub runtime: Runtime,
    /// Where components are kept.
    pub plugins_dir: PathBuf,
    /// Components that come with symphony. The first for a slot serves in it until something else is activated.
    pub first_party: Vec<Vec<u8>>,
    /// Ends the loops.
    pub stop: CancellationToken,
}

/// Why the loops can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error("the store can't be used")]
    Store(#[from] symphony_store::Error),
    /// Nobody could be made the leader.
    #[error("this manager can't lead")]
    Election(#[from] ElectionError),
    /// The folder of components.
    #[error("the folder for plugins can't be used")]
    Plugins(#[source] std::io::Error),
    /// A component that came with symphony.
    #[error("a first-party plugin can't be loaded")]
    FirstParty(#[from] UploadError),
    /// A component that came with symphony.
    #[error("a first-party plugin can't be activated")]
    Activate(#[from] ActivateError),
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The store.
    #[error("the store can't be read")]
    Store(#[from] symphony_store::Error),
    /// A record.
    #[error("a record can't be read")]
    Record(#[from] RecordError),
    /// No decision came back: a bug.
    #[error("no decision was made")]
    NoDecision,
}

/// The loops of a manager that leads. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    leadership: Leadership,
    view: View,
    slots: Slots,
    agents: Agents,
    writer: Writer,
    plugins: Plugins,
    metrics: Metrics,
    stop: CancellationToken,
    loops: tokio::sync::Mutex<JoinSet<()>>,
}

impl Control {
    /// The loops of the one manager of a store: it leads at once.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn alone(config: ControlConfig) -> Result<Self, StartError> {
        let view = View::follow(Arc::clone(&config.store), config.stop.clone()).await?;
        let leadership = Sole.lead(&config.store).await?;
        Self::start(config, view, leadership).await
    }

    /// Loads what serves, and starts the loops of a manager that leads. They end when it is asked to stop, or leads no
    /// more.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub(crate) async fn start(config: ControlConfig, view: View, leadership: Leadership) -> Result<Self, StartError> {
        let ControlConfig {
            store,
            runtime,
            plugins_dir,
            first_party,
            stop,
        } = config;
        let stop = stop.child_token();
        let ends_all = stop.clone().drop_guard();
        tracing::info!(epoch = %leadership.epoch(), "this manager leads");
        tokio::spawn({
            let (stop, lost) = (stop.clone(), leadership.lost());
            async move {
                tokio::select! {
                    () = lost.cancelled() => stop.cancel(),
                    () = stop.cancelled() => {}
                }
            }
        });
        // What the leader before has written is to be seen before the first decision.
        let newest = store.status().await?.revision;
        view.seen(newest).await;
        let writer = Writer::new(Arc::clone(&store), leadership.clone());
        let metrics = Metrics::new();
        let library = Library::open(plugins_dir, runtime, Arc::clone(&store)).map_err(StartError::Plugins)?;
        let library = Arc::new(library);
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        let slots = Slots::new(Arc::clone(&library), reports);
        let plugins = Plugins::new(writer.clone(), view.clone(), library, slots.clone());
        let agents = Agents::new(writer.clone(), view.clone(), stop.clone());

        let mut loops = JoinSet::new();
        loops.spawn(slots.clone().follow(view.clone(), stop.clone()));
        loops.spawn(FaultKeeper::new(writer.clone(), view.clone(), metrics.clone(), reported).run(stop.clone()));
        for component in first_party {
            let plugin = plugins.bring(component).await?;
            plugins.activate_first(&plugin).await?;
        }
        let context = Context {
            writer: writer.clone(),
            view: view.clone(),
            slots: slots.clone(),
            agents: agents.clone(),
            metrics: metrics.clone(),
            releasing: Arc::default(),
            settled: Settled::default(),
            seeing: Seeing::default(),
        };
        loops.spawn(PlaceLoop::new(writer.clone(), view.clone(), slots.clone(), metrics.clone()).run(stop.clone()));
        loops.spawn(Released::new(context.clone()).run(stop.clone()));
        loops.spawn(Automatic::new(context.clone()).run(stop.clone()));
        loops.spawn(Reconciler::new(context).run(stop.clone()));
        loops.spawn(agents.clone().end_with_term());
        loops.spawn(agents.watch_silence(stop.clone()));
        loops.spawn(agents.follow_members(stop.clone()));
        loops.spawn(retire_when_done(writer.clone(), view.clone(), stop.clone()));
        loops.spawn(collect::run(writer.clone(), view.clone(), stop.clone()));
        let loops = tokio::sync::Mutex::new(loops);
        ends_all.disarm();
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                leadership,
                view,
                slots,
                agents,
                writer,
                plugins,
                metrics,
                stop,
                loops,
            }),
        })
    }

    /// The leader's fencing token.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.leadership.epoch()
    }

    /// Whether requests can be served; if not, why.
    ///
    /// # Errors
    /// One sentence for a person.
    pub fn readiness(&self) -> Result<(), String> {
        if self.shared.stop.is_cancelled() {
            Err("the manager is stopping".to_owned())
        } else {
            Ok(())
        }
    }

    /// The agents' sessions.
    #[must_use]
    pub fn agents(&self) -> &Agents {
        &self.shared.agents
    }

    /// Plugins.
    #[must_use]
    pub fn plugins(&self) -> &Plugins {
        &self.shared.plugins
    }

    /// All metrics, in the text format of `OpenMetrics`.
    pub fn encode_metrics(&self, text: &mut String) {
        self.shared.metrics.encode(text);
    }

    /// Waits until the view of the loops has seen a revision.
    pub async fn seen(&self, revision: symphony_store::Revision) {
        self.shared.view.seen(revision).await;
    }

    /// Waits until the loops end: because they were stopped, or because the store has closed itself.
    pub async fn ended(&self) {
        self.shared.stop.cancelled().await;
    }

    /// Ends the loops, waits for them, and lets another manager lead.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        let mut loops = self.shared.loops.lock().await;
        while loops.join_next().await.is_some() {}
        self.shared.leadership.resign(self.shared.store.as_ref()).await;
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.shared.writer
    }

    pub(crate) fn view(&self) -> &View {
        &self.shared.view
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.shared.slots
    }
}
