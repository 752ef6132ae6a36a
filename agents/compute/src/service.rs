//! The compute service: calls on machines, taken apart into steps and probes; and what the node has for machines.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use symphony_agent::config::Config;
use symphony_agent::{Executor, NoticeSink, Place, ProgressSink, StepError, Worker, task};
use symphony_core::node::Compute;
use symphony_core::plan::machine::{Fact, Hypervisor, Machines as Kind, Probe, Step};
use symphony_core::quantity::{Bytes, SizeError};
use symphony_protocol::config::ComputeConfig;
use symphony_protocol::{Call, Failure, FailureKind, Outcome, Work};

use crate::viewers;
use crate::{Disks, Error, Libvirtd, LibvirtdError, Machines, Options};

/// Where the machines' own files are, in the agent's folder.
pub(crate) const MACHINES: &str = "machines";
/// Where a private libvirtd has its files, in the agent's folder.
pub(crate) const LIBVIRT: &str = "libvirt";
/// Memory that is left for the node itself when nothing is configured.
const RESERVED_BYTES: u64 = 1 << 30;

/// Why there is no compute service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The memory in the configuration.
    #[error("the memory of [compute] is not a size")]
    Memory(#[source] SizeError),
    /// The private libvirtd.
    #[error("there is no libvirt on this node, and a private one can't be started")]
    Libvirtd(#[from] LibvirtdError),
    /// The folder.
    #[error("the machines' folder can't be opened")]
    Folder(#[from] io::Error),
    /// Machines that run.
    #[error("the machines can't be ended")]
    Machines(#[source] Error),
}

/// Runs calls on machines.
#[derive(Debug)]
pub struct ComputeExecutor {
    machines: Arc<Machines>,
    compute: Compute,
    /// Goes on when the agent ends: its machines do.
    _libvirtd: Option<Libvirtd>,
}

/// Whether the node of this folder has machines.
#[must_use]
pub fn has_machines(config: &Config) -> bool {
    let folder = std::fs::read_dir(config.folder.join(MACHINES));
    folder.is_ok_and(|mut entries| entries.next().is_some())
}

impl ComputeExecutor {
    /// Opens the folder of the configuration and finds libvirt, or starts a private one. Blocks meanwhile. Machines that
    /// end are told to `notices`.
    ///
    /// # Errors
    /// When one of them is not to be had.
    pub fn open(config: &Config, disks: Arc<dyn Disks>, notices: NoticeSink) -> Result<Self, ServiceError> {
        let wanted = config.agent.compute.clone().unwrap_or_default();
        let hypervisor = wanted.hypervisor.unwrap_or_else(best);
        let compute = Compute {
            hypervisor,
            cpus: std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
            cpu_overcommit_percent: wanted.cpu_overcommit_percent,
            memory_bytes: memory(&wanted)?,
        };
        let (uri, libvirtd) = match &wanted.uri {
            Some(uri) => (uri.clone(), None),
            None => {
                let libvirtd = Libvirtd::start(&config.folder.join(LIBVIRT))?;
                (libvirtd.uri(), Some(libvirtd))
            }
        };
        let options = Options {
            folder: config.folder.join(MACHINES),
            uri,
            hypervisor,
        };
        let mut machines = Machines::open(options, disks)?.telling(notices);
        if libvirtd.is_some() {
            machines = machines.logging_to(config.folder.join(LIBVIRT).join("log/qemu"));
        }
        machines.warm();
        Ok(Self {
            machines: Arc::new(machines),
            compute,
            _libvirtd: libvirtd,
        })
    }
}

/// With the processor's help where it offers that and lets this process use it.
fn best() -> Hypervisor {
    if kvm() { Hypervisor::Kvm } else { Hypervisor::Qemu }
}

/// Whether the processor helps to run machines, and this process may use that.
#[must_use]
pub fn kvm() -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let helps = flags.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm"));
    let device = std::fs::File::options()
        .read(true)
        .write(true)
        .open(Path::new("/dev/kvm"));
    helps && device.is_ok()
}

/// Whether this process is root's: a private libvirtd needs that.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn memory(wanted: &ComputeConfig) -> Result<u64, ServiceError> {
    if let Some(text) = &wanted.memory {
        return text.parse::<Bytes>().map(|bytes| bytes.0).map_err(ServiceError::Memory);
    }
    let info = std::fs::read_to_string(PathBuf::from("/proc/meminfo")).unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total
        .and_then(|total| total.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    Ok((kib << 10).saturating_sub(RESERVED_BYTES))
}

#[async_trait]
impl Worker<Kind> for ComputeExecutor {
    async fn step(&self, step: &Step, _: &Place<'_>) -> Result<(), StepError> {
        self.machines.run(step).await.map_err(|error| failed(&error))
    }

    async fn facts(&self, probes: &[Probe]) -> Result<Vec<Fact>, StepError> {
        self.machines.facts(probes).await.map_err(|error| failed(&error))
    }
}

#[async_trait]
impl Executor for ComputeExecutor {
    fn handles(&self, work: &Work) -> bool {
        matches!(work, Work::Machine { .. })
    }

    async fn run(&self, call: Call, progress: ProgressSink) -> Result<Outcome, Failure> {
        let Work::Machine { task, exports } = &call.work else {
            return Err(Failure::new(
                FailureKind::Missing,
                "the compute service does machines only",
            ));
        };
        self.machines.reach(&call.object, exports);
        task::run(self, task, &progress).await.map(Outcome::Machine)
    }

    async fn owned(&self) -> Result<Vec<String>, Failure> {
        let names = self.machines.owned().await;
        let names = names.map_err(|error| Failure::new(FailureKind::Other, symphony_agent::chain(&error)))?;
        Ok(names.into_iter().map(|name| format!("machine/{name}")).collect())
    }

    async fn discard(&self, object: &str) -> Result<(), Failure> {
        let object = object.strip_prefix("machine/").unwrap_or(object);
        let done = self.machines.discard(object).await;
        done.map_err(|error| Failure::new(FailureKind::Other, symphony_agent::chain(&error)))
    }

    fn compute(&self) -> Option<Compute> {
        Some(self.compute.clone())
    }

    fn routes(&self) -> Router {
        viewers::routes(Arc::clone(&self.machines))
    }
}

fn failed(error: &Error) -> StepError {
    let text = symphony_agent::chain(error);
    match error {
        Error::Disk { .. } | Error::Unknown => StepError::Missing(text),
        Error::Held => StepError::Deadline(text),
        Error::Remote(StepError::Unreachable(_)) => StepError::Unreachable(text),
        _ => StepError::Other(text),
    }
}
