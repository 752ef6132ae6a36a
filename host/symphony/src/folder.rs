//! The folder of a manager: who may use it (one process), its secrets, and where its files are.
//!
//! ```text
//! DIR/lock          held while a manager runs        DIR/store.redb    the state
//! DIR/api.token     the client's secret (0600)       DIR/plugins/      components
//! DIR/identity/     key and certificate (0700)       DIR/control.sock  the control socket
//! DIR/client.toml   how to reach it (0600)           DIR/nodes/NAME/   the agents of `dev`
//! ```

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use symphony_cli::Failure;

/// A manager's folder, locked for this process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder when it is missing (0700) and locks it.
    ///
    /// # Errors
    /// When another process has it, or it can't be made.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::caused(format!("could not use the folder {}", path.display()), &error);
        make_folder(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                _ = lock.take(20).read_to_string(&mut process);
                let process = process.trim();
                return Err(Failure::new(format!(
                    "another manager (process {process}) runs on {}",
                    path.display()
                ))
                .hint("end that one first, or give this one a folder of its own (`--data DIR`, `--config-dir DIR`)"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Only for the message above; the lock itself is the kernel's and ends with the process.
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    /// A file or folder in it.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The folder itself, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a folder that only its owner may enter, and its parents.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only its owner may read: whole, or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_added_extension("new");
    _ = std::fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn one_manager_a_folder() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        let first = Folder::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        let second = Folder::open(&path).unwrap_err();
        assert!(
            second.message.contains(&format!("process {}", std::process::id())),
            "{second:?}"
        );
        assert!(second.hint.is_some());
        drop(first);
        assert!(Folder::open(&path).is_ok());
    }
}
