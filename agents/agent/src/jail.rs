//! Runs `qemu-img` on what users upload, where it can do little harm.
//!
//! The child is this program itself, started anew with a hidden argument: it takes limits on memory, time, file size and
//! handles, gives up the right to new privileges, shuts itself off from every file but the one it reads and the one it
//! writes, and only then becomes `qemu-img` ([`inside`]). Names are relative to a directory handle. It is killed by pid
//! when its deadline passes, when its call is dropped, and by the kernel when the agent dies.

pub mod inside;
mod progress;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

pub use inside::Spec;
use progress::Percent;

/// Programs in the jail at once: each may use a whole core and the disk.
const RUNNING_MAX: usize = 2;
/// Kept of what the program says.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Where `qemu-img` is looked for.
const QEMU_IMG: [&str; 2] = ["/usr/bin/qemu-img", "/usr/local/bin/qemu-img"];
/// The slowest that is still called work: bytes in a second.
const BYTES_PER_SECOND_MIN: u64 = 4 << 20;
const SECONDS_MIN: u64 = 60;
/// The deadline has a bound too: 12 hours.
const SECONDS_MAX: u64 = 12 * 3600;

/// Why a program could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// Not installed.
    #[error("qemu-img is not installed; on Debian: apt-get install qemu-utils")]
    NoProgram,
    /// It can't be started or heard.
    #[error("the jail can't be entered")]
    Start(#[source] io::Error),
    /// The limits can't be set.
    #[error("the jail can't be closed: {0}")]
    Enter(String),
    /// It took too long and was killed.
    #[error("qemu-img was killed after {0} s")]
    Deadline(u64),
    /// A limit of the jail, or somebody, killed it.
    #[error("qemu-img was killed by signal {0}, over a limit or by hand")]
    Killed(i32),
}

/// The way into the jail. Clones share its places.
#[derive(Debug, Clone)]
pub struct Jail {
    helper: PathBuf,
    program: Option<PathBuf>,
    places: Arc<Semaphore>,
}

/// One piece of work: file names are relative to `dir`.
#[derive(Debug)]
pub struct Job<'a> {
    /// Where it runs.
    pub dir: &'a Dir,
    /// The one file that it may read.
    pub read: &'a str,
    /// The one file that it may also write.
    pub write: Option<&'a str>,
    /// Arguments of `qemu-img`.
    pub arguments: &'a [&'a str],
    /// Largest file that it may write, in bytes.
    pub file_bytes_max: u64,
    /// How many bytes it goes through, for the deadline.
    pub work_bytes: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The exit code.
    pub code: i32,
    /// What it said, without progress; the last 64 KiB.
    pub stdout: String,
    /// What it complained of; the last 64 KiB.
    pub stderr: String,
}

impl Finished {
    /// The first line of what it complained of, for people.
    #[must_use]
    pub fn complaint(&self) -> String {
        let lines = self.stderr.lines().chain(self.stdout.lines());
        let line = lines
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or("it said nothing");
        line.trim_start_matches("qemu-img: ")
            .chars()
            .filter(|c| !c.is_control())
            .take(400)
            .collect()
    }
}

impl Jail {
    /// The jail whose door is `helper`: a program that calls [`inside::enter`] with its second argument when its first
    /// is [`inside::ARGUMENT`].
    #[must_use]
    pub fn new(helper: PathBuf, program: Option<PathBuf>) -> Self {
        let program = program.or_else(|| QEMU_IMG.iter().map(PathBuf::from).find(|path| path.exists()));
        Self {
            helper,
            program,
            places: Arc::new(Semaphore::new(RUNNING_MAX)),
        }
    }

