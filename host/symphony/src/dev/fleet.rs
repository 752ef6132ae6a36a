//! The agents of `dev` as child processes: started, started again when they die, ended cleanly.
//!
//! An agent's stdin is a pipe that this process holds open: when it closes (because we want it so, or because this
//! process died) the agent ends by itself. So no agent outlives `dev`, not even after kill -9.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use symphony_cli::Failure;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::agent_log::AgentLog;
use super::nodes::Node;

/// The pause before an agent is started again: doubled each time from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// An agent that lived so long is taken for healthy: the next pause is the shortest again.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long an agent has to end after its stdin was closed.
const GRACE: Duration = Duration::from_secs(10);

/// The running agents.
#[derive(Debug)]
pub(crate) struct Fleet {
    members: Vec<Arc<Member>>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Member {
    node: Node,
    program: PathBuf,
    log: AgentLog,
    quiet: bool,
    deaths: AtomicU32,
}

/// Finds `symphony-agent` beside this program.
///
/// # Errors
/// When it is not there.
pub(crate) fn agent_program() -> Result<PathBuf, Failure> {
    let here =
        std::env::current_exe().map_err(|error| Failure::caused("could not find this program's own path", &error))?;
    let program = here.with_file_name("symphony-agent");
    if program.is_file() {
        return Ok(program);
    }
    Err(
        Failure::new(format!("there is no symphony-agent at {}", program.display()))
            .hint("it must lie beside `symphony`; from a checkout, `cargo build` builds both"),
    )
}

impl Fleet {
    /// Starts the agents; their lines are shown on stderr too when `show`.
    ///
    /// # Errors
    /// When a log can't be opened.
    pub(crate) fn start(nodes: &[Node], program: &Path, show: bool, quiet: bool) -> Result<Self, Failure> {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let mut members = Vec::new();
        for node in nodes {
            let path = node.folder.join("agent.log");
            let log = AgentLog::open(&path, show.then(|| format!("{}: ", node.name)))
                .map_err(|error| Failure::caused(format!("could not open {}", path.display()), &error))?;
            let member = Member {
                node: node.clone(),
                program: program.to_owned(),
                log,
                quiet,
                deaths: AtomicU32::new(0),
            };
            let member = Arc::new(member);
            members.push(Arc::clone(&member));
            tasks.spawn(member.keep_running(stop.clone()));
        }
        Ok(Self { members, tasks, stop })
    }

    /// How often the agent of a node has died, and the last line it wrote.
    pub(crate) fn deaths(&self, index: usize) -> (u32, String) {
        let member = &self.members[index];
        (member.deaths.load(Ordering::Relaxed), member.log.last())
    }

    /// Ends all agents, all at once; returns when each is gone.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Member {
    async fn keep_running(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = PAUSES.0;
        loop {
            let since = Instant::now();
            let how = match self.start() {
                Err(error) => format!("could not be started: {error}"),
                Ok(mut child) => {
                    // Taken out, because waiting for a child closes its stdin.
                    let stdin = child.stdin.take();
                    // Both are safe to cancel: waiting consumes nothing.
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {
                            drop(stdin);
                            return end(child).await;
                        }
                        status = child.wait() => format!("ended ({})", shown(status)),
                    }
                }
            };
            self.deaths.fetch_add(1, Ordering::Relaxed);
            if since.elapsed() >= HEALTHY {
                pause = PAUSES.0;
            }
            self.say(&how, pause);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut child = Command::new(&self.program)
            .arg("--config-dir")
            .arg(&self.node.folder)
            .arg("--exit-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: Ctrl-C in a terminal reaches this process alone, which then ends the agents in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(self.log.clone().copy(stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(self.log.clone().copy(stderr));
        }
        Ok(child)
    }

    fn say(&self, how: &str, pause: Duration) {
        if self.quiet {
            return;
        }
        let (name, log) = (&self.node.name, self.node.folder.join("agent.log"));
        let last = self.log.last();
        let said = if last.is_empty() {
            String::new()
        } else {
            format!("; its last line: {last}")
        };
        _ = writeln!(
            std::io::stderr(),
            "the agent of {name} {how}; starting it again in {pause:?}{said} (all of it: {})",
            log.display()
        );
    }
}

/// Waits for an agent whose stdin was closed, and kills it when it does not listen.
async fn end(mut child: Child) {
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        _ = child.kill().await;
    }
}

fn shown(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn program(home: &Path, script: &str) -> PathBuf {
        let path = home.join("agent");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn node(home: &Path) -> Node {
        Node {
            name: "node-1".parse().unwrap(),
            folder: home.to_owned(),
            roles: Vec::new(),
        }
    }

    async fn lines(home: &Path, wanted: usize) -> Vec<String> {
        let read = || std::fs::read_to_string(home.join("agent.log")).unwrap_or_default();
        tokio::time::timeout(Duration::from_secs(60), async {
            while read().lines().count() < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        read().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn an_agent_that_dies_is_started_again() {
        let home = tempfile::tempdir().unwrap();
        let program = program(home.path(), "echo \"here $2\"; exit 3");
        let fleet = Fleet::start(&[node(home.path())], &program, false, true).unwrap();
        let lines = lines(home.path(), 2).await;
        assert_eq!(lines[0], format!("here {}", home.path().display()));
        assert!(fleet.deaths(0).0 >= 1);
        fleet.stop().await;
    }

    #[tokio::test]
    async fn agents_end_when_their_stdin_closes() {
        let home = tempfile::tempdir().unwrap();
        let program = program(home.path(), "echo up >&2; cat; echo down >&2");
        let fleet = Fleet::start(&[node(home.path())], &program, false, true).unwrap();
        lines(home.path(), 1).await;
        fleet.stop().await;
        assert_eq!(lines(home.path(), 2).await, ["up", "down"]);
    }
}
