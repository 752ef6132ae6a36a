//! The volume driver: core's intent and facts in, its probes and steps out.

use symphony_core::image::Format;
use symphony_core::plan::Command;
use symphony_core::plan::Refusal;
use symphony_core::plan::volume::{Fact, ImageState, Intent, ObjectState, Probe, Step};

use crate::bindings::volume::exports::symphony::plugin::volume_driver as wit;
use crate::fault::PluginFault;
use crate::guest::Sandbox;
use crate::inspect::Manifest;
use crate::runtime::Compiled;
use crate::smoke::{self, Descriptor};

/// A driver for volumes, with its configuration.
#[derive(Debug, Clone)]
pub struct VolumeDriverPlugin {
    compiled: Compiled,
    config: std::sync::Arc<str>,
    descriptor: Descriptor,
}

impl VolumeDriverPlugin {
    /// Tries it once with this configuration (JSON; `{}` for none).
    ///
    /// # Errors
    /// When no instance comes up or it refuses the configuration.
    pub async fn start(compiled: &Compiled, config: &str) -> Result<Self, PluginFault> {
        let config: std::sync::Arc<str> = config.into();
        let of = std::sync::Arc::clone(&config);
        let descriptor = super::run(compiled, "instantiate", move |compiled| {
            let (mut sandbox, guest) = open(compiled, &of)?;
            let fuel = compiled.shared.role().fuel.start;
            let said = sandbox.call("describe", fuel, |store| guest.call_describe(store))?;
            smoke::descriptor(said.name, said.version, said.config_schema)
                .map_err(|kind| compiled.shared.fault("describe", kind))
        });
        Ok(Self {
            descriptor: descriptor.await?,
            compiled: compiled.clone(),
            config,
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

    /// Which facts [`Self::plan`] needs. Whose objects they are of is for [`symphony_core::plan::volume::check_probes`].
    ///
    /// # Errors
    /// The fault.
    pub async fn probes(&self, intent: &Intent) -> Result<Vec<Probe>, PluginFault> {
        let (config, intent) = (std::sync::Arc::clone(&self.config), intent_of(intent));
        let work = move |compiled: &Compiled| {
            let (mut sandbox, guest) = open(compiled, &config)?;
            let probes = sandbox.call("probes", compiled.shared.role().fuel.call, |store| {
                guest.call_probes(store, &intent)
            })?;
            super::few_probes(probes.len()).map_err(|kind| compiled.shared.fault("probes", kind))?;
            Ok(probes.into_iter().map(probe).collect())
        };
        super::run(&self.compiled, "probes", work).await
    }

    /// The steps that are left, or why there are none to give. Whether they may be taken is for
    /// [`symphony_core::plan::volume::check`].
    ///
    /// # Errors
    /// The fault.
    pub async fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Result<Vec<Step>, Refusal>, PluginFault> {
        let (config, intent) = (std::sync::Arc::clone(&self.config), intent_of(intent));
        let facts: Vec<wit::Fact> = facts.iter().map(fact).collect();
        let work = move |compiled: &Compiled| {
            let (mut sandbox, guest) = open(compiled, &config)?;
            let plan = sandbox.call("plan", compiled.shared.role().fuel.call, |store| {
                guest.call_plan(store, &intent, &facts)
            })?;
            let steps = match plan {
                Ok(steps) => steps,
                Err(said) => return Ok(Err(super::refusal(said))),
            };
            super::few_steps(steps.len()).map_err(|kind| compiled.shared.fault("plan", kind))?;
            Ok(Ok(steps.into_iter().map(step).collect()))
        };
        super::run(&self.compiled, "plan", work).await
    }
}

/// A fresh instance that took its configuration.
fn open(compiled: &Compiled, config: &str) -> Result<(Sandbox, wit::Guest), PluginFault> {
    let shared = &compiled.shared;
    let fuel = shared.role().fuel.start;
    let pre = &compiled.pre;
    let mut sandbox = Sandbox::new(pre.engine(), shared);
    let guest = sandbox.call("instantiate", fuel, |store| {
        let instance = pre.instantiate(&mut *store)?;
        wit::GuestIndices::new(pre)?.load(&mut *store, &instance)
    })?;
    let taken = sandbox.call("configure", fuel, |store| guest.call_configure(store, config))?;
    taken.map_err(|said| shared.fault("configure", super::misconfigured(said)))?;
    Ok((sandbox, guest))
}

fn intent_of(intent: &Intent) -> wit::Intent {
    wit::Intent {
        object: intent.object.to_string(),
        pool: intent.pool.to_string(),
        goal: super::goal(intent.goal),
        size_bytes: intent.size_bytes,
        source: intent.source.as_ref().map(|source| wit::ImageSource {
            digest: source.digest.to_string(),
            format: format_of(source.format),
            stored_bytes: source.stored_bytes,
            virtual_bytes: source.virtual_bytes,
        }),
    }
}

fn format_of(format: Format) -> wit::ImageFormat {
    match format {
        Format::Raw => wit::ImageFormat::Raw,
        Format::Qcow2 => wit::ImageFormat::Qcow2,
    }
}

fn fact(fact: &Fact) -> wit::Fact {
    match fact {
        Fact::Object { object, state } => {
            let state = match state {
                ObjectState::Absent => wit::ObjectState::Absent,
                ObjectState::Partial { size_bytes, written } => wit::ObjectState::Partial(wit::PartialObject {
                    size_bytes: *size_bytes,
                    written: written.clone(),
                }),
                ObjectState::Present { size_bytes } => wit::ObjectState::Present(*size_bytes),
            };
            wit::Fact::Object(wit::ObjectFact {
                object: object.clone(),
                state,
            })
        }
        Fact::Image { digest, state } => {
            let state = match state {
                ImageState::Absent => wit::ImageState::Absent,
                ImageState::Fetched => wit::ImageState::Fetched,
                ImageState::Unpacked => wit::ImageState::Unpacked,
            };
            wit::Fact::Image(wit::ImageFact {
                digest: digest.clone(),
                state,
            })
        }
        Fact::Pool { reflink, free_bytes } => wit::Fact::Pool(wit::PoolFact {
            reflink: *reflink,
            free_bytes: *free_bytes,
        }),
    }
}

fn probe(said: wit::Probe) -> Probe {
    match said {
        wit::Probe::Object(object) => Probe::Object(object),
        wit::Probe::Image(digest) => Probe::Image(digest),
        wit::Probe::Pool => Probe::Pool,
    }
}

fn step(said: wit::Step) -> Step {
    let format = |said| match said {
        wit::ImageFormat::Raw => Format::Raw,
        wit::ImageFormat::Qcow2 => Format::Qcow2,
    };
    match said {
        wit::Step::Allocate(wit::Allocate { object, size_bytes }) => Step::Allocate { object, size_bytes },
        wit::Step::FetchImage(digest) => Step::FetchImage { digest },
        wit::Step::UnpackImage(said) => Step::UnpackImage {
            digest: said.digest,
            format: format(said.format),
            virtual_bytes: said.virtual_bytes,
        },
        wit::Step::WriteImage(said) => Step::WriteImage {
            object: said.object,
            digest: said.digest,
            format: format(said.format),
            virtual_bytes: said.virtual_bytes,
        },
        wit::Step::CloneImage(wit::CloneImage { object, digest }) => Step::CloneImage { object, digest },
        wit::Step::Resize(wit::Resize { object, size_bytes }) => Step::Resize { object, size_bytes },
        wit::Step::Publish(object) => Step::Publish { object },
        wit::Step::Remove(object) => Step::Remove { object },
        wit::Step::Command(said) => Step::Command(Command {
            program: said.program,
            arguments: said.arguments,
            stdin: said.stdin,
            timeout_ms: said.timeout_ms,
        }),
    }
}
