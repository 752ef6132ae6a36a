//! The log of a console: two files, of which the older goes when the newer is full. Not flushed: what a power cut takes of
//! a guest's words nobody builds on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The most that is kept, in bytes.
pub(super) const LOG_BYTES_MAX: u64 = 256 << 10;
const FILE_BYTES_MAX: u64 = LOG_BYTES_MAX / 2;

#[derive(Debug)]
pub(super) struct Log {
    newer: PathBuf,
    older: PathBuf,
    /// The newer one, once it is written to, and its length.
    open: Option<(File, u64)>,
}

impl Log {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            newer: folder.join("console.log"),
            older: folder.join("console.log.1"),
            open: None,
        }
    }

    /// Appends a piece, smaller than half of what is kept.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        let length = piece.len() as u64;
        let (mut file, mut has) = match self.open.take() {
            Some(open) => open,
            None => self.open_newer()?,
        };
        if has + length > FILE_BYTES_MAX {
            drop(file);
            std::fs::rename(&self.newer, &self.older)?;
            (file, has) = self.open_newer()?;
        }
        file.write_all(piece)?;
        self.open = Some((file, has + length));
        Ok(())
    }

    /// What is kept, in order.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for path in [&self.older, &self.newer] {
            match std::fs::read(path) {
                Ok(bytes) => all.extend(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn open_newer(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).append(true).open(&self.newer)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_never_more_than_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path());
        assert!(log.read().unwrap().is_empty());
        let mut said = Vec::new();
        for count in 0..3000u32 {
            let piece = format!("{count:0>127}\n").into_bytes();
            log.append(&piece).unwrap();
            said.extend(piece);
            // Who opens it anew goes on where it was.
            if count % 1000 == 0 {
                log = Log::new(folder.path());
            }
        }
        let kept = log.read().unwrap();
        assert!(kept.len() as u64 > FILE_BYTES_MAX - 128 && kept.len() as u64 <= LOG_BYTES_MAX);
        assert!(said.ends_with(&kept));
    }
}
