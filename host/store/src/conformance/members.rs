//! Real etcd members for tests: processes with a folder each, ended by their ids; and what this server needs for them.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::member::{Member, PROGRAM};

/// Far more than a start takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a line of shell succeeds.
fn succeeds(line: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {line}")]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().is_ok_and(|status| status.success())
}

fn can(what: &str, lacking: &str, works: bool) -> bool {
    if !works {
        // Not by the macro: what a passing test prints with it is not shown.
        let _ = writeln!(
            std::io::stderr(),
            "!!! NO {what} ON THIS SERVER ({lacking}): WHAT NEEDS THEM IS SKIPPED"
        );
    }
    works
}

/// Whether members can run here. When not, it says so in one loud line.
#[must_use]
pub fn can_run() -> bool {
    can(
        "ETCD MEMBERS",
        "no etcd or no etcdctl",
        succeeds("etcd --version && etcdctl version"),
    )
}

/// Whether members can have networks of their own here. When not, it says so in one loud line.
#[must_use]
pub fn can_be_apart() -> bool {
    can_run()
        && can(
            "NETWORKS FOR ETCD MEMBERS",
            "not root, or no namespaces, bridges and nftables",
            succeeds(
                "unshare --net --mount --pid --fork sh -c 'ip link add name try0 type bridge && nft add table inet try'",
            ),
        )
}

/// A running member. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    /// How it was started.
    pub member: Member,
    before: Vec<String>,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a member; `before` is a command that becomes it, if not empty.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(member: Member, before: &[String]) -> Self {
        let log = member.data_dir.with_extension("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut line = before.to_vec();
        line.push(PROGRAM.to_owned());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args(member.arguments()).stdin(Stdio::null());
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self {
            member,
            before: before.to_vec(),
            child,
            log,
        }
    }

    /// Waits until it serves and has a majority.
    ///
    /// # Panics
    /// When it does not; with the end of its log.
    pub async fn healthy(&self) {
        if let Err(error) = self.member.healthy(PATIENCE).await {
            let log = std::fs::read_to_string(&self.log).unwrap();
            let lines: Vec<_> = log.lines().collect();
            let end = lines.len().saturating_sub(20);
            panic!(
                "{} is not healthy: {error}\n{}",
                self.member.name,
                lines[end..].join("\n")
            );
        }
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once, as a power cut would. Killing twice is no error.
    ///
    /// # Panics
    /// When its end can't be waited for.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Kills it, if it still runs, and starts it again in the same folder.
    pub fn restart(&mut self) {
        self.kill();
        *self = Self::start(self.member.clone(), &self.before);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A `HOST:PORT` of loopback that is free now.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Starts a cluster of so many members on loopback, below `folder`, and waits until it serves.
///
/// # Panics
/// When it does not.
pub async fn on_loopback(folder: &Path, count: usize, change: impl Fn(&mut Member)) -> Vec<Running> {
    let addresses: Vec<_> = (0..count).map(|_| (free_address(), free_address())).collect();
    let addresses = addresses.iter().map(|(client, peer)| (&client[..], &peer[..]));
    let mut members = Member::all(folder, addresses);
    members.iter_mut().for_each(change);
    let members: Vec<_> = members.into_iter().map(|member| Running::start(member, &[])).collect();
    for member in &members {
        member.healthy().await;
    }
    members
}

/// Runs `etcdctl` with these endpoints; gives what it printed.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn etcdctl(before: &[String], endpoints: &str, arguments: &[&str]) -> String {
    let mut line = before.to_vec();
    line.push("etcdctl".to_owned());
    let mut command = Command::new(&line[0]);
    command
        .args(&line[1..])
        .arg("--endpoints")
        .arg(endpoints)
        .args(arguments);
    let output = command.env("ETCDCTL_API", "3").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "etcdctl {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
