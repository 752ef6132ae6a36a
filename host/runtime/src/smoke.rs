//! The first run of a new component, before anything hangs on it.
//!
//! It finds what never works: an instance that does not come up, a policy that traps on an empty cluster, an answer that
//! changes from one instance to the next. Whether the answers are any good is not asked: the checks in core see to it
//! that they are legal, each time.

use symphony_core::counter::Revision;
use symphony_core::place::{Answer, Candidate, Candidates, Request, Room};
use symphony_core::plan::export::Exports;
use symphony_core::plan::fence::Fences;
use symphony_core::plan::image::Images;
use symphony_core::plan::machine::Machines;
use symphony_core::plan::network::Networks;
use symphony_core::plan::volume::Volumes;
use symphony_core::plugin::Slot;

use crate::driver::{DriverPlugin, Hosted};
use crate::fault::{FaultKind, PluginFault, clip};
use crate::runtime::Compiled;
use crate::scheduler::SchedulerPlugin;

/// Largest configuration schema, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;
const GIB: u64 = 1 << 30;

/// What a plugin says of itself when it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// JSON Schema of its configuration; empty when it takes none.
    pub config_schema: String,
    /// The candidate columns that it reads (schedulers).
    pub candidate_columns: Vec<String>,
    /// The request columns that it reads (schedulers).
    pub request_columns: Vec<String>,
    /// Whether it can explain its decisions (schedulers).
    pub explains: bool,
}

/// Runs a component for the first time, with the configuration that it is to serve with (`{}` for none). Schedulers
/// decide for an empty cluster, for one candidate and for several, on two instances that must agree.
///
/// # Errors
/// The first fault.
pub async fn smoke(compiled: &Compiled, config: &str) -> Result<Descriptor, PluginFault> {
    match compiled.manifest().slot {
        Slot::VolumeScheduler => scheduler(compiled, config).await,
        Slot::VolumeDriver => driver::<Volumes>(compiled, config).await,
        Slot::ImageDriver => driver::<Images>(compiled, config).await,
        Slot::MachineDriver => driver::<Machines>(compiled, config).await,
        Slot::NetworkDriver => driver::<Networks>(compiled, config).await,
        Slot::ExportDriver => driver::<Exports>(compiled, config).await,
        Slot::FenceDriver => driver::<Fences>(compiled, config).await,
    }
}

async fn driver<K: Hosted>(compiled: &Compiled, config: &str) -> Result<Descriptor, PluginFault> {
    let driver = DriverPlugin::<K>::start(compiled, config).await?;
    Ok(driver.descriptor().clone())
}

async fn scheduler(compiled: &Compiled, config: &str) -> Result<Descriptor, PluginFault> {
    let (first, descriptor) = decide(compiled, config).await?;
    let (second, _) = decide(compiled, config).await?;
    if first != second {
        let text = "two instances decided differently about the same requests".to_owned();
        return Err(compiled.shared.fault("place", FaultKind::Answer(text)));
    }
    Ok(descriptor)
}

async fn decide(compiled: &Compiled, config: &str) -> Result<(Vec<Answer>, Descriptor), PluginFault> {
    let plugin = SchedulerPlugin::start(compiled, config).await?;
    let several: Vec<Candidate> = (0..16_u64).filter_map(candidate).collect();
    let mut answers = Vec::new();
    for (revision, rows) in [(1, Vec::new()), (2, candidate(0).into_iter().collect()), (3, several)] {
        let candidates = Candidates::from_rows(Revision(revision), rows);
        answers.extend(plugin.place(&candidates, requests(), 7).await?);
        let changed = candidates.with_free_bytes(Revision(revision + 10), 0, GIB);
        answers.extend(plugin.place(&changed, requests(), 7).await?);
        plugin.explain(&changed, Vec::new(), request(GIB)).await?;
    }
    Ok((answers, plugin.descriptor().clone()))
}

fn candidate(n: u64) -> Option<Candidate> {
    let label = if n.is_multiple_of(2) { "zone=a" } else { "zone=b" };
    Some(Candidate {
        node: format!("node-{n:02}").parse().ok()?,
        pool: "default".parse().ok()?,
        schedulable: !n.is_multiple_of(5),
        total_bytes: 100 * GIB,
        free_bytes: (100 - n) * GIB,
        room: Room::default(),
        labels: std::sync::Arc::new(label.parse().unwrap_or_default()),
    })
}

/// Small, odd, larger than any candidate, with no size, and as large as a number can be.
fn requests() -> Vec<Request> {
    [GIB, GIB, 512, 1000 * GIB, 0, u64::MAX].map(request).to_vec()
}

fn request(disk_bytes: u64) -> Request {
    Request {
        disk_bytes,
        ..Request::default()
    }
}

/// Descriptions of all roles have these three.
pub(crate) fn descriptor(name: String, version: String, config_schema: String) -> Result<Descriptor, FaultKind> {
    if config_schema.len() > SCHEMA_BYTES_MAX {
        let text = format!(
            "its configuration schema has {} bytes, over the limit of {SCHEMA_BYTES_MAX}",
            config_schema.len()
        );
        return Err(FaultKind::Answer(text));
    }
    Ok(Descriptor {
        name: clip(&name, 63),
        version: clip(&version, 64),
        config_schema,
        ..Descriptor::default()
    })
}