    /// Looks whether the jail can be closed, and says so loudly when it can't.
    ///
    /// # Errors
    /// The helper can't be started at all.
    pub async fn probe(&self) -> io::Result<bool> {
        if self.program.is_none() {
            tracing::warn!("{}; images can't be checked or written here", JailError::NoProgram);
        }
        let mut command = Command::new(&self.helper);
        command
            .args([inside::ARGUMENT, inside::PROBE])
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(10), command.output()).await;
        let output = output.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let closed = output.status.success();
        if !closed {
            let said = String::from_utf8_lossy(&output.stderr);
            tracing::warn!(
                reason = said.trim(),
                "LANDLOCK IS NOT ENFORCED: qemu-img runs with limits only, and a hostile image that breaks it could \
                 read what this agent can read"
            );
        }
        Ok(closed)
    }

    /// Runs one job. `progress` is told how much is done, from 0 to 1. Dropping this kills the program.
    ///
    /// # Errors
    /// It could not run to its end; an exit code other than 0 is no error here.
    pub async fn run(&self, job: Job<'_>, mut progress: impl FnMut(f64)) -> Result<Finished, JailError> {
        let program = self.program.as_ref().ok_or(JailError::NoProgram)?;
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let seconds = (SECONDS_MIN + job.work_bytes / BYTES_PER_SECOND_MIN).min(SECONDS_MAX);
        let spec = Spec {
            program: program.clone(),
            arguments: job.arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            read: job.read.to_owned(),
            write: job.write.map(str::to_owned),
            file_bytes_max: job.file_bytes_max,
            cpu_seconds: seconds,
            parent: std::process::id(),
        };
        let mut child = self.spawn(job.dir, &spec)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut percent = Percent::default();
        let ended = async {
            let stdout = gather(stdout, |bytes| percent.feed(bytes, &mut progress));
            let (stdout, stderr) = tokio::join!(stdout, gather(stderr, |_| ()));
            Ok::<_, io::Error>((child.wait().await?, stdout?, stderr?))
        };
        let ended = tokio::time::timeout(Duration::from_secs(seconds), ended).await;
        let Ok(ended) = ended else {
            // Also reaps it; `kill_on_drop` would do so a little later.
            let _ = child.kill().await;
            return Err(JailError::Deadline(seconds));
        };
        let (status, stdout, stderr) = ended.map_err(JailError::Start)?;
        match status.code() {
            Some(inside::EXIT_NOT_ENTERED) => Err(JailError::Enter(stderr.trim().to_owned())),
            Some(code) => Ok(Finished { code, stdout, stderr }),
            None => Err(JailError::Killed(
                std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0),
            )),
        }
    }

    fn spawn(&self, dir: &Dir, spec: &Spec) -> Result<Child, JailError> {
        let spec = serde_json::to_string(spec).map_err(|error| JailError::Start(error.into()))?;
        // Resolved by the child before it becomes the helper, so it starts in the very folder that is open here.
        let here = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        let mut command = Command::new(&self.helper);
        command.args([inside::ARGUMENT, &spec]).current_dir(here);
        command.env_clear().env("LC_ALL", "C").env("MALLOC_ARENA_MAX", "2");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(JailError::Start)
    }
}

/// Reads to the end, keeps the last [`OUTPUT_BYTES_MAX`].
async fn gather(source: Option<impl AsyncRead + Unpin>, mut each: impl FnMut(&[u8])) -> io::Result<String> {
    let Some(mut source) = source else {
        return Ok(String::new());
    };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = source.read(&mut buffer).await?;
        if count == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        each(&buffer[..count]);
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_bounded_to_its_end() {
        let long = vec![b'x'; 3 * OUTPUT_BYTES_MAX];
        let mut seen = 0;
        let kept = gather(Some(&long[..]), |bytes| seen += bytes.len()).await.unwrap();
        assert_eq!(seen, long.len());
        assert!(kept.len() <= OUTPUT_BYTES_MAX);
    }

    #[test]
    fn complaints_are_one_clean_line() {
        let said = "\nqemu-img: Could not open 'a': \u{1b}[31mno\nmore".to_owned();
        let finished = Finished {
            code: 1,
            stdout: String::new(),
            stderr: said,
        };
        assert_eq!(finished.complaint(), "Could not open 'a': [31mno");
    }
}
