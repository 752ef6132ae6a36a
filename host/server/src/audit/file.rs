//! The file of the audit log: lines that are bound to each other, and older files beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// From how many bytes on another file is begun.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// How many older files are kept: `audit.log.1` is the youngest.
const KEPT: u32 = 4;
/// Longest line, in bytes: all that is in one is bounded, and escaped at worst.
const LINE_BYTES_MAX: u64 = 8 << 10;
/// What the first line of all has before it.
const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The file, opened when it is first written.
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<Open>,
    bytes_max: u64,
}

struct Open {
    file: File,
    bytes: u64,
    /// SHA-256 of the last line.
    prev: String,
}

impl LogFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            bytes_max: FILE_BYTES_MAX,
        }
    }

    /// Appends the line that is made of the hash of the one before. After an error nothing of it is there.
    pub(super) fn append(&mut self, line: impl FnOnce(&str) -> serde_json::Result<String>) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.bytes >= self.bytes_max) {
            self.rotate()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.path, &older(&self.path, 1))?,
        };
        let mut text = line(&open.prev)?;
        let hash = hash(text.as_bytes());
        text.push('\n');
        if let Err(error) = open.file.write_all(text.as_bytes()) {
            // Half a line is worse than none. If this fails too, the next opening finds the half and lets it stand.
            let _ = open.file.set_len(open.bytes);
            return Err(error);
        }
        open.bytes += text.len() as u64;
        open.prev = hash;
        self.open = Some(open);
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |open| open.file.sync_data())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        for number in (1..KEPT).rev() {
            if_there(fs::rename(older(&self.path, number), older(&self.path, number + 1)))?;
        }
        if_there(fs::rename(&self.path, older(&self.path, 1)))?;
        self.open = None;
        Ok(())
    }

    /// The last lines, the newest first.
    pub(super) fn last(&self, limit: usize) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for number in 0..=KEPT {
            let path = match number {
                0 => self.path.clone(),
                number => older(&self.path, number),
            };
            if lines.len() >= limit {
                break;
            }
            let wanted = limit - lines.len();
            let found = tail(&path, wanted)?;
            lines.extend(
                found
                    .iter()
                    .rev()
                    .map(|line| String::from_utf8_lossy(line).into_owned()),
            );
        }
        Ok(lines)
    }
}

impl Open {
    /// Opens the log where it ends. A half line, as a power cut leaves it, stays: it becomes a line of its own.
    fn at(path: &Path, before: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let mut bytes = file.metadata()?.len();
        let mut last = tail(path, 1)?;
        if bytes > 0 && !ends_with_line(&mut file, bytes)? {
            file.write_all(b"\n")?;
            bytes += 1;
        }
        if bytes == 0 {
            last = tail(before, 1)?;
        }
        let prev = last.pop().map_or_else(|| NOTHING_BEFORE.to_owned(), |line| hash(&line));
        Ok(Self { file, bytes, prev })
    }
}

fn ends_with_line(file: &mut File, bytes: u64) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::Start(bytes - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The last lines of a file, in their order; none when it is not there.
fn tail(path: &Path, lines: usize) -> io::Result<Vec<Vec<u8>>> {
    let Some(mut file) = if_there(File::open(path))? else {
        return Ok(Vec::new());
    };
    let bytes = file.metadata()?.len();
    let span = (lines as u64)
        .saturating_add(1)
        .saturating_mul(LINE_BYTES_MAX)
        .min(bytes);
    file.seek(SeekFrom::Start(bytes - span))?;
    let mut text = Vec::new();
    file.take(span).read_to_end(&mut text)?;
    let whole = text.strip_suffix(b"\n").unwrap_or(&text);
    if whole.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
    let from = all.len().saturating_sub(lines);
    Ok(all[from..].iter().map(|line| line.to_vec()).collect())
}

fn if_there<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn older(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn hash(line: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in Sha256::digest(line) {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(log: &mut LogFile, number: u32) {
        log.append(|prev| Ok(format!("{{\"n\":{number},\"prev\":\"{prev}\"}}")))
            .unwrap();
    }

    /// Every line has the hash of the one before, across the files.
    fn check(lines: &[String]) {
        for pair in lines.windows(2) {
            assert!(pair[0].contains(&hash(pair[1].as_bytes())), "{pair:?}");
        }
    }

    #[test]
    fn lines_are_bound_to_each_other_across_files_and_starts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = || LogFile {
            bytes_max: 400,
            ..LogFile::new(path.clone())
        };
        for start in 0..6 {
            let mut log = log();
            for number in 0..5 {
                append(&mut log, start * 5 + number);
            }
            log.sync().unwrap();
        }
        let lines = log().last(1000).unwrap();
        check(&lines);
        assert!(lines[0].starts_with("{\"n\":29,"), "{lines:?}");
        assert_eq!(log().last(3).unwrap(), lines[..3]);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            5,
            "the log and four older ones"
        );
        assert!(lines.len() < 30, "the oldest went");
        let mut changed = lines.clone();
        changed[1] = changed[1].replace("\"n\":28", "\"n\":99");
        assert!(std::panic::catch_unwind(|| check(&changed)).is_err());
    }

    #[test]
    fn half_a_line_stays_and_is_bound_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&mut LogFile::new(path.clone()), 1);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"n\":2,\xff").unwrap();
        let mut log = LogFile::new(path);
        append(&mut log, 3);
        let lines = log.last(10).unwrap();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains(&hash(b"{\"n\":2,\xff")), "{lines:?}");
    }

    #[test]
    fn a_full_disk_is_an_error_and_leaves_no_half_line() {
        // Writes to this device always fail so.
        let mut log = LogFile::new("/dev/full".into());
        let error = log.append(|_| Ok("{}".into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&mut LogFile::new(path.clone()), 1);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
