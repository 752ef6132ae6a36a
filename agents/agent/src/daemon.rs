//! Programs that outlive the agent: started so that they are no part of its life, found again by a word of their command
//! line that no other has, ended by a handle that can't come to mean another process.
//!
//! Knows nothing of what they do.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::step::StepError;

/// How long a killed process may take to be gone, in looks of [`LOOK`].
const LOOKS: u32 = 500;
const LOOK: Duration = Duration::from_millis(10);
/// What is kept of a program's complaint, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;
/// Gives a program what was its standard input as handle 3.
const WITH_HANDLE: &str = r#"exec 3<&0 </dev/null; exec "$@""#;

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub pid: i32,
    /// Its command line.
    pub words: Vec<String>,
}

/// The words of a process; nothing when it is gone or dead.
fn words(pid: i32) -> Option<Vec<String>> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = line.strip_suffix(&[0]).filter(|line| !line.is_empty())?;
    let words = line.split(|byte| *byte == 0);
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn is(found: &[String], program: &str, mark: &str) -> bool {
    let name = found.first().and_then(|name| Path::new(name).file_name());
    name.is_some_and(|name| name.as_bytes() == program.as_bytes()) && found.iter().any(|word| word == mark)
}

/// All processes of this program that were started with this word.
///
/// # Errors
/// When the processes can't be looked at.
pub fn find(program: &str, mark: &str) -> io::Result<Vec<Running>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        if let Some(words) = words(pid).filter(|words| is(words, program, mark)) {
            all.push(Running { pid, words });
        }
    }
    Ok(all)
}

/// Starts a program that makes a daemon of itself: waits until its first process ends well, which says that it serves.
/// `handle` becomes its handle 3.
///
/// # Errors
/// What it complained of, or that it did not come up in time.
pub async fn start(words: &[String], handle: Option<OwnedFd>, deadline: Duration) -> Result<(), StepError> {
    let program = words.first().map_or("", String::as_str);
    let mut command = match handle {
        Some(handle) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", WITH_HANDLE, "sh"]).args(words).stdin(handle);
            shell
        }
        None => {
            let mut command = Command::new(program);
            command.args(words.iter().skip(1)).stdin(Stdio::null());
            command
        }
    };
    // Its own group: what ends the agent's group leaves it.
    command
        .process_group(0)
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let what = || format!("start {program}");
    let mut child = command.spawn().map_err(StepError::io(what()))?;
    let complaint = child.stderr.take();
    let wait = async {
        // The daemon may hold the pipe for as long as it lives: what the first process says counts.
        let status = child.wait().await.map_err(StepError::io(what()))?;
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        if let Some(complaint) = complaint {
            let _ = complaint.take(COMPLAINT_BYTES_MAX).read_to_end(&mut said).await;
        }
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().next().unwrap_or("it says nothing");
        let line: String = line.chars().filter(|c| !c.is_control()).take(400).collect();
        Err(StepError::Other(format!("{program} did not start: {line}")))
    };
    match tokio::time::timeout(deadline, wait).await {
        Ok(result) => result,
        Err(_) => Err(StepError::Deadline(format!(
            "{program} did not come up within {} s",
            deadline.as_secs()
        ))),
    }
}

/// Kills all processes of this program that were started with this word, and waits until they are dead.
///
/// # Errors
/// When one does not die.
pub async fn end(program: &str, mark: &str) -> Result<(), StepError> {
    let what = || format!("end {program}");
    for _ in 0..LOOKS {
        let found = find(program, mark).map_err(StepError::io(what()))?;
        if found.is_empty() {
            return Ok(());
        }
        for running in found {
            kill(running.pid, program, mark);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(StepError::Deadline(format!("{program} does not end")))
}

fn kill(pid: i32, program: &str, mark: &str) {
    let Some(Ok(handle)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return;
    };
    // With the handle held the number can't be given to another: who is it now is it then.
    if words(pid).is_some_and(|words| is(&words, program, mark)) {
        // It may have ended meanwhile.
        let _ = pidfd_send_signal(handle, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEPER: &str = "sh";

    #[tokio::test]
    async fn what_does_not_start_says_why() {
        let words = ["sh", "-c", "echo no such disk >&2; exit 3"].map(str::to_owned);
        let error = start(&words, None, Duration::from_secs(60)).await.unwrap_err();
        assert!(error.to_string().contains("no such disk"), "{error}");
        let words = ["sh", "-c", "kill -STOP $$"].map(str::to_owned);
        let late = start(&words, None, Duration::from_millis(50)).await;
        assert!(matches!(late, Err(StepError::Deadline(_))), "{late:?}");
        let error = start(&["/no/such/program".to_owned()], None, Duration::from_secs(60)).await;
        assert!(error.is_err());
    }

    #[tokio::test]
    async fn daemons_are_found_by_their_mark_and_ended() {
        let mark = format!("symphony-test-daemon-{}", std::process::id());
        let sleeper = |mark: &str| {
            let mut command = Command::new(SLEEPER);
            command.args(["-c", "read word", mark]).stdin(Stdio::piped());
            command.kill_on_drop(true).spawn().unwrap()
        };
        let (mut other, mut child) = (sleeper(&format!("{mark}-other")), sleeper(&mark));
        let found = loop {
            // A process has no words for a moment after its start.
            let found = find(SLEEPER, &mark).unwrap();
            if !found.is_empty() {
                break found;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(found.len(), 1);
        assert_eq!(Some(found[0].pid.unsigned_abs()), child.id());
        assert!(find("dash-not-this", &mark).unwrap().is_empty());
        let (ended, status) = tokio::join!(end(SLEEPER, &mark), child.wait());
        ended.unwrap();
        assert!(!status.unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "another one was ended");
        other.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_handle_is_given_on() {
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"word\n").unwrap();
        let words = ["sh", "-c", "read word <&3; test \"$word\" = word"].map(str::to_owned);
        start(&words, Some(reader.into()), Duration::from_secs(60))
            .await
            .unwrap();
    }
}
