//! The child processes of `dev`: started, started again when they die, ended cleanly.
//!
//! A child's stdin is a pipe that this process holds open: when it closes (because we want it so, or because this
//! process died) an agent or a manager ends by itself. Others are signalled, and are told by the kernel when this process
//! dies. So no child outlives `dev`, not even after kill -9.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use symphony_cli::Failure;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::agent_log::AgentLog;
use super::nodes::Node;

/// A process that is to run as long as `dev` does.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// What it is called in messages.
    pub(crate) name: String,
    /// The program.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Where what it says is kept.
    pub(crate) log: PathBuf,
    /// Whether it has to be told to end; else it ends with its stdin.
    pub(crate) by_signal: bool,
}

impl Program {
    /// A node's agent.
    pub(crate) fn agent(node: &Node, path: &Path) -> Self {
        Self {
            name: format!("the agent of {}", node.name),
            path: path.to_owned(),
            arguments: vec![
                "--config-dir".into(),
                node.folder.clone().into(),
                "--exit-with-stdin".into(),
            ],
            log: node.folder.join("agent.log"),
            by_signal: false,
        }
    }
}

/// The pause before an agent is started again: doubled each time from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// An agent that lived so long is taken for healthy: the next pause is the shortest again.
const HEALTHY: Duration = Duration::from_secs(30);
/// A child that dies so often at the start will not come.
const DEATHS_MAX: u32 = 5;
/// How long a child has to end after its stdin was closed.
const GRACE: Duration = Duration::from_secs(10);

/// The running children.
#[derive(Debug)]
pub(crate) struct Fleet {
    members: Vec<Arc<Member>>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Member {
    program: Program,
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
    /// Starts the children; their lines are shown on stderr too when `show`.
    ///
    /// # Errors
    /// When a log can't be opened.
    pub(crate) fn start(programs: Vec<Program>, show: bool, quiet: bool) -> Result<Self, Failure> {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let mut members = Vec::new();
        for program in programs {
            let log = AgentLog::open(&program.log, show.then(|| format!("{}: ", program.name)))
                .map_err(|error| Failure::caused(format!("could not open {}", program.log.display()), &error))?;
            let member = Arc::new(Member {
                program,
                log,
                quiet,
                deaths: AtomicU32::new(0),
            });
            members.push(Arc::clone(&member));
            tasks.spawn(member.keep_running(stop.clone()));
        }
        Ok(Self { members, tasks, stop })
    }

    /// That none of the children has died so often that it will not come.
    ///
    /// # Errors
    /// Which one, and its last words.
    pub(crate) fn expect_alive(&self) -> Result<(), Failure> {
        for member in &self.members {
            let deaths = member.deaths.load(Ordering::Relaxed);
            if deaths >= DEATHS_MAX {
                return Err(Failure::new(format!("{} ended {deaths} times", member.program.name))
                    .detail(member.log.last())
                    .hint(format!("its log says why: {}", member.program.log.display())));
            }
        }
        Ok(())
    }

    /// Ends all children, all at once; returns when each is gone.
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
                            if self.program.by_signal {
                                terminate(&child);
                            }
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
        let mut child = Command::new(&self.program.path)
            .args(&self.program.arguments)
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
        let (name, log) = (&self.program.name, &self.program.log);
        let last = self.log.last();
        let said = if last.is_empty() {
            String::new()
        } else {
            format!("; its last line: {last}")
        };
        _ = writeln!(
            std::io::stderr(),
            "{name} {how}; starting it again in {pause:?}{said} (all of it: {})",
            log.display()
        );
    }
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may have ended by itself.
        _ = kill_process(pid, Signal::TERM);
    }
}

/// Waits for a child that was told to end, and kills it when it does not listen.
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
        let fleet = Fleet::start(vec![Program::agent(&node(home.path()), &program)], false, true).unwrap();
        let lines = lines(home.path(), 2).await;
        assert_eq!(lines[0], format!("here {}", home.path().display()));
        assert!(fleet.members[0].deaths.load(Ordering::Relaxed) >= 1);
        fleet.stop().await;
    }

    #[tokio::test]
    async fn agents_end_when_their_stdin_closes() {
        let home = tempfile::tempdir().unwrap();
        let program = program(home.path(), "echo up >&2; cat; echo down >&2");
        let fleet = Fleet::start(vec![Program::agent(&node(home.path()), &program)], false, true).unwrap();
        lines(home.path(), 1).await;
        fleet.stop().await;
        assert_eq!(lines(home.path(), 2).await, ["up", "down"]);
    }
}
