//! A `symphony dev` of a test's own: in a temporary folder, on a free port, with real agents, ended with the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before the test gives up on it. Not a measure of speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test.
pub(crate) fn symphony() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_symphony"))
}

/// Fails with what to do when the agent was not built: a test builds nothing itself.
pub(crate) fn need_agent() {
    let agent = symphony().with_file_name("symphony-agent");
    assert!(
        agent.is_file(),
        "{} is missing: run `cargo build -p symphony-node` first",
        agent.display()
    );
}

/// A running cloud.
pub(crate) struct Cloud {
    child: Child,
    /// Its data folder.
    pub(crate) data: PathBuf,
    /// The home folder of who uses it.
    pub(crate) home: PathBuf,
    /// `http://ADDRESS`.
    pub(crate) url: String,
    /// Whether what its nodes run ends with it, however it ends.
    clears: bool,
}

impl Cloud {
    /// Starts one below `home` and waits for its line.
    pub(crate) fn start(home: &Path) -> Self {
        Self::start_with(home, &["--nodes", "3", "--no-machines"], None)
    }

    /// As [`Cloud::start`], with more arguments, and another PATH.
    pub(crate) fn start_with(home: &Path, more: &[&str], path: Option<&Path>) -> Self {
        need_agent();
        let data = home.join("cloud");
        let log = std::fs::File::create(home.join("dev.log")).unwrap();
        let mut child = command(home);
        if let Some(path) = path {
            child.env("PATH", path);
        }
        let mut child = child
            .args([
                "dev",
                "--listen",
                "127.0.0.1:0",
                "--pool-capacity",
                "1GiB,2GiB,4GiB",
                "--data",
            ])
            .arg(&data)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said = std::fs::read_to_string(home.join("dev.log")).unwrap();
        let url = line
            .strip_prefix("ready ")
            .unwrap_or_else(|| panic!("dev said {line:?} and {said}"))
            .trim()
            .to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        // That line is all that it ever says there.
        std::thread::spawn(move || {
            let mut more = String::new();
            _ = stdout.read_to_string(&mut more);
            assert_eq!(more, "");
        });
        Self {
            child,
            data,
            home: home.to_owned(),
            url,
            clears: true,
        }
    }

    /// Runs a client's verb to its end.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_args(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// As [`Cloud::run`], with arguments that hold spaces.
    pub(crate) fn run_args(&self, args: &[&str]) -> Ran {
        Ran::new(
            args.join(" "),
            command(&self.home).args(args).stdin(Stdio::null()).output().unwrap(),
        )
    }

    /// The processes of its agents.
    pub(crate) fn agents(&self) -> Vec<i32> {
        let me = self.child.id();
        let mut agents = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{me}/task")).unwrap() {
            let children = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
            agents.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok())
                    .filter(|pid| is_agent(*pid)),
            );
        }
        agents
    }

    /// Kill -9: what its nodes run goes on. Another cloud must be started on its folder, to end that.
    pub(crate) fn kill(mut self) {
        self.clears = false;
    }

    /// Asks it to end, and waits. Gives its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("dev did not end");
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // Its agents end with it: their stdin closes.
        _ = self.child.kill();
        _ = self.child.wait();
        for node in std::fs::read_dir(self.data.join("nodes"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if self.clears && node.path().join("libvirt").exists() {
                clear(&node.path());
            }
        }
    }
}

/// Ends what a node's agent has left running, as soon as that has ended.
fn clear(node: &Path) {
    let deadline = Instant::now() + PATIENCE;
    let down = || {
        let mut down = Command::new(symphony().with_file_name("symphony-agent"));
        down.args(["down", "--config-dir"]).arg(node);
        down.stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    while !down().is_ok_and(|status| status.success()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a process is an agent that runs.
pub(crate) fn is_agent(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("symphony-agent"))
}

/// The program, with nothing of this environment that could lead it to another cloud.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new(symphony());
    command.env("HOME", home);
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "RUST_LOG"] {
        command.env_remove(name);
    }
    for name in ["CONFIG", "ADDRESS", "TOKEN", "PROJECT"] {
        command.env_remove(format!("SYMPHONY_{name}"));
    }
    command
}

/// Tries until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a verb answered.
#[derive(Debug)]
pub(crate) struct Ran {
    line: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn new(line: String, output: Output) -> Self {
        Self {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// That it ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "symphony {}\n{}\n{}",
            self.line, self.stdout, self.stderr
        );
        self
    }

    /// That it failed with this code and says all of this on stderr.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, says: &[&str]) -> Self {
        let ran = self.exits(code);
        assert!(
            ran.stderr.starts_with("error: ") || ran.stderr.contains("\nerror: "),
            "{ran:?}"
        );
        for text in says {
            assert!(
                ran.stderr.contains(text),
                "symphony {}: no {text:?} in\n{}",
                ran.line,
                ran.stderr
            );
        }
        ran
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("symphony {}: {error}\n{}", self.line, self.stdout))
    }
}
