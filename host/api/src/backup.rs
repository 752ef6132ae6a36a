//! The form of a backup: lines of JSON, version 1. Knows nothing of what a key means, and writes no file.
//!
//! ```text
//! {"format":"symphony-backup/1","cluster":ID|null,"revision":N,"version":"…","taken_at":"…"}
//! {"key":BASE64,"value":BASE64}        one for each key, in the order of the keys' bytes
//! {"count":N,"sha256":HEX}             how many keys; the SHA-256 of all lines before this one, their ends included
//! ```
//!
//! All keys are as they were at one revision of the store. A file without its last line was cut off; one with another
//! digest was altered. Neither is taken.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use symphony_core::Timestamp;
use symphony_core::digest::Digest;
use uuid::Uuid;

/// The form that is written, and the only one that is read.
pub const FORMAT: &str = "symphony-backup/1";
/// The media type of a backup.
pub const MEDIA_TYPE: &str = "application/x-ndjson";
/// Longest line, in bytes: the largest value and key that a store takes, in base64.
pub const LINE_BYTES_MAX: usize = 2 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// Which cluster it is of; none when there was none.
    pub cluster: Option<Uuid>,
    /// The revision of the store at which all of it was read.
    pub revision: u64,
    /// The version of the manager that made it.
    pub version: String,
    /// When.
    pub taken_at: Timestamp,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key's bytes.
    pub key: Vec<u8>,
    /// The value's bytes.
    pub value: Vec<u8>,
}

/// What a backup that is whole was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its first line.
    #[serde(flatten)]
    pub header: Header,
    /// How many keys it has.
    pub count: u64,
    /// SHA-256 of all its lines but the last.
    pub sha256: Digest,
}

/// Why a backup is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not begin as one.
    #[error("this is no backup of symphony, or one of another form than {FORMAT}")]
    Foreign,
    /// It has no last line.
    #[error("the backup was cut off after {0} keys")]
    CutOff(u64),
    /// It is not what was written.
    #[error("the backup was altered: {0}")]
    Altered(&'static str),
    /// A line can't be read.
    #[error("line {0} of the backup can't be read")]
    Line(u64),
    /// A first line that can't be written.
    #[error("the backup can't be begun")]
    Header(#[source] serde_json::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine {
    key: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    count: u64,
    sha256: String,
}

/// Writes a backup, a line at a time.
#[derive(Debug)]
pub struct Writer {
    hash: Sha256,
    count: u64,
}

impl Writer {
    /// Begins one; answers its first line too.
    ///
    /// # Errors
    /// The header can't be written as JSON.
    pub fn begin(header: &Header) -> Result<(Self, Vec<u8>), BackupError> {
        let mut line = serde_json::to_vec(header).map_err(BackupError::Header)?;
        line.push(b'\n');
        let hash = Sha256::new_with_prefix(&line);
        Ok((Self { hash, count: 0 }, line))
    }

    /// Appends a key's line to `lines`. Keys come in the order of their bytes.
    pub fn entry(&mut self, lines: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        let (key, value) = (BASE64_STANDARD.encode(key), BASE64_STANDARD.encode(value));
        let line = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}\n");
        self.hash.update(&line);
        self.count += 1;
        lines.extend_from_slice(line.as_bytes());
    }

    /// The last line.
    #[must_use]
    pub fn end(self) -> Vec<u8> {
        let sha256 = Digest::new(self.hash.finalize().into());
        format!("{{\"count\":{},\"sha256\":\"{}\"}}\n", self.count, sha256.hex()).into_bytes()
    }
}

/// Reads a backup from pieces of any size. What it hands out is known to be whole only after [`Reader::finish`].
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    hash: Sha256,
    header: Option<Header>,
    last_key: Option<Vec<u8>>,
    count: u64,
    lines: u64,
    end: Option<Digest>,
}

