//! Secrets of devices: files of the agent's folder, for its owner alone.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};
use symphony_agent::StepError;
use symphony_core::name::Name;
use symphony_core::power::OPTION_VALUE_BYTES_MAX;

/// The folder, in that of the agent.
const FOLDER: &str = "fence";

/// The secrets of one agent. They are read anew each time: changing a password needs no restart.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(PathBuf);

impl Secrets {
    pub(crate) fn new(agent: &Path) -> Self {
        Self(agent.join(FOLDER))
    }

    /// A secret: the file's content, without the end of its line.
    pub(crate) fn read(&self, name: &Name) -> Result<String, StepError> {
        let what = || format!("secret {name} of this node ({}/{name})", self.0.display());
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StepError::Missing(format!("{} is missing", what())),
            _ => StepError::io(format!("read {}", what()))(error),
        };
        // Through its folder's handle: a link can't lead out of it.
        let folder = Dir::open_ambient_dir(&self.0, ambient_authority()).map_err(failed)?;
        let file = folder.open(name.as_str()).map_err(failed)?;
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            let text = format!("{} can be read by others than its owner; chmod 600 it", what());
            return Err(StepError::Other(text));
        }
        let mut text = String::new();
        let mut file = file.take(OPTION_VALUE_BYTES_MAX as u64 + 2);
        file.read_to_string(&mut text).map_err(failed)?;
        let secret = text.strip_suffix('\n').unwrap_or(&text);
        let secret = secret.strip_suffix('\r').unwrap_or(secret);
        if secret.is_empty() || secret.len() > OPTION_VALUE_BYTES_MAX || secret.chars().any(char::is_control) {
            let text = format!("{} is not one line of 1 to {OPTION_VALUE_BYTES_MAX} bytes", what());
            return Err(StepError::Other(text));
        }
        Ok(secret.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_one_line_for_its_owner_alone() {
        let agent = tempfile::tempdir().unwrap();
        let (secrets, name) = (Secrets::new(agent.path()), "ipmi".parse::<Name>().unwrap());
        let read = || secrets.read(&name).map_err(|error| error.to_string());
        assert!(read().unwrap_err().contains("fence/ipmi) is missing"));
        let folder = agent.path().join(FOLDER);
        std::fs::create_dir(&folder).unwrap();
        assert!(read().unwrap_err().contains("is missing"));
        let path = folder.join("ipmi");
        let put = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        put("hunter2\n", 0o644);
        assert!(read().unwrap_err().contains("chmod 600"));
        put("hunter2\n", 0o600);
        assert_eq!(read().unwrap(), "hunter2");
        for wrong in [
            "",
            "\n",
            "a\nb\n",
            "a\naction=on",
            &"x".repeat(OPTION_VALUE_BYTES_MAX + 1),
        ] {
            put(wrong, 0o600);
            let error = read().unwrap_err();
            assert!(error.contains("is not one line"), "{wrong:?}: {error}");
        }
        put(&"x".repeat(OPTION_VALUE_BYTES_MAX), 0o600);
        assert!(read().is_ok());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(read().is_err(), "a link that leads out");
    }
}
