//! Servers that outlive the agent: found again by their exact command line in `/proc`, signalled by a handle that can't
//! come to mean another process.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::NetworkError;

/// How long a killed process may take to be gone, in looks of [`LOOK`].
const LOOKS: u32 = 500;
const LOOK: Duration = Duration::from_millis(10);

/// The command line of a process; nothing when it is gone or dead.
fn command(pid: i32) -> Option<Vec<Vec<u8>>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = line.strip_suffix(&[0]).filter(|line| !line.is_empty())?;
    Some(line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
}

/// Whether the process lives and was started by these words.
pub(crate) fn is(pid: i32, words: &[String]) -> bool {
    command(pid).is_some_and(|line| line.iter().map(Vec::as_slice).eq(words.iter().map(String::as_bytes)))
}

/// The process that a file names.
pub(crate) fn named_by(path: &Path) -> Option<i32> {
    fs::read_to_string(path)
        .ok()?
        .trim()
        .parse()
        .ok()
        .filter(|pid| *pid > 1)
}

/// All processes of this program that were started with this word: also those that no file names (any more).
pub(crate) fn started_with(program: &str, word: &str) -> Result<Vec<i32>, NetworkError> {
    let entries = fs::read_dir("/proc").map_err(crate::error::file("/proc", "read"))?;
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |pid: &i32| {
        command(*pid).is_some_and(|line| {
            let name = line
                .first()
                .map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(name)));
            let is_program = name.is_some_and(|name| name.file_name().is_some_and(|name| name == program));
            is_program && line.iter().any(|given| given == word.as_bytes())
        })
    };
    Ok(pids.filter(is_it).collect())
}

/// Sends a signal if the process still is the one that `is_it` knows.
pub(crate) fn signal(pid: i32, signal: Signal, is_it: impl Fn(i32) -> bool) -> bool {
    let Some(Ok(handle)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return false;
    };
    // With the handle held the number can't be given to another: who is it now is it then.
    is_it(pid) && pidfd_send_signal(handle, signal).is_ok()
}

/// Kills all processes of this program that were started with this word, and waits until they are dead.
pub(crate) async fn end(program: &str, word: &str) -> Result<(), NetworkError> {
    for _ in 0..LOOKS {
        let pids = started_with(program, word)?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in pids {
            let is_it = |pid| command(pid).is_some_and(|line| line.iter().any(|given| given == word.as_bytes()));
            signal(pid, Signal::KILL, is_it);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(NetworkError::Late("the end of a server"))
}
