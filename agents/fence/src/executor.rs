//! Calls about the power of other nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::join_all;
use symphony_agent::config::Config;
use symphony_agent::{Executor, Place, ProgressSink, StepError, Worker, task};
use symphony_core::plan::fence::{Fact, Fences, PowerFact, Probe, Step};
use symphony_core::power::{DEVICES_MAX, Device, NodePower, PowerState};
use symphony_protocol::{Call, Failure, FailureKind, Outcome, Work};

use crate::device::Asked;
use crate::secrets::Secrets;

/// Most characters of what is said in a fact.
const SAID_MAX: usize = 400;

/// Asks devices, with the programs of this node's list. Needs no role.
#[derive(Debug)]
pub struct FenceExecutor {
    programs: BTreeMap<String, PathBuf>,
    secrets: Secrets,
}

impl FenceExecutor {
    /// With the programs of a configuration; nothing when it has none.
    #[must_use]
    pub fn open(config: &Config) -> Option<Self> {
        let programs = config.agent.fence_programs.clone();
        (!programs.is_empty()).then(|| Self {
            programs,
            secrets: Secrets::new(&config.folder),
        })
    }
}

#[async_trait]
impl Executor for FenceExecutor {
    fn handles(&self, work: &Work) -> bool {
        matches!(work, Work::Fence { .. })
    }

    async fn run(&self, call: Call, progress: ProgressSink) -> Result<Outcome, Failure> {
        let Work::Fence { devices, task } = call.work else {
            return Err(Failure::new(FailureKind::Other, "this is not about a node's power"));
        };
        // The manager has looked already; what is run here is looked at here.
        let power = NodePower { devices, after_s: None };
        if let Err(error) = power.check() {
            return Err(Failure::new(FailureKind::Other, error.to_string()));
        }
        let asking = Asking {
            executor: self,
            devices: &power.devices,
            failed: Mutex::default(),
        };
        task::run(&asking, &task, &progress).await.map(Outcome::Fence)
    }

    fn fence_programs(&self) -> Vec<String> {
        self.programs.keys().cloned().collect()
    }
}

/// One call.
struct Asking<'a> {
    executor: &'a FenceExecutor,
    devices: &'a [Device],
    /// Why devices could not cut the power.
    failed: Mutex<BTreeMap<u32, String>>,
}

impl Asking<'_> {
    fn asked(&self, number: u32) -> Result<Asked<'_>, StepError> {
        let device = usize::try_from(number).ok().and_then(|number| self.devices.get(number));
        let device = device.ok_or_else(|| StepError::Missing(format!("there is no device {number}")))?;
        let program = self
            .executor
            .programs
            .get(&device.program)
            .ok_or_else(|| StepError::Missing(format!("this node's [fence_programs] has no {}", device.program)))?;
        Ok(Asked {
            device,
            program,
            secrets: &self.executor.secrets,
        })
    }

    async fn fact(&self, Probe::Power(number): &Probe) -> Fact {
        let (state, mut said) = match self.asked(*number) {
            Ok(asked) => asked.state().await,
            Err(error) => (PowerState::Unknown, error.to_string()),
        };
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = failed.get(number).filter(|_| state != PowerState::Off) {
            said.clone_from(failed);
        }
        Fact::Power(PowerFact {
            device: *number,
            state,
            said: said.chars().filter(|c| !c.is_control()).take(SAID_MAX).collect(),
        })
    }
}

#[async_trait]
impl Worker<Fences> for Asking<'_> {
    /// Never fails: that a device could not cut the power is a fact, and the next level's turn.
    async fn step(&self, Step::Cut { device }: &Step, _: &Place<'_>) -> Result<(), StepError> {
        let cut = match self.asked(*device) {
            Ok(asked) => asked.cut().await,
            Err(error) => Err(error),
        };
        if let Err(error) = cut {
            let said = error.failure().message;
            tracing::warn!(device, said, "a device did not cut the power");
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.insert(*device, said);
        }
        Ok(())
    }

    async fn facts(&self, probes: &[Probe]) -> Result<Vec<Fact>, StepError> {
        // As many at once as a node has devices, and no more.
        let probes = probes.get(..DEVICES_MAX).unwrap_or(probes);
        Ok(join_all(probes.iter().map(|probe| self.fact(probe))).await)
    }
}

#[cfg(test)]
mod tests;
