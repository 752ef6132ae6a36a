//! A program of the node, run to its end: without a shell, with nothing of this process's environment, and with a deadline.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::step::StepError;

/// Kept of what a program says on each of its outputs, in bytes; the rest is read and thrown away.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Kept of a complaint, in characters.
const COMPLAINT_MAX: usize = 400;

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// The first of what it printed.
    pub stdout: String,
    /// The first of what it complained of.
    pub stderr: String,
}

impl Ended {
    /// One line of what it said, for a person: the first of its complaints, else the first that it printed.
    #[must_use]
    pub fn complaint(&self) -> String {
        let all = self.stderr.lines().chain(self.stdout.lines());
        let line = all.map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(COMPLAINT_MAX).collect()
    }
}

/// Runs a program in `/`, with a path and a plain locale for an environment, and with `input` on its standard input. At its
/// deadline, or when this is dropped, it is killed, and with it whatever it has started in its process group.
///
/// # Errors
/// It can't be started, or did not end in time.
pub async fn run(program: &Path, arguments: &[String], input: &str, deadline: Duration) -> Result<Ended, StepError> {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(StepError::io(format!("start {name}")))?;
    symphony_crash::point("agent.program.after_start");
    let mut group = Group::of(&child);
    let Ok(ended) = tokio::time::timeout(deadline, converse(&mut child, input)).await else {
        drop(group);
        // Also reaps it.
        let _ = child.kill().await;
        return Err(StepError::Deadline(format!("{name} was killed after {deadline:?}")));
    };
    // Its number may be somebody else's from now on.
    group.0 = None;
    ended.map_err(StepError::io(format!("wait for {name}")))
}

/// The process group of a program that has not ended. Dropping it kills the group.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails when all of it has ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn converse(child: &mut Child, input: &str) -> io::Result<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let tell = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input has ended or does not want it; its exit code says which.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (status, (), stdout, stderr) = tokio::join!(child.wait(), tell, gather(stdout), gather(stderr));
    Ok(Ended {
        status: status?,
        stdout: stdout?,
        stderr: stderr?,
    })
}

async fn gather(source: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut source) = source else {
        return Ok(String::new());
    };
    let mut kept = Vec::new();
    (&mut source)
        .take(OUTPUT_BYTES_MAX as u64)
        .read_to_end(&mut kept)
        .await?;
    tokio::io::copy(&mut source, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, input: &str, deadline: Duration) -> Result<Ended, StepError> {
        run(
            Path::new("/bin/sh"),
            &["-c".to_owned(), script.to_owned()],
            input,
            deadline,
        )
        .await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn input_output_and_status_cross() {
        let ended = sh("read word; echo $word; echo no >&2; exit 3", "hello\n", LONG)
            .await
            .unwrap();
        assert_eq!(
            (ended.status.code(), ended.stdout.as_str(), ended.complaint()),
            (Some(3), "hello\n", "no".to_owned())
        );
        assert_eq!(sh("echo so", "", LONG).await.unwrap().complaint(), "so");
    }

    #[tokio::test]
    async fn nothing_is_inherited_and_much_output_is_no_harm() {
        let ended = sh("test -z \"$HOME$CARGO\" && test \"$PWD\" = /", "", LONG)
            .await
            .unwrap();
        assert!(ended.status.success());
        let ended = sh("head -c 5000000 /dev/zero", &"x".repeat(60_000), LONG)
            .await
            .unwrap();
        assert!(ended.status.success() && ended.stdout.len() == OUTPUT_BYTES_MAX);
    }

    #[tokio::test]
    async fn at_the_deadline_all_that_it_started_ends() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}.new; mv {0}.new {0}; wait", note.display());
        let late = sh(&script, "", Duration::from_secs(2)).await;
        assert!(matches!(late, Err(StepError::Deadline(_))), "{late:?}");
        let pid: i32 = std::fs::read_to_string(&note).unwrap().trim().parse().unwrap();
        let is_over = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Nobody may be there to reap it: a zombie has ended.
            stat.is_empty() || stat.contains(") Z ")
        };
        while !is_over() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(
            run(Path::new("/nonexistent/x"), &[], "", LONG).await,
            Err(StepError::Io { .. })
        ));
    }
}
