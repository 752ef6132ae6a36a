//! A process of a test's own: found, frozen, killed by its number, and never left behind.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::wait::Patience;

/// How often it is looked whether a process has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// A child that dies with the value that stands for it.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program; what it says goes to a file. Its stdin is a pipe that closes with this value.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(log)
                .expect("the log can be written")
        };
        command.stdin(Stdio::piped()).stdout(open()).stderr(open());
        let child = command.spawn().expect("the program starts");
        Self { child }
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its exit code, once it has ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("it can be asked")?;
        Some(status.code().unwrap_or(-1))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to stdout, without the space around it.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

impl Said {
    /// Of a command that ended.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout).trim().to_owned(),
            err: text(&output.stderr),
        }
    }

    /// Its output, when it went well.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn good(self) -> String {
        assert_eq!(self.code, 0, "it went wrong: {}", self.err);
        self.out
    }

    /// What it said when it failed with this code.
    ///
    /// # Panics
    /// When it did not, or said nothing of what to do.
    #[must_use]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains("hint: "), "it says what to do: {}", self.err);
        self.err
    }
}

/// The process that was started with exactly this path among its words.
#[must_use]
pub fn pid(path: &Path) -> Option<u32> {
    all(|word| Path::new(word) == path).into_iter().next()
}

/// All processes that were started with a path below this one among their words.
#[must_use]
pub fn below(folder: &Path) -> Vec<u32> {
    all(|word| word.len() > 1 && Path::new(word).starts_with(folder))
}

fn all(fits: impl Fn(&str) -> bool) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("there is /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&words).split('\0').any(&fits) {
            found.push(pid);
        }
    }
    found
}

/// Sends a signal: `KILL`, `STOP`, `CONT`. Whether there was such a process.
pub fn signal(pid: u32, name: &str) -> bool {
    let mut kill = Command::new("kill");
    kill.args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null());
    kill.status().is_ok_and(|status| status.success())
}

/// Asks a process to end, and waits for it. Gives its exit code; nothing when it was killed, or did not end in time.
pub fn end(child: &mut Child) -> Option<i32> {
    let asked = signal(child.id(), "TERM");
    let until = Instant::now() + Patience::default().0;
    while asked && Instant::now() < until {
        if let Ok(Some(status)) = child.try_wait() {
            return status.code();
        }
        std::thread::sleep(PAUSE);
    }
    None
}
