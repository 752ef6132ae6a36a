//! What is kept of a network: what is wanted of it (before anything is made) and what is settled (after). Written whole,
//! renamed and flushed; never tells whether the kernel agrees.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use symphony_core::plan::network::FoundNetwork;

use crate::NetworkError;
use crate::error::file;

/// Most bytes of a state that are read.
const STATE_MAX: u64 = 16 << 20;

/// What is kept of one network.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// What was asked for: all that there may be to remove.
    pub(crate) wanted: FoundNetwork,
    /// What was done to its end.
    pub(crate) settled: FoundNetwork,
    /// Which of the link-local subnets is its own.
    pub(crate) slot: Option<u16>,
}

/// The folder of one network.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What is kept; nothing when the network has no folder.
    pub(crate) fn load(&self) -> Result<Option<State>, NetworkError> {
        let path = self.path("state.json");
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A folder without a state is the end of a removal or the begin of a life: nothing of the kernel's.
                return Ok(self.0.is_dir().then(State::default));
            }
            Ok(meta) if meta.len() <= STATE_MAX => {}
            Ok(_) => return Err(NetworkError::Taken(path.display().to_string())),
            Err(error) => return Err(file(path, "read")(error)),
        }
        let bytes = fs::read(&path).map_err(file(&path, "read"))?;
        serde_json::from_slice(&bytes).map_err(|source| NetworkError::Broken { path, source })
    }

    pub(crate) fn save(&self, state: &State) -> Result<(), NetworkError> {
        let path = self.path("state.json");
        let bytes = serde_json::to_vec(state).map_err(|source| NetworkError::Broken { path, source })?;
        if !self.0.is_dir() {
            fs::create_dir_all(&self.0).map_err(file(&self.0, "made"))?;
            flush(self.0.parent().unwrap_or(&self.0))?;
        }
        self.write("state.json", &bytes)
    }

    /// Replaces one file; it is the old one or the new one at any moment.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), NetworkError> {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        let mut out = File::create(&new).map_err(file(&new, "made"))?;
        out.write_all(bytes).map_err(file(&new, "written"))?;
        out.sync_all().map_err(file(&new, "flushed"))?;
        fs::rename(&new, &path).map_err(file(&path, "put in place"))?;
        flush(&self.0)
    }

    /// Removes the folder, the state first: what is left without it is nothing.
    pub(crate) fn remove(&self) -> Result<(), NetworkError> {
        let gone = |result: std::io::Result<()>| match result {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(file(&self.0, "removed")(error)),
            _ => Ok(()),
        };
        gone(fs::remove_file(self.path("state.json")))?;
        symphony_crash::point("network.remove.state");
        gone(fs::remove_dir_all(&self.0))?;
        self.0.parent().map_or(Ok(()), flush)
    }
}

fn flush(dir: &Path) -> Result<(), NetworkError> {
    let open = File::open(dir).map_err(file(dir, "opened"))?;
    open.sync_all().map_err(file(dir, "flushed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_kept_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("one"));
        assert!(folder.load().unwrap().is_none());
        folder
            .save(&State {
                slot: Some(7),
                ..State::default()
            })
            .unwrap();
        assert_eq!(folder.load().unwrap().unwrap().slot, Some(7));
        fs::write(folder.path("state.json"), "{").unwrap();
        assert!(matches!(folder.load(), Err(NetworkError::Broken { .. })));
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert!(folder.load().unwrap().is_none());
    }

    #[test]
    fn a_cut_removal_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("one"));
        folder.save(&State::default()).unwrap();
        fs::remove_file(folder.path("state.json")).unwrap();
        assert!(folder.load().unwrap().is_some());
    }
}
