//! A `symphony dev` of the demonstration's own, and commands that are run against it for all to see.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process;

/// The pools' sizes: different enough that each policy goes its own way.
const CAPACITIES: &str = "80GiB,60GiB,20GiB";

/// The running cloud. Ends with this value.
pub(crate) struct Cloud {
    dir: PathBuf,
    program: PathBuf,
    child: Child,
}

impl Cloud {
    /// Starts one in a fresh folder, on a free port of the loopback.
    pub(crate) fn start(nodes: u32) -> Result<Self, Box<dyn Error>> {
        let dir = process::target_dir().join("demo");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        let program = process::target_dir().join("debug/symphony");
        let mut command = Command::new(&program);
        let nodes = nodes.to_string();
        command.args([
            "dev",
            "--nodes",
            &nodes,
            "--pool-capacity",
            CAPACITIES,
            "--listen",
            "127.0.0.1:0",
        ]);
        command.args(["--no-default-context", "--data"]).arg(&dir);
        println!("$ {}", process::line(&command));
        let log = std::fs::File::create(dir.join("dev.log"))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the child's output is not piped")?;
        let mut cloud = Self { dir, program, child };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if !line.starts_with("ready ") {
            cloud.show_log();
            let _ = cloud.child.kill();
            return Err("symphony dev did not get ready; its log is above".into());
        }
        print!("{line}");
        Ok(cloud)
    }

    /// The cloud's folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A sentence for whoever watches.
    #[expect(clippy::unused_self, reason = "it is the cloud's tour that speaks")]
    pub(crate) fn say(&self, text: &str) {
        println!("\n# {text}");
        let _ = std::io::stdout().flush();
    }

    /// Runs a command that must succeed.
    pub(crate) fn symphony(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        self.symphony_failing(0, arguments)
    }

    /// Runs a command that must end with this exit code.
    pub(crate) fn symphony_failing(&self, code: i32, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        println!("$ symphony {}", arguments.join(" "));
        std::io::stdout().flush()?;
        let status = self.command().args(arguments).stdin(Stdio::null()).status()?;
        if status.code() == Some(code) {
            return Ok(());
        }
        Err(format!(
            "`symphony {}` ended with {status}, not with {code}",
            arguments.join(" ")
        )
        .into())
    }

    /// What a command answers as JSON; nothing is shown.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<serde_json::Value, Box<dyn Error>> {
        let answer = process::output(self.command().args(arguments).args(["-o", "json"]))?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Runs another program, as somebody on the node would.
    #[expect(clippy::unused_self, reason = "it is the cloud's tour that runs it")]
    pub(crate) fn shell(&self, command: &mut Command) -> Result<(), Box<dyn Error>> {
        println!("$ {}", process::line(command));
        std::io::stdout().flush()?;
        process::run(command)
    }

    /// `symphony`, as this cloud's client.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("SYMPHONY_CONFIG", self.dir.join("client.toml"));
        command
    }

    /// Prints what the cloud logged.
    pub(crate) fn show_log(&self) {
        eprintln!("--- {} ---", self.dir.join("dev.log").display());
        eprintln!(
            "{}",
            std::fs::read_to_string(self.dir.join("dev.log")).unwrap_or_default()
        );
    }

    /// Ends it as an operator would, and waits.
    pub(crate) fn stop(&mut self) -> Result<(), Box<dyn Error>> {
        process::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("symphony dev ended with {status}").into())
        }
    }

    /// Waits until somebody ends it.
    pub(crate) fn stay(&mut self) -> Result<(), Box<dyn Error>> {
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // Already ended, unless an error cut the tour short.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.stop();
        }
    }
}
