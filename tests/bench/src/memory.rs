//! What manager and agents take when nothing is asked of them.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use symphony_tests::{Cloud, Options};

use crate::figure::{Aim, Figure, Values};

/// What was needed only to start has been given back by then.
pub(crate) const SETTLED: Duration = Duration::from_secs(3);

pub(crate) const FIGURES: [Figure; 2] = [
    Figure {
        name: "manager.rss_mib",
        unit: "MiB",
        aim: Aim::AtMost(150.0),
        what: "resident memory of an idle manager, first-party plugins loaded",
    },
    Figure {
        name: "agent.rss_mib",
        unit: "MiB",
        aim: Aim::AtMost(30.0),
        what: "… of the largest of 3 idle agents",
    },
];

/// Measures; the cloud that it was done with.
pub(crate) async fn measure(values: &mut Values) -> Result<Cloud, Box<dyn Error>> {
    let cloud = Cloud::start(Options::default()).await;
    let serving = cloud
        .client()
        .slots()
        .await?
        .items
        .into_iter()
        .filter(|slot| slot.active.is_some())
        .count();
    if serving < 2 {
        return Err(format!("{serving} plugins serve; the figure is about at least two").into());
    }
    tokio::time::sleep(SETTLED).await;
    values.put(
        "manager.rss_mib",
        resident_mib(Path::new(&format!("/proc/{}", cloud.pid())))?,
    );
    let agents = agents(cloud.pid())?.into_iter().map(|process| resident_mib(&process));
    let agents = agents.collect::<Result<Vec<_>, _>>()?;
    if agents.len() != 3 {
        return Err(format!("the cloud has {} child processes, not 3 agents", agents.len()).into());
    }
    values.put("agent.rss_mib", agents.into_iter().fold(0.0, f64::max));
    Ok(cloud)
}

/// The agents of a `symphony dev`: the processes whose parent it is, in `/proc`.
pub(crate) fn agents(parent: u32) -> Result<Vec<std::path::PathBuf>, Box<dyn Error>> {
    let is_child = |process: &std::path::PathBuf| {
        // Processes come and go; who is gone is no child.
        field(process, "PPid:").ok() == Some(u64::from(parent))
    };
    let processes = std::fs::read_dir("/proc")?.map(|entry| entry.map(|entry| entry.path()));
    let processes = processes.collect::<Result<Vec<_>, _>>()?;
    Ok(processes
        .into_iter()
        .filter(|path| path.join("status").is_file())
        .filter(is_child)
        .collect())
}

pub(crate) fn resident_mib(process: &Path) -> Result<f64, Box<dyn Error>> {
    Ok(field(process, "VmRSS:")? as f64 / 1024.0)
}

/// A number in a process' status.
fn field(process: &Path, name: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string(process.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("a process' status lacks a line")?;
    Ok(number.parse()?)
}