impl Reader {
    /// One that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece, and hands out the keys whose lines it ends.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(Entry)) -> Result<(), BackupError> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&piece[..=end]);
            piece = &piece[end + 1..];
            if let Some(entry) = self.line(&line)? {
                each(entry);
            }
        }
        self.rest.extend_from_slice(piece);
        if self.rest.len() > LINE_BYTES_MAX {
            return Err(BackupError::Line(self.lines + 1));
        }
        Ok(())
    }

    /// The first line, once it was read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// It is not whole.
    pub fn finish(self) -> Result<Summary, BackupError> {
        let header = self.header.ok_or(BackupError::Foreign)?;
        let sha256 = self.end.ok_or(BackupError::CutOff(self.count))?;
        if !self.rest.is_empty() {
            return Err(BackupError::Altered("something is behind its end"));
        }
        Ok(Summary {
            header,
            count: self.count,
            sha256,
        })
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Entry>, BackupError> {
        self.lines += 1;
        if self.header.is_none() {
            let header: Header = serde_json::from_slice(line).map_err(|_| BackupError::Foreign)?;
            if header.format != FORMAT {
                return Err(BackupError::Foreign);
            }
            self.header = Some(header);
        } else if self.end.is_some() {
            return Err(BackupError::Altered("something is behind its end"));
        } else if let Ok(end) = serde_json::from_slice::<EndLine>(line) {
            self.end = Some(self.check(&end)?);
            return Ok(None);
        } else {
            let entry = self.entry(line)?;
            self.hash.update(line);
            return Ok(Some(entry));
        }
        self.hash.update(line);
        Ok(None)
    }

    fn entry(&mut self, line: &[u8]) -> Result<Entry, BackupError> {
        let wrong = BackupError::Line(self.lines);
        let Ok(EntryLine { key, value }) = serde_json::from_slice(line) else {
            return Err(wrong);
        };
        let (Ok(key), Ok(value)) = (BASE64_STANDARD.decode(key), BASE64_STANDARD.decode(value)) else {
            return Err(wrong);
        };
        if key.is_empty() || self.last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(BackupError::Altered("its keys are not in order"));
        }
        self.last_key = Some(key.clone());
        self.count += 1;
        Ok(Entry { key, value })
    }

    fn check(&self, end: &EndLine) -> Result<Digest, BackupError> {
        let sha256 = Digest::new(self.hash.clone().finalize().into());
        if end.count != self.count {
            return Err(BackupError::Altered("it has another number of keys than its end says"));
        }
        if end.sha256 != sha256.hex() {
            return Err(BackupError::Altered("it has another digest than its end says"));
        }
        Ok(sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<u8> {
        let header = Header {
            format: FORMAT.to_owned(),
            cluster: Some(Uuid::nil()),
            revision: 7,
            version: "0.1.0".to_owned(),
            taken_at: Timestamp::UNIX_EPOCH,
        };
        let (mut writer, mut bytes) = Writer::begin(&header).unwrap();
        writer.entry(&mut bytes, b"a", b"");
        writer.entry(&mut bytes, b"b\xff\n", b"\0{\"count\":1}\n");
        bytes.extend(writer.end());
        bytes
    }

    fn read(bytes: &[u8], size: usize) -> Result<(Vec<Entry>, Summary), BackupError> {
        let (mut reader, mut entries) = (Reader::new(), Vec::new());
        for piece in bytes.chunks(size) {
            reader.feed(piece, |entry| entries.push(entry))?;
        }
        Ok((entries, reader.finish()?))
    }

    #[test]
    fn what_was_written_is_read_in_pieces_of_any_size() {
        let bytes = made();
        for size in 1..=bytes.len() {
            let (entries, summary) = read(&bytes, size).unwrap();
            assert_eq!(entries[0].key, b"a");
            assert_eq!(entries[1].value, b"\0{\"count\":1}\n");
            assert_eq!((summary.count, summary.header.revision), (2, 7));
        }
    }

    #[test]
    fn a_backup_that_was_cut_anywhere_is_refused() {
        let bytes = made();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length], 64).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_backup_with_another_byte_anywhere_is_refused() {
        let bytes = made();
        for at in 0..bytes.len() {
            for other in [bytes[at] ^ 1, b'\n', b' ', b'A'] {
                let mut altered = bytes.clone();
                altered[at] = other;
                let is_same = altered == bytes;
                assert!(is_same || read(&altered, 64).is_err(), "byte {at} as {other}");
            }
        }
    }

    #[test]
    fn lines_that_are_doubled_swapped_or_behind_the_end_are_refused() {
        let text = String::from_utf8(made()).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for order in [
            vec![0, 1, 1, 2, 3],
            vec![0, 2, 1, 3],
            vec![0, 1, 2, 3, 3],
            vec![0, 1, 3],
            vec![1, 2, 3],
        ] {
            let altered: String = order.iter().map(|number| lines[*number]).collect();
            assert!(read(altered.as_bytes(), 64).is_err(), "{order:?}");
        }
        let other = text.replace("backup/1", "backup/2");
        assert!(matches!(read(other.as_bytes(), 64), Err(BackupError::Foreign)));
    }

    #[test]
    fn a_line_has_an_end() {
        let mut reader = Reader::new();
        let piece = vec![b'x'; 1 << 20];
        let fed = (0..10).take_while(|_| reader.feed(&piece, drop).is_ok()).count();
        assert!(fed <= LINE_BYTES_MAX / piece.len());
    }
}
