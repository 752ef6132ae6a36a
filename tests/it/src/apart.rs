//! A cluster whose parts are apart: three members of etcd, three managers and five nodes, each in a network of its own, and
//! nodes with mounts, host name and processes of their own besides, so that they can be cut off, frozen, killed and lose
//! their power like servers.
//!
//! The test runs itself again in namespaces (network, mounts, processes) and builds everything there: nothing that it makes
//! has a name outside of them, and all of it is gone when it ends, however it ends; but for a folder, when it is killed.

mod board;
mod churn;
mod cluster;
mod harm;
mod history;
mod parts;
mod space;
mod story;
mod witness;

use std::io::Write as _;
use std::process::{Command, Stdio};

pub use churn::Churn;
pub use cluster::Apart;
pub use history::History;
pub use parts::{IMAGES, MANAGERS, MEMBERS, NODES};
pub use space::Space;
pub use story::Story;
pub use witness::Witness;

use crate::lab::Abilities;

/// Set where the test runs in its namespaces: to the process that waits for it outside.
const MARK: &str = "SYMPHONY_TEST_CLUSTER_APART";

/// What the names of clusters' folders begin with; then comes the process that waits for the test.
const FOLDER: &str = "symphony-apart-";

/// A bridge, on which we are 10.77.0.254, and a place for the networks' names.
const BRIDGE: &str = r#"set -e
PATH=$PATH:/usr/sbin:/sbin
mkdir -p /run/netns && mount -t tmpfs none /run/netns
ip link set lo up
ip link add name br0 type bridge && ip addr add 10.77.0.254/24 dev br0 && ip link set br0 up
exec "$@""#;

/// Runs the test of this name in namespaces of its own; outside of them it starts itself there. Where that can't be done it
/// says so in one loud line.
///
/// # Panics
/// When the test fails.
pub fn apart(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(MARK).is_some() {
        let runtime = tokio::runtime::Runtime::new().expect("there are threads");
        return runtime.block_on(body);
    }
    if !Abilities::here().networks() || !has_etcd() {
        return;
    }
    sweep();
    // Whoever ends the outermost process ends all others: a test that is killed leaves nothing.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"]);
    command.args(["--kill-child", "--mount-proc", "--propagation", "private"]);
    command.args(["sh", "-c", BRIDGE, "sh"]);
    command.arg(std::env::current_exe().expect("a program has a path"));
    command.args(["--exact", test, "--include-ignored", "--nocapture"]);
    // The networks here are no way to a proxy.
    for proxy in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        command.env_remove(proxy);
    }
    let owner = std::process::id().to_string();
    let status = command.env(MARK, owner).stdin(Stdio::null()).status();
    assert!(
        status.expect("setpriv runs").success(),
        "{test} failed in its namespaces; its words are above"
    );
}

/// A folder for the cluster of a test that runs in its namespaces.
fn folder() -> tempfile::TempDir {
    let owner = std::env::var(MARK).expect("it runs in namespaces");
    let folder = tempfile::Builder::new().prefix(&format!("{FOLDER}{owner}-")).tempdir();
    folder.expect("a folder can be made")
}

/// Removes the folders of tests that were killed: all else that they made went with their namespaces.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next());
        if let Some(owner) = owner
            && owner.parse::<u32>().is_ok()
            && !std::path::Path::new("/proc").join(owner).exists()
        {
            // Two tests may sweep at once.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn has_etcd() -> bool {
    let runs = |program: &str| Command::new(program).arg("--help").output().is_ok();
    let both = runs("etcd") && runs("etcdctl");
    if !both {
        // Not by the macro: what a passing test prints with it is not shown.
        let line = "!!! NO CLUSTERS ON THIS SERVER (no etcd or no etcdctl): WHAT NEEDS THEM IS SKIPPED";
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    both
}
