//! What is kept of a volume's exports: the floor, which only rises, and what was started last. Written whole, flushed and
//! renamed; never tells whether the server lives.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use symphony_agent::StepError;
use symphony_core::plan::export::Settings;

use super::server;

const FILE: &str = "state.json";
/// Most bytes of a state that are read.
const BYTES_MAX: u64 = 64 << 10;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The lowest generation that would still be served.
    pub(super) floor: u64,
    /// The port that it was served at last; 0 before the first.
    pub(super) port: u16,
    /// What was started last; nothing when it was ended.
    pub(super) serving: Option<Serving>,
}

/// What was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Serving {
    pub(super) settings: Settings,
    /// Whether the file is read and written past the page cache.
    pub(super) direct: bool,
}

impl State {
    /// What is kept in this folder; nothing of it is the state before the first.
    pub(super) fn load(folder: &Path) -> Result<Self, StepError> {
        let path = folder.join(FILE);
        let what = || StepError::io(format!("read {}", path.display()));
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Ok(metadata) if metadata.len() <= BYTES_MAX => {}
            Ok(_) => return Err(StepError::Corrupt(format!("{} is too large", path.display()))),
            Err(error) => return Err(what()(error)),
        }
        let bytes = fs::read(&path).map_err(what())?;
        // Without its floor nothing may be served: a person must look.
        let read = serde_json::from_slice(&bytes);
        read.map_err(|error| StepError::Corrupt(format!("{} can't be read: {error}", path.display())))
    }

    pub(super) fn save(&self, folder: &Path) -> Result<(), StepError> {
        let what = || StepError::io(format!("keep {}", folder.join(FILE).display()));
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(what())?;
            for made in folder.ancestors().skip(1).take(2) {
                File::open(made).and_then(|made| made.sync_all()).map_err(what())?;
            }
        }
        let bytes = serde_json::to_vec(self).map_err(|error| StepError::Other(error.to_string()))?;
        let new = folder.join("state.new");
        let mut file = File::create(&new).map_err(what())?;
        file.write_all(&bytes).map_err(what())?;
        file.sync_all().map_err(what())?;
        symphony_crash::point("export.state.before_rename");
        fs::rename(&new, folder.join(FILE)).map_err(what())?;
        let flushed = File::open(folder).and_then(|folder| folder.sync_all());
        flushed.map_err(what())
    }

    /// The command line of what was started last.
    pub(super) fn words(&self, folder: &Path, file: &Path) -> Option<Vec<String>> {
        let serving = self.serving.as_ref()?;
        Some(server::words(folder, file, serving, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_kept_and_a_broken_one_is_not_taken_for_none() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("exports/v");
        assert_eq!(State::load(&folder).unwrap(), State::default());
        let state = State {
            floor: 7,
            port: 9,
            serving: None,
        };
        state.save(&folder).unwrap();
        state.save(&folder).unwrap();
        assert_eq!(State::load(&folder).unwrap(), state);
        for bad in [b"{".to_vec(), vec![b' '; 65 << 10]] {
            fs::write(folder.join(FILE), bad).unwrap();
            assert!(matches!(State::load(&folder), Err(StepError::Corrupt(_))));
        }
    }
}
