//! One agent process in a folder of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use symphony_pki::LIFE;

use crate::cluster;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_symphony-agent");
/// Longer than anything here takes: a hang becomes a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Folder {
    temp: tempfile::TempDir,
    pub(crate) pool: PathBuf,
}

impl Folder {
    /// A folder with a configuration, of a node that was let in: both roles, one pool.
    pub(crate) fn new(manager: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let pool = temp.path().join("pool");
        Self::with_pool(temp, manager, pool)
    }

    /// A folder of a node that is in no cluster; more goes to the end of its configuration.
    pub(crate) fn outside(more: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let pool = temp.path().join("pool");
        let text = format!("name = \"n1\"\nlisten = \"127.0.0.1:0\"\n{more}");
        std::fs::write(temp.path().join("agent.toml"), text).unwrap();
        Self { temp, pool }
    }

    pub(crate) fn with_pool(temp: tempfile::TempDir, manager: &str, pool: PathBuf) -> Self {
        let text = format!(
            "name = \"n1\"\nlisten = \"127.0.0.1:0\"\n[labels]\nzone = \"a\"\n[[pool]]\nname = \"default\"\npath = {pool:?}\n\
             capacity = \"10GiB\"\n[programs]\ntrue = \"/bin/true\"\n"
        );
        std::fs::write(temp.path().join("agent.toml"), text).unwrap();
        let credentials = cluster::credentials(cluster::authority(), &cluster::node("n1"), cluster::now(), LIFE);
        cluster::enrol(temp.path(), &credentials, &["block", "image"], &[manager]);
        Self { temp, pool }
    }

    /// Gives it all four roles, with a libvirtd of its own and machines that QEMU alone runs.
    pub(crate) fn with_machines(self) -> Self {
        let path = self.path().join("agent.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let compute = "[compute]\nhypervisor = \"qemu\"\ncpu_overcommit_percent = 200\nmemory = \"1GiB\"\n";
        std::fs::write(path, format!("{text}{compute}")).unwrap();
        let enrolled = self.path().join("enrolled.json");
        let text = std::fs::read_to_string(&enrolled).unwrap();
        let roles = r#"["block","image","compute","network"]"#;
        std::fs::write(enrolled, text.replace(r#"["block","image"]"#, roles)).unwrap();
        self
    }

    /// A folder whose path is too long for sockets in it, and hard to write in URIs, lists and shells.
    pub(crate) fn deep(manager: &str) -> Self {
        let temp = tempfile::Builder::new()
            .prefix(&"d e,ep%2f'".repeat(10))
            .tempdir()
            .unwrap();
        let pool = temp.path().join("pool");
        Self::with_pool(temp, manager, pool)
    }

    /// Runs a verb of the agent on this folder to its end.
    pub(crate) fn run(&self, verb: &[&str]) -> std::process::Output {
        let mut command = Command::new(PROGRAM);
        command
            .args(verb)
            .arg("--config-dir")
            .arg(self.path())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }

    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let base = match folder {
            "volumes" | "cache" => &self.pool,
            _ => &self.temp.path().join("images"),
        };
        let entries = std::fs::read_dir(base.join(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("stderr")).unwrap_or_default()
    }

    /// Starts the agent, whatever it will say.
    pub(crate) fn launch(&self, environment: &[(&str, &str)]) -> Launched {
        let mut command = Command::new(PROGRAM);
        command
            .args(["--exit-with-stdin", "-v", "--config-dir"])
            .arg(self.path());
        command
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path().join("stderr"))
            .unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Launched { child, lines }
    }

    /// Starts the agent; nothing when it ended before it was ready.
    pub(crate) fn try_start(&self, environment: &[(&str, &str)]) -> Result<Process, ExitStatus> {
        self.launch(environment).ready()
    }

    pub(crate) fn start(&self) -> Process {
        self.try_start(&[])
            .unwrap_or_else(|status| panic!("{status}: {}", self.log()))
    }
}

/// An agent that may not be ready yet.
pub(crate) struct Launched {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Launched {
    /// The next line that it says; empty when it has ended.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until it is ready, or has ended.
    pub(crate) fn ready(mut self) -> Result<Process, ExitStatus> {
        let line = self.line();
        match line.rsplit_once(' ') {
            Some(("ready n1", url)) => Ok(Process {
                stdin: self.child.stdin.take(),
                child: self.child,
                data_url: url.to_owned(),
            }),
            _ => Err(self.wait()),
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        // Waiting closes the standard input of a child, which would end it.
        let _stdin = self.child.stdin.take();
        self.child.wait().unwrap()
    }

    /// Asks it to end.
    pub(crate) fn end(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.wait()
    }
}

pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) data_url: String,
}

impl Process {
    /// The programs that it runs now.
    pub(crate) fn children(&self) -> Vec<i32> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// As a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as `symphony dev` does when it ends itself.
    pub(crate) fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().unwrap()
    }

    /// Asks it to end, as systemd does.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
