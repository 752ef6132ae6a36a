//! A node for one test: the test runs itself again in namespaces for links, mounts and processes. Nothing of it is seen
//! from outside, and all of it ends with its first process.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use symphony_lab::Abilities;

const MARK: &str = "SYMPHONY_NETWORK_NODE";

/// Runs a test on a node of its own. `name` is the test's whole name.
pub(crate) fn node(name: &str, test: impl AsyncFnOnce()) {
    if std::env::var_os(MARK).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.unwrap().block_on(test());
        return;
    }
    if !is_able() {
        return;
    }
    let script = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && exec \"$@\"";
    let output = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ])
        .args(["sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("1 passed"), "{name}: {said}");
}

fn is_able() -> bool {
    let can = Abilities::here();
    let is_able = can.root && can.namespaces && can.bridges && can.filters && can.dhcp;
    if !is_able {
        // Not by the macro: what a passing test prints with it is not shown.
        let _ = writeln!(
            std::io::stderr(),
            "!!! NO NETWORKS ON THIS SERVER: THEIR TESTS ARE SKIPPED ({can:?})"
        );
    }
    is_able
}

/// Runs a line of shell, which has to succeed; gives what it prints.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All that a network could leave behind: links, namespaces, tables and servers.
pub(crate) fn all() -> BTreeSet<String> {
    let links = sh("ip -o link | cut -d: -f2");
    let spaces = sh("ls /run/netns");
    let tables = sh("nft list tables");
    let mut all: BTreeSet<String> = [links, spaces, tables]
        .iter()
        .flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    all.extend(servers().into_iter().map(|pid| format!("dnsmasq {pid}")));
    all
}

/// The servers that live.
pub(crate) fn servers() -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_server = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"dnsmasq\0")
    };
    pids.filter(is_server).collect()
}
