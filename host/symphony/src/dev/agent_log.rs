//! The log of one agent of `dev`: a file of bounded size, and this process's stderr when asked for.
//!
//! The agent writes to a pipe; this reads it line by line, so that a runaway agent can't fill the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Largest log file; the one before is kept as `agent.log.1`.
const LOG_BYTES_MAX: u64 = 4 << 20;
/// Longest line; longer ones are broken.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Where the lines of one agent go. Clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct AgentLog(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    /// Set when the lines are shown too: what stands before each.
    prefix: Option<String>,
    last: String,
}

impl AgentLog {
    /// Opens the log; lines are shown on stderr too when there is a prefix for them.
    pub(crate) fn open(path: &Path, prefix: Option<String>) -> io::Result<Self> {
        Self::open_limited(path, prefix, LOG_BYTES_MAX)
    }

    fn open_limited(path: &Path, prefix: Option<String>, bytes_max: u64) -> io::Result<Self> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        let open = Open {
            path: path.to_owned(),
            file,
            bytes,
            bytes_max,
            prefix,
            last: String::new(),
        };
        Ok(Self(Arc::new(Mutex::new(open))))
    }

    /// The last line that was not empty: what an agent that ended said.
    pub(crate) fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// Copies what an agent writes, to the end of it.
    pub(crate) async fn copy(self, mut source: impl AsyncRead + Unpin) {
        let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
        while let Ok(1..) = source
            .read(&mut chunk)
            .await
            .inspect(|&n| buffer.extend_from_slice(&chunk[..n]))
        {
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                self.line(&buffer[..end]);
                buffer.drain(..=end);
            }
            if buffer.len() >= LINE_BYTES_MAX {
                self.line(&buffer);
                buffer.clear();
            }
        }
        if !buffer.is_empty() {
            self.line(&buffer);
        }
    }

    fn line(&self, bytes: &[u8]) {
        // A log that can't be written loses lines, never the agent.
        _ = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(&String::from_utf8_lossy(bytes));
    }
}

impl Open {
    fn write(&mut self, line: &str) -> io::Result<()> {
        if !line.trim().is_empty() {
            line.clone_into(&mut self.last);
        }
        if let Some(prefix) = &self.prefix {
            writeln!(io::stderr(), "{prefix}{line}")?;
        }
        if self.bytes > 0 && self.bytes + line.len() as u64 + 1 > self.bytes_max {
            std::fs::rename(&self.path, self.path.with_added_extension("1"))?;
            self.file = append(&self.path)?;
            self.bytes = 0;
        }
        writeln!(self.file, "{line}")?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_is_bounded() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("agent.log");
        let log = AgentLog::open_limited(&path, None, 1000).unwrap();
        let text: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        log.clone().copy(text.as_bytes()).await;
        log.clone().copy("no end of line".as_bytes()).await;
        assert_eq!(log.last(), "no end of line");
        let size = |name: &str| std::fs::metadata(home.path().join(name)).unwrap().len();
        assert!(size("agent.log") <= 1000 && size("agent.log.1") <= 1000);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.ends_with("line 999\nno end of line\n"), "{kept}");
    }

    #[tokio::test]
    async fn a_line_without_end_is_broken() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("agent.log");
        let log = AgentLog::open(&path, None).unwrap();
        log.copy(&vec![b'x'; 3 * LINE_BYTES_MAX][..]).await;
        assert!(std::fs::read_to_string(&path).unwrap().lines().count() >= 3);
    }
}
