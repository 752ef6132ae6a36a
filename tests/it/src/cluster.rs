//! A `symphony dev --managers 3` in a temporary folder: three members of etcd, three managers and agents, each a process
//! that a test may kill or freeze. What dies is started again by `dev`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use symphony_api::{Client, DEFAULT_PROJECT, Endpoint};

use crate::process::{below, pid, signal};
use crate::{cloud, left, process, program, until};

/// How many managers, and members of etcd.
pub const MEMBERS: usize = 3;

/// Of how many nodes a test that failed tells the ends of the logs.
const NODES_TOLD: usize = 5;

/// Characters of an id.
const ID_LENGTH: usize = 36;

/// Who leads, by the record in the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Leader {
    /// Counts the leaders.
    pub epoch: u64,
    /// The manager's name.
    pub manager: String,
}

impl Leader {
    /// Its number among the managers, from 0.
    ///
    /// # Panics
    /// When its name is none that `dev` gives.
    #[must_use]
    pub fn number(&self) -> usize {
        let number = self
            .manager
            .strip_prefix("manager-")
            .and_then(|number| number.parse::<usize>().ok());
        number.expect("dev numbers its managers") - 1
    }
}

/// A running cluster.
pub struct Cluster {
    dir: tempfile::TempDir,
    child: Child,
    clients: Vec<Client>,
    machines: bool,
}

