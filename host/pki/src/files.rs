//! Files of a member's identity: for nobody else to read, and whole or not there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::pem::PEM_BYTES_MAX;

/// Makes a folder for its owner alone, with those above it.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut rights = std::fs::metadata(folder)?.permissions();
    if rights.mode() & 0o777 != 0o700 {
        rights.set_mode(0o700);
        std::fs::set_permissions(folder, rights)?;
    }
    Ok(())
}

/// Writes a file beside its place, flushes it and renames it there.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let fresh = folder.join(format!(".{name}.new"));
    // What a crash left: its rights may be anything.
    remove(&fresh)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, folder.join(name))?;
    sync(folder)
}

/// Writes a file for its owner alone (mode 0600): beside its place, flushed, then renamed there.
///
/// # Errors
/// The folder can't be written.
pub fn write_private(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    write(folder, name, text)
}

/// Removes a file that may be there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes what was renamed or removed in a folder last.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Reads a file; nothing when it is not there.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    file.take(PEM_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > PEM_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long"));
    }
    Ok(Some(text))
}

/// Whether others than its owner may read or write a file.
pub(crate) fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}
