//! The runtime: one engine, one compiler, one cache; makes runnable components of uploaded bytes.

use std::path::PathBuf;
use std::sync::Arc;

use symphony_core::place::Violation;
use symphony_core::plan::PlanFault;
use symphony_core::plugin::Slot;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::bindings::{exporting, fencing, image, machine, network, scheduler, volume};
use crate::compile::cache::Cache;
use crate::compile::{self, CompileError, Compiler};
use crate::engine::{Purpose, compatibility, engine};
use crate::fault::{FaultKind, PluginFault, chain};
use crate::guest::{Guest, Shared};
use crate::inspect::{self, Manifest, Rejected};
use crate::limits::Limits;
use crate::log::PluginLog;
use crate::stats::StatsSnapshot;

/// How a runtime works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where compiled code is kept. The runtime's alone; may be deleted while nothing runs.
    pub cache_dir: PathBuf,
    /// What compiles.
    pub compiler: Compiler,
    /// The bounds on guests.
    pub limits: Limits,
}

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// This processor or build can't run wasmtime as configured.
    #[error("the sandbox can't run here: {0}")]
    Engine(String),
    /// The directory for compiled code can't be used.
    #[error("the directory for compiled plugins can't be used: {0}")]
    Cache(PathBuf, #[source] std::io::Error),
}

/// Why a component can't run.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It was refused before compiling.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// It does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its imports or exports have the right names and the wrong types.
    #[error("its interfaces have other types than this host's: {0}; rebuild it with the SDK of {version}", version = inspect::INTERFACE_VERSION)]
    Shape(String),
}

impl PrepareError {
    /// One word for events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Rejected(rejected) => rejected.reason(),
            Self::Compile(error) => error.reason(),
            Self::Shape(_) => "wrong-types",
        }
    }
}

/// Makes components runnable. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    compatibility: u64,
    cache: Cache,
    compiler: Compiler,
    compiling: Semaphore,
    limits: Arc<Limits>,
    driver_calls: Arc<Semaphore>,
}

impl Runtime {
    /// Starts one. Blocks for some milliseconds.
    ///
    /// # Errors
    /// When the sandbox can't run here or the cache directory can't be used.
    pub fn open(options: Options) -> Result<Self, RuntimeError> {
        let engine = engine(Purpose::Production).map_err(|error| RuntimeError::Engine(chain(&error)))?;
        let cache = Cache::open(&options.cache_dir).map_err(|error| RuntimeError::Cache(options.cache_dir, error))?;
        Ok(Self(Arc::new(Inner {
            compatibility: compatibility(&engine),
            engine,
            cache,
            compiler: options.compiler,
            compiling: Semaphore::new(1),
            driver_calls: Arc::new(Semaphore::new(options.limits.driver_calls)),
            limits: Arc::new(options.limits),
        })))
    }

    /// Checks a component, compiles it unless that was done before, and links it. Runs nothing of it.
    ///
    /// # Errors
    /// Why it can't run; see [`PrepareError::reason`].
    pub async fn prepare(&self, bytes: Arc<[u8]>) -> Result<Compiled, PrepareError> {
        let (inner, of) = (Arc::clone(&self.0), Arc::clone(&bytes));
        let read = move || {
            let manifest = inspect::inspect(&of)?;
            let code = inner.cache.get(&manifest.digest, inner.compatibility);
            // Code that does not load is as good as none.
            Ok((code.and_then(|code| compile::load(&inner.engine, &code).ok()), manifest))
        };
        let (cached, manifest) = blocking(read).await.map_err(gone)?.map_err(PrepareError::Rejected)?;
        let component = match cached {
            Some(component) => component,
            None => self.compile(&manifest, &bytes).await?,
        };
        Compiled::link(&self.0, manifest, &component)
    }

    async fn compile(&self, manifest: &Manifest, bytes: &[u8]) -> Result<Component, CompileError> {
        // Closed never; one at a time, so that two hostile uploads cost no more than one.
        let Ok(_turn) = self.0.compiling.acquire().await else {
            return Err(gone(Gone));
        };
        let code = self.0.compiler.compile(&self.0.engine, bytes).await?;
        let (inner, digest) = (Arc::clone(&self.0), manifest.digest);
        let load = move || {
            let code = inner.cache.put(&digest, inner.compatibility, code);
            compile::load(&inner.engine, &code).inspect_err(|_| inner.cache.remove(&digest, inner.compatibility))
        };
        blocking(load).await.map_err(gone)?
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a task of the host ended early")]
struct Gone;

fn gone(gone: Gone) -> CompileError {
    CompileError::Child(std::io::Error::other(gone))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Gone> {
    crate::blocking::run(work).await.map_err(|_| Gone)
}

/// A component that can run. Cheap to clone; all clones share counters and log.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) driver_calls: Arc<Semaphore>,
}

impl Compiled {
    fn link(inner: &Inner, manifest: Manifest, component: &Component) -> Result<Self, PrepareError> {
        let mut linker = Linker::new(&inner.engine);
        let linked = match manifest.slot {
            Slot::VolumeScheduler => {
                scheduler::ExplainingScheduler::add_to_linker::<_, Itself>(&mut linker, |guest| guest)
            }
            Slot::VolumeDriver => volume::Volume::add_to_linker::<_, Itself>(&mut linker, |guest| guest),
            Slot::ImageDriver => image::Image::add_to_linker::<_, Itself>(&mut linker, |guest| guest),
            Slot::MachineDriver => machine::Machine::add_to_linker::<_, Itself>(&mut linker, |guest| guest),
            Slot::NetworkDriver => network::Network::add_to_linker::<_, Itself>(&mut linker, |guest| guest),
            Slot::ExportDriver => exporting::Exporting::add_to_linker::<_, Itself>(&mut linker, |guest| guest),
            Slot::FenceDriver => fencing::Fencing::add_to_linker::<_, Itself>(&mut linker, |guest| guest),
        };
        let pre = linked
            .and_then(|()| linker.instantiate_pre(component))
            .map_err(|error| PrepareError::Shape(chain(&error)))?;
        let shared = Arc::new(Shared::new(manifest, Arc::clone(&inner.limits)));
        Ok(Self {
            shared,
            pre,
            driver_calls: Arc::clone(&inner.driver_calls),
        })
    }

    /// What the component is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    /// What its guests said.
    #[must_use]
    pub fn log(&self) -> &PluginLog {
        &self.shared.log
    }

    /// What its calls cost so far.
    #[must_use]
    pub fn stats(&self) -> StatsSnapshot {
        self.shared.stats.snapshot()
    }

    /// The fault of a choice that the checks in core refused; counted as the others are.
    #[must_use]
    pub fn refuse_choice(&self, violation: Violation) -> PluginFault {
        self.shared.fault("place", FaultKind::Choice(violation))
    }

    /// The fault of probes or a plan that the checks in core refused; counted as the others are.
    #[must_use]
    pub fn refuse_plan(&self, call: &'static str, fault: PlanFault) -> PluginFault {
        self.shared.fault(call, FaultKind::Plan(fault))
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("manifest", &self.shared.manifest)
            .finish_non_exhaustive()
    }
}

/// Tells the linker that a store's data is the host of all its imports.
pub(crate) struct Itself;

impl wasmtime::component::HasData for Itself {
    type Data<'a> = &'a mut Guest;
}