impl Cluster {
    /// Starts one in a fresh folder, with so many nodes.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start(nodes: u32) -> Self {
        Self::start_with(nodes, false).await
    }

    /// The same, with nodes that run machines and networks; [`stop`](Self::stop) ends them.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start_with_machines(nodes: u32) -> Self {
        Self::start_with(nodes, true).await
    }

    async fn start_with(nodes: u32, machines: bool) -> Self {
        // One after the other: two at once could choose the same addresses.
        static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _one = STARTING.lock().await;
        let dir = tempfile::Builder::new().prefix("symphony-cluster-").tempdir();
        let dir = dir.expect("a folder can be made");
        let log = std::fs::File::create(dir.path().join("dev.log")).expect("the log can be written");
        let mut command = Command::new(program("symphony"));
        command
            .args(["dev", "--managers", "3", "--no-default-context", "--nodes"])
            .arg(nodes.to_string())
            .args((!machines).then_some("--no-machines"))
            .arg("--data")
            .arg(dir.path())
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().expect("symphony starts");
        let stdout = child.stdout.take().expect("the output is piped");
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            line
        });
        let line = first.await.expect("reading a line does not panic");
        let mut cluster = Self {
            dir,
            child,
            clients: Vec::new(),
            machines,
        };
        assert!(line.starts_with("ready https://"), "the cluster gets ready: {line:?}");
        let file =
            symphony_api::ClientConfig::load(&cluster.dir().join("client.toml")).expect("client.toml can be read");
        let addresses = file.address.expect("it has addresses");
        let token = cloud::token(cluster.dir());
        cluster.clients = addresses
            .split(',')
            .map(|address| {
                Client::new(&Endpoint::Http(address.to_owned()), Some(&token), DEFAULT_PROJECT).expect("it is one")
            })
            .collect();
        assert_eq!(cluster.clients.len(), MEMBERS);
        // A slow start of the others is none of the tests' matter.
        for client in &cluster.clients {
            until("each manager to serve", async || client.ready().await.ok()).await;
        }
        cluster
    }

    /// Ends it as an operator does, machines and all; gives the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        process::end(&mut self.child)
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Clients of the managers, one each.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// The folder of a manager, from 0.
    #[must_use]
    pub fn manager(&self, number: usize) -> PathBuf {
        self.dir().join("managers").join(format!("manager-{}", number + 1))
    }

    /// The folder of a node, from 0.
    #[must_use]
    pub fn node(&self, number: usize) -> PathBuf {
        self.dir().join("nodes").join(format!("node-{}", number + 1))
    }

    /// The folder of a member of etcd, from 0.
    #[must_use]
    pub fn member(&self, number: usize) -> PathBuf {
        self.dir().join("etcd").join(format!("etcd{}", number + 1))
    }

    /// The process whose folder this is; waits while `dev` starts it again.
    pub async fn pid(&self, folder: &Path) -> u32 {
        until(&format!("the process of {}", folder.display()), async || pid(folder)).await
    }

    /// Kills the process of a folder as a power cut would. Gives its number.
    pub async fn kill(&self, folder: &Path) -> u32 {
        let pid = self.pid(folder).await;
        assert!(signal(pid, "KILL"), "{} is killed", folder.display());
        pid
    }

    /// Stops the process of a folder where it is; [`thaw`](Self::thaw) lets it go on.
    pub async fn freeze(&self, folder: &Path) -> u32 {
        let pid = self.pid(folder).await;
        assert!(signal(pid, "STOP"), "{} is frozen", folder.display());
        pid
    }

    /// Lets a frozen process go on.
    ///
    /// # Panics
    /// When it is gone.
    pub fn thaw(&self, pid: u32) {
        assert!(signal(pid, "CONT"), "process {pid} goes on");
    }

    /// Whether a member of etcd serves, as it says itself.
    #[must_use]
    pub fn member_is_healthy(&self, number: usize) -> bool {
        self.etcdctl_at(number..=number, &["endpoint", "health"]).is_some()
    }

    fn etcdctl(&self, words: &[&str]) -> Option<String> {
        self.etcdctl_at(0..=MEMBERS - 1, words)
    }

    fn etcdctl_at(&self, members: std::ops::RangeInclusive<usize>, words: &[&str]) -> Option<String> {
        let subnet = std::fs::read_to_string(self.dir().join("network")).ok()?;
        let member = |number| format!("https://127.{}.3.{}:2379", subnet.trim(), number + 1);
        let endpoints: Vec<String> = members.map(member).collect();
        let mut command = Command::new("etcdctl");
        command.args(["--command-timeout", "3s", "--endpoints", &endpoints.join(",")]);
        for (flag, file) in [("--cacert", "ca.pem"), ("--cert", "cert.pem"), ("--key", "key.pem")] {
            command.arg(flag).arg(self.dir().join("etcd").join(file));
        }
        let output = command
            .args(words)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Who leads; asked of the store, not of a manager.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        let record = self.etcdctl(&["get", "v1/leader", "--print-value-only"])?;
        serde_json::from_str(&record).ok()
    }

    /// Waits for a leader of a later epoch than this.
    pub async fn leader_after(&self, epoch: u64) -> Leader {
        until("a leader", async || self.leader().filter(|leader| leader.epoch > epoch)).await
    }

    /// What is claimed on each node, by its ledger in the store: node to bytes. Nodes where nothing is claimed are left out.
    ///
    /// # Panics
    /// When a ledger can't be read.
    #[must_use]
    pub fn ledgers(&self) -> Option<BTreeMap<String, u64>> {
        ledgers(&self.etcdctl(&["get", "--prefix", "v1/ledger/"])?)
    }

    /// The published file of a volume.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn volume_file(&self, id: &str) -> PathBuf {
        let mut files = self.raw_files();
        files.retain(|path| path.file_stem().is_some_and(|stem| stem == id));
        files.pop().expect("the volume is there")
    }

    /// The published volumes on all nodes: id to how often it is there.
    #[must_use]
    pub fn volume_files(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for path in self.raw_files() {
            if let Some(id) = path.file_stem().and_then(|stem| stem.to_str()) {
                *found.entry(id.to_owned()).or_default() += 1;
            }
        }
        found
    }

    fn raw_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir().join("nodes")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "raw")
                    && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
                    && stem.len() == ID_LENGTH
                {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// What is claimed by ledgers, as `etcdctl get` prints them: a line with the key, a line with the record. Node to bytes,
/// without nodes where nothing is claimed.
pub(crate) fn ledgers(records: &str) -> Option<BTreeMap<String, u64>> {
    let lines: Vec<&str> = records.lines().collect();
    let mut claimed = BTreeMap::new();
    for pair in lines.chunks_exact(2) {
        let node = pair[0].trim_start_matches("v1/ledger/").to_owned();
        let ledger: serde_json::Value = serde_json::from_str(pair[1]).ok()?;
        let pools = ledger["pools"].as_object()?.values();
        let bytes: u64 = pools.filter_map(|pool| pool["bytes"].as_u64()).sum();
        if bytes > 0 {
            claimed.insert(node, bytes);
        }
    }
    Some(claimed)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.machines && matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // They end by themselves; one that is frozen can't.
        for pid in below(self.dir()) {
            signal(pid, "KILL");
        }
        if self.machines {
            for node in left::clear(self.dir()) {
                eprintln!("--- something of {} may be left running ---", node.display());
            }
        }
        if std::thread::panicking() {
            let managers = (0..MEMBERS).map(|number| self.manager(number).join("manager.log"));
            let nodes = (0..NODES_TOLD).map(|number| self.node(number).join("agent.log"));
            let logs = std::iter::once(self.dir().join("dev.log")).chain(managers).chain(nodes);
            for log in logs {
                let Ok(text) = std::fs::read_to_string(&log) else {
                    continue;
                };
                let tail: Vec<&str> = text.lines().rev().filter(|line| !is_chatter(line)).take(30).collect();
                eprintln!("--- the end of {} ---", log.display());
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// What is repeated so often that it would hide all else.
fn is_chatter(line: &str) -> bool {
    line.contains("a pass failed") || line.contains("this etcd is older")
}
