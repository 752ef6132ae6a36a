//! What agents that were killed leave running, and its end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::wait::Patience;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Ends machines, libvirtd and networks of the agents in `DIR/nodes`. Gives the folders of the nodes where something may be
/// left.
pub(crate) fn clear(dir: &Path) -> Vec<PathBuf> {
    let nodes = std::fs::read_dir(dir.join("nodes")).into_iter().flatten().flatten();
    let mut left: Vec<PathBuf> = nodes.map(|node| node.path()).filter(|node| !is_clear(node)).collect();
    let until = Instant::now() + Patience::default().0;
    while !left.is_empty() && Instant::now() < until {
        // An agent that is about to end, as its stdin has, keeps its folder a little longer.
        left.retain(|node| {
            let mut down = Command::new(crate::program("symphony-agent"));
            down.args(["down", "--patience", "0", "--config-dir"]).arg(node);
            down.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            !down.status().is_ok_and(|status| status.success())
        });
        if !left.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    left
}

/// Whether a node never ran machines or networks.
fn is_clear(node: &Path) -> bool {
    ["libvirt", "machines", "networks", "exports"]
        .iter()
        .all(|folder| !node.join(folder).exists())
}
