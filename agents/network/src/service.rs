//! The network service: calls on networks, taken apart into steps and probes.

use async_trait::async_trait;
use symphony_agent::config::Config;
use symphony_agent::{Executor, Place, ProgressSink, StepError, Worker, task};
use symphony_core::plan::network::{Fact, Networks as Kind, Probe, Step};
use symphony_protocol::{Call, Failure, FailureKind, Outcome, Work};

use crate::{NetworkError, Networks};

/// Where the service keeps its files, in the agent's folder.
const FOLDER: &str = "networks";

/// Runs calls on networks.
#[derive(Debug)]
pub struct NetworkExecutor {
    networks: Networks,
}

impl NetworkExecutor {
    /// Opens the folder of the configuration.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn open(config: &Config) -> Result<Self, NetworkError> {
        let networks = Networks::open(config.folder.join(FOLDER))?;
        Ok(Self { networks })
    }
}

/// Removes the networks of an agent that does not run from its node, as [`Networks::remove_all`] does.
///
/// # Errors
/// When something is left.
pub async fn down(config: &Config) -> Result<usize, NetworkError> {
    let folder = config.folder.join(FOLDER);
    if folder.is_dir() {
        Networks::open(folder)?.remove_all().await
    } else {
        Ok(0)
    }
}

#[async_trait]
impl Worker<Kind> for NetworkExecutor {
    async fn step(&self, step: &Step, _: &Place<'_>) -> Result<(), StepError> {
        self.networks.run(step).await.map_err(failed)
    }

    async fn facts(&self, probes: &[Probe]) -> Result<Vec<Fact>, StepError> {
        Ok(self.networks.facts(probes).await)
    }
}

#[async_trait]
impl Executor for NetworkExecutor {
    fn handles(&self, work: &Work) -> bool {
        matches!(work, Work::Network { .. })
    }

    async fn run(&self, call: Call, progress: ProgressSink) -> Result<Outcome, Failure> {
        let Work::Network { task } = &call.work else {
            return Err(Failure::new(
                FailureKind::Missing,
                "the network service does networks only",
            ));
        };
        task::run(self, task, &progress).await.map(Outcome::Network)
    }
}

fn failed(error: NetworkError) -> StepError {
    let text = symphony_agent::chain(&error);
    match error {
        NetworkError::File { verb, source, path } => StepError::Io {
            what: format!("{} can't be {verb}", path.display()),
            source,
        },
        NetworkError::Missing(_) => StepError::Missing(text),
        NetworkError::Broken { .. } => StepError::Corrupt(text),
        NetworkError::Late(_) => StepError::Deadline(text),
        _ => StepError::Other(text),
    }
}
