//! Running other programs, and reading and writing files, with errors that name them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Why a guest could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not there, or can't be started.
    #[error("`{command}` can't be run; `cargo xtask setup` installs what is needed")]
    Run {
        /// The command as one would type it.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed ({status}): {said}")]
    Failed {
        /// The command as one would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error.
        said: String,
    },
    /// A file can't be read or written.
    #[error("{path} can't be {verb}")]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried: `read`, `written`, …
        verb: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Something is not as the recipe expects it.
    #[error("{0}")]
    Unexpected(String),
}

/// Runs a program to its end and gives what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let output = command.stdin(Stdio::null()).output().map_err(|source| Error::Run {
        command: line(command),
        source,
    })?;
    if !output.status.success() {
        return Err(Error::Failed {
            command: line(command),
            status: output.status,
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An error of a file.
pub(crate) fn file(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, verb, source }
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(file(path, "read"))
}

/// Writes a file, and the folders above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(dir) = path.parent() {
        folder(dir)?;
    }
    std::fs::write(path, bytes).map_err(file(path, "written"))
}

/// Makes a folder, and those above it.
pub(crate) fn folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(file(path, "made"))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
