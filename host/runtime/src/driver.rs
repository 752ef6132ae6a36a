//! Drivers at work: each call on a fresh instance, so that nothing of one resource is left for the next.
//!
//! The flow is the same for every kind of resource. What a kind adds is the translation between core's types and those
//! of its interface, in a file of its own.

mod export;
mod fence;
mod glue;
mod image;
mod machine;
mod network;
mod volume;

use std::sync::Arc;

use symphony_core::plan::{Goal, PROBES_MAX, PlanFault, Refusal, STEPS_MAX};

use crate::bindings::volume::symphony::plugin::driving as wit;
use crate::fault::{FaultKind, PluginFault, TEXT_BYTES_MAX, clip};
use crate::guest::Sandbox;
use crate::inspect::Manifest;
use crate::runtime::Compiled;
use crate::smoke::{self, Descriptor};

pub use glue::Hosted;

/// A driver for one kind of resource, with its configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DriverPlugin<K: Hosted> {
    compiled: Compiled,
    config: Arc<str>,
    descriptor: Descriptor,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K: Hosted> DriverPlugin<K> {
    /// Tries it once with this configuration (JSON; `{}` for none).
    ///
    /// # Errors
    /// When no instance comes up or it refuses the configuration.
    pub async fn start(compiled: &Compiled, config: &str) -> Result<Self, PluginFault> {
        let config: Arc<str> = config.into();
        let of = Arc::clone(&config);
        let descriptor = run(compiled, "instantiate", move |compiled| {
            let (mut sandbox, guest) = open::<K>(compiled, &of)?;
            let fuel = compiled.shared.role().fuel.start;
            let (name, version, schema) = sandbox.call("describe", fuel, |store| K::describe(&guest, store))?;
            smoke::descriptor(name, version, schema).map_err(|kind| compiled.shared.fault("describe", kind))
        });
        Ok(Self {
            descriptor: descriptor.await?,
            compiled: compiled.clone(),
            config,
            kind: std::marker::PhantomData,
        })
    }

    /// What the component is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.compiled.manifest()
    }

    /// What it said of itself.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The component: counters, log, and faults of refused plans.
    #[must_use]
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Which facts [`Self::plan`] needs. Whose they are is for [`symphony_core::plan::check_probes`].
    ///
    /// # Errors
    /// The fault.
    pub async fn probes(&self, intent: &K::Intent) -> Result<Vec<K::Probe>, PluginFault> {
        let (config, intent) = (Arc::clone(&self.config), intent.clone());
        let work = move |compiled: &Compiled| {
            let (mut sandbox, guest) = open::<K>(compiled, &config)?;
            let fuel = compiled.shared.role().fuel.call;
            let probes = sandbox.call("probes", fuel, |store| K::probes(&guest, store, &intent))?;
            if probes.len() > PROBES_MAX {
                let fault = FaultKind::Plan(PlanFault::TooManyProbes(probes.len()));
                return Err(compiled.shared.fault("probes", fault));
            }
            Ok(probes)
        };
        run(&self.compiled, "probes", work).await
    }

    /// The steps that are left, or why there are none to give. Whether they may be taken is for
    /// [`symphony_core::plan::check`].
    ///
    /// # Errors
    /// The fault.
    pub async fn plan(
        &self,
        intent: &K::Intent,
        facts: &[K::Fact],
    ) -> Result<Result<Vec<K::Step>, Refusal>, PluginFault> {
        let (config, intent, facts) = (Arc::clone(&self.config), intent.clone(), facts.to_vec());
        let work = move |compiled: &Compiled| {
            let (mut sandbox, guest) = open::<K>(compiled, &config)?;
            let fuel = compiled.shared.role().fuel.call;
            let plan = sandbox.call("plan", fuel, |store| K::plan(&guest, store, &intent, &facts))?;
            match plan {
                Err(said) => Ok(Err(refusal(said))),
                Ok(steps) if steps.len() > STEPS_MAX => {
                    let fault = FaultKind::Plan(PlanFault::TooManySteps(steps.len()));
                    Err(compiled.shared.fault("plan", fault))
                }
                Ok(steps) => Ok(Ok(steps)),
            }
        };
        run(&self.compiled, "plan", work).await
    }
}

/// A fresh instance that took its configuration.
fn open<K: Hosted>(compiled: &Compiled, config: &str) -> Result<(Sandbox, K::Guest), PluginFault> {
    let shared = &compiled.shared;
    let fuel = shared.role().fuel.start;
    let pre = &compiled.pre;
    let mut sandbox = Sandbox::new(pre.engine(), shared);
    let guest = sandbox.call("instantiate", fuel, |store| K::load(pre, store))?;
    let taken = sandbox.call("configure", fuel, |store| K::configure(&guest, store, config))?;
    taken.map_err(|said| shared.fault("configure", FaultKind::Config(refusal(said).to_string())))?;
    Ok((sandbox, guest))
}

/// Runs one call on a thread of the blocking pool. At most `limits.driver_calls` run at once; the wait for a turn counts
/// against the deadline. A call that is given up at its deadline keeps its turn until fuel has ended it.
async fn run<T: Send + 'static>(
    compiled: &Compiled,
    call: &'static str,
    work: impl FnOnce(&Compiled) -> Result<T, PluginFault> + Send + 'static,
) -> Result<T, PluginFault> {
    let shared = &compiled.shared;
    let deadline = shared.role().deadline_of(call);
    let on_thread = async {
        let turn = Arc::clone(&compiled.driver_calls).acquire_owned().await.ok()?;
        let compiled = compiled.clone();
        let task = move || {
            let _turn = turn;
            work(&compiled)
        };
        crate::blocking::run(task).await.ok()
    };
    match tokio::time::timeout(deadline, on_thread).await {
        Ok(Some(result)) => result,
        Ok(None) => Err(shared.fault(call, FaultKind::Host("its thread has ended".to_owned()))),
        Err(_) => Err(shared.fault(call, FaultKind::Deadline(deadline.as_millis()))),
    }
}

fn goal(goal: Goal) -> wit::Goal {
    match goal {
        Goal::Present => wit::Goal::Present,
        Goal::Absent => wit::Goal::Absent,
    }
}

/// What a driver says instead of a plan.
fn refusal(said: wit::Refusal) -> Refusal {
    let text = |text: String| clip(&text, TEXT_BYTES_MAX);
    match said {
        wit::Refusal::Invalid(said) => Refusal::Invalid(text(said)),
        wit::Refusal::Unavailable(said) => Refusal::Unavailable(text(said)),
        wit::Refusal::Other(said) => Refusal::Other(text(said)),
    }
}
