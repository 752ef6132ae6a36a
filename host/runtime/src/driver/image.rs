//! The image driver: core's intent and facts in, its probes and steps out.

use std::sync::Arc;

use symphony_core::plan::Refusal;
use symphony_core::plan::image::{DetectedFormat, Fact, Integrity, Intent, Probe, Step, Upload};

use crate::bindings::image::exports::symphony::plugin::image_driver as wit;
use crate::fault::PluginFault;
use crate::guest::Sandbox;
use crate::inspect::Manifest;
use crate::runtime::Compiled;
use crate::smoke::{self, Descriptor};

/// A driver for images, with its configuration.
#[derive(Debug, Clone)]
pub struct ImageDriverPlugin {
    compiled: Compiled,
    config: Arc<str>,
    descriptor: Descriptor,
}

impl ImageDriverPlugin {
    /// Tries it once with this configuration (JSON; `{}` for none).
    ///
    /// # Errors
    /// When no instance comes up or it refuses the configuration.
    pub async fn start(compiled: &Compiled, config: &str) -> Result<Self, PluginFault> {
        let config: Arc<str> = config.into();
        let of = Arc::clone(&config);
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

    /// Which facts [`Self::plan`] needs. Whose they are is for [`symphony_core::plan::image::check_probes`].
    ///
    /// # Errors
    /// The fault.
    pub async fn probes(&self, intent: &Intent) -> Result<Vec<Probe>, PluginFault> {
        let (config, intent) = (Arc::clone(&self.config), intent_of(intent));
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
    /// [`symphony_core::plan::image::check`].
    ///
    /// # Errors
    /// The fault.
    pub async fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Result<Vec<Step>, Refusal>, PluginFault> {
        let (config, intent) = (Arc::clone(&self.config), intent_of(intent));
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
        upload: intent.upload.to_string(),
        digest: intent.digest.to_string(),
        goal: super::goal(intent.goal),
        shared: intent.shared,
    }
}

fn fact(fact: &Fact) -> wit::Fact {
    match fact {
        Fact::Upload { upload, found } => wit::Fact::Upload(wit::UploadFact {
            upload: upload.clone(),
            found: found.as_ref().map(found_upload),
        }),
        Fact::Blob { digest, present } => wit::Fact::Blob(wit::BlobFact {
            digest: digest.clone(),
            present: *present,
        }),
    }
}

fn found_upload(upload: &Upload) -> wit::FoundUpload {
    let format = match upload.header.format {
        DetectedFormat::Raw => wit::DetectedFormat::Raw,
        DetectedFormat::Qcow2 => wit::DetectedFormat::Qcow2,
        DetectedFormat::Unsupported => wit::DetectedFormat::Unsupported,
    };
    let integrity = match &upload.integrity {
        Integrity::Unchecked => wit::Integrity::Unchecked,
        Integrity::Sound => wit::Integrity::Sound,
        Integrity::Corrupt(what) => wit::Integrity::Corrupt(what.clone()),
    };
    let header = wit::Header {
        format,
        virtual_bytes: upload.header.virtual_bytes,
        refused: upload.header.refused.clone(),
    };
    wit::FoundUpload {
        digest: upload.digest.to_string(),
        stored_bytes: upload.stored_bytes,
        header,
        integrity,
    }
}

fn probe(said: wit::Probe) -> Probe {
    match said {
        wit::Probe::Upload(upload) => Probe::Upload(upload),
        wit::Probe::Blob(digest) => Probe::Blob(digest),
    }
}

fn step(said: wit::Step) -> Step {
    match said {
        wit::Step::Check(upload) => Step::Check { upload },
        wit::Step::Publish(wit::Publish { upload, digest }) => Step::Publish { upload, digest },
        wit::Step::Discard(upload) => Step::Discard { upload },
        wit::Step::Remove(digest) => Step::Remove { digest },
    }
}
