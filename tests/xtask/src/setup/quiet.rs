//! While packages are installed, Debian's policy file forbids their services to start: what runs on a server is its
//! administrator's business. A policy that is there already stays as it is.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What Debian asks before it starts a service; 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const FORBID: &[u8] = b"#!/bin/sh\nexit 101\n";

/// No service starts while this value lives.
pub(super) struct Quiet {
    /// Absent when the server has a policy of its own.
    made: Option<PathBuf>,
}

impl Quiet {
    /// Forbids it.
    pub(super) fn please() -> io::Result<Self> {
        Self::at(Path::new(POLICY))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Self { made: None }),
            Err(error) => return Err(error),
        };
        let quiet = Self {
            made: Some(path.to_owned()),
        };
        file.write_all(FORBID)?;
        file.set_permissions(Permissions::from_mode(0o755))?;
        Ok(quiet)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_policy_is_removed() {
        let path = std::env::temp_dir().join(format!("policy-{}", std::process::id()));
        let quiet = Quiet::at(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), FORBID);
        let second = Quiet::at(&path).unwrap();
        drop(second);
        assert!(path.exists(), "the second one removed what it had not made");
        drop(quiet);
        assert!(!path.exists());
    }
}
