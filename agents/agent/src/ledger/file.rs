//! The ledger's file: append, flush, and rewrite when it has grown.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::FlockOperation;

use super::frame::{self, Entry};
use super::state::State;

const FILE: &str = "ledger";
const FILE_NEW: &str = "ledger.new";
const FILE_LOCK: &str = "ledger.lock";
/// Largest file that is read; ten times what the most objects need.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Rewritten while running when it is larger than this, and four times what the last rewrite left.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// Rewritten at the start when it is larger than this: nobody waits then.
const COMPACT_AT_START_BYTES_MIN: u64 = 4 << 10;
/// Entries in one frame of a rewrite.
const ENTRIES_PER_FRAME: usize = 1024;

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system's.
    #[error("the ledger can't be opened")]
    Io(#[source] io::Error),
    /// Two agents in one folder.
    #[error("another agent runs in this folder (it holds {FILE_LOCK})")]
    Locked,
    /// Over [`FILE_BYTES_MAX`].
    #[error("the ledger has {0} bytes, over the limit of {FILE_BYTES_MAX}")]
    TooLarge(u64),
    /// Broken before its end.
    #[error(
        "the ledger is damaged at byte {offset} of {bytes}, before its end. The agent does not start, because it might \
         repeat what is over: look after the disk, then restore the file `ledger` or enrol the node anew"
    )]
    Damaged {
        /// Where the first broken frame starts.
        offset: usize,
        /// Length of the file.
        bytes: usize,
    },
}

/// The open file.
#[derive(Debug)]
pub(super) struct LedgerFile {
    dir: Dir,
    // Held for its lock.
    _lock: File,
    file: File,
    sequence: u64,
    bytes: u64,
    compacted_bytes: u64,
}

impl LedgerFile {
    pub(super) fn open(dir: Dir) -> Result<(Self, State), LedgerError> {
        let lock = open(&dir, FILE_LOCK, OpenOptions::new().write(true).create(true)).map_err(LedgerError::Io)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| LedgerError::Locked)?;
        // Left by a crash in a rewrite; the file itself is whole.
        let _ = dir.remove_file(FILE_NEW);
        let options = &mut OpenOptions::new();
        let mut file = open(&dir, FILE, options.read(true).write(true).create(true)).map_err(LedgerError::Io)?;
        let length = file.metadata().map_err(LedgerError::Io)?.len();
        if length > FILE_BYTES_MAX {
            return Err(LedgerError::TooLarge(length));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(LedgerError::Io)?;
        let parsed = frame::parse(&bytes).map_err(|damage| LedgerError::Damaged {
            offset: damage.offset,
            bytes: bytes.len(),
        })?;
        let mut state = State::default();
        for frame in &parsed.frames {
            state.apply(&frame.entries, frame.sequence);
        }
        let good_bytes = parsed.good_bytes as u64;
        if good_bytes < length {
            tracing::warn!(
                bytes = length - good_bytes,
                "cut the torn tail of the ledger; it was never acted on"
            );
        }
        let sequence = parsed.frames.last().map_or(0, |frame| frame.sequence);
        let mut ledger = Self {
            dir,
            _lock: lock,
            file,
            sequence,
            bytes: good_bytes,
            compacted_bytes: 0,
        };
        ledger.settle(length).map_err(LedgerError::Io)?;
        if good_bytes > COMPACT_AT_START_BYTES_MIN {
            ledger.compact(&state.entries()).map_err(LedgerError::Io)?;
        }
        Ok((ledger, state))
    }

    /// Appends one frame and flushes it; its sequence number.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<u64> {
        let frame = frame::encode(self.sequence + 1, entries)?;
        symphony_crash::point("agent.ledger.before_write");
        self.file.write_all(&frame)?;
        symphony_crash::point("agent.ledger.before_sync");
        self.file.sync_data()?;
        symphony_crash::point("agent.ledger.after_sync");
        self.sequence += 1;
        self.bytes += frame.len() as u64;
        Ok(self.sequence)
    }

    /// Whether a rewrite would make it a lot smaller.
    pub(super) const fn is_due(&self) -> bool {
        self.bytes > COMPACT_BYTES_MIN && self.bytes > 4 * self.compacted_bytes
    }

    /// Writes everything anew, and puts that in the file's place.
    pub(super) fn compact(&mut self, entries: &[Entry]) -> io::Result<()> {
        let _ = self.dir.remove_file(FILE_NEW);
        let options = &mut OpenOptions::new();
        let mut file = open(&self.dir, FILE_NEW, options.read(true).write(true).create_new(true))?;
        let mut sequence = self.sequence;
        let mut bytes = 0;
        for chunk in entries.chunks(ENTRIES_PER_FRAME) {
            sequence += 1;
            let frame = frame::encode(sequence, chunk)?;
            file.write_all(&frame)?;
            bytes += frame.len() as u64;
        }
        file.sync_all()?;
        symphony_crash::point("agent.ledger.before_rename");
        self.dir.rename(FILE_NEW, &self.dir, FILE)?;
        symphony_crash::point("agent.ledger.after_rename");
        self.sync_folder()?;
        (self.file, self.sequence, self.bytes, self.compacted_bytes) = (file, sequence, bytes, bytes);
        Ok(())
    }

    /// Cuts what was torn, and makes the file's name durable.
    fn settle(&mut self, length: u64) -> io::Result<()> {
        if self.bytes < length {
            self.file.set_len(self.bytes)?;
        }
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.file.sync_all()?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.dir.open(".")?.sync_all()
    }
}

fn open(dir: &Dir, name: &str, options: &mut OpenOptions) -> io::Result<File> {
    Ok(dir.open_with(name, options.follow(FollowSymlinks::No))?.into_std())
}
