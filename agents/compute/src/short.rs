//! Short ways to deep folders: a socket's path may have 107 bytes, a folder's far more. A link to the folder, in a place
//! that is short and ours alone, stands for it then. It is made anew whenever it is needed: where it lies may be emptied by
//! a restart of the node, and nothing is kept in it.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What a unix socket's path may have, in bytes.
const SOCKET_PATH_MAX: usize = 107;

/// A path of the folder that leaves `rest` bytes for a socket in it: the folder itself, or a link to it.
///
/// # Errors
/// When the link can't be made, or not even its path is short enough.
pub(crate) fn way(folder: &Path, rest: usize) -> io::Result<PathBuf> {
    if fits(folder, rest) {
        return Ok(folder.to_owned());
    }
    let base = base();
    let link = base.join(name(folder));
    if !fits(&link, rest) {
        return Err(io::Error::other("the folder's path is too long for sockets in it"));
    }
    keep(&base)?;
    match std::os::unix::fs::symlink(folder, &link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if std::fs::read_link(&link)? == folder {
                Ok(link)
            } else {
                let text = format!("{} leads elsewhere", link.display());
                Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
            }
        }
        other => other.map(|()| link),
    }
}

/// Removes the link to a folder, if there is one.
pub(crate) fn forget(folder: &Path) {
    let link = base().join(name(folder));
    if std::fs::read_link(&link).is_ok_and(|target| target == folder) {
        // What is left of it harms nobody.
        let _ = std::fs::remove_file(link);
    }
}

fn fits(path: &Path, rest: usize) -> bool {
    path.as_os_str().len() + rest <= SOCKET_PATH_MAX
}

/// FNV-1a of the path: another folder of the same name is found out when the link is read.
fn name(folder: &Path) -> String {
    let hash = folder
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{hash:016x}")
}

fn base() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return PathBuf::from("/run/symphony");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("symphony"),
        None => std::env::temp_dir().join(format!("symphony-{}", user.as_raw())),
    }
}

/// Makes the folder of the links; it must be ours, or others could lead us astray.
fn keep(base: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(base) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = base.symlink_metadata()?;
    if found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let text = format!("{} is not ours alone", base.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_is_led_to() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(way(home.path(), 20).unwrap(), home.path());
        let deep = home.path().join("d".repeat(90));
        std::fs::create_dir(&deep).unwrap();
        let link = way(&deep, 49).unwrap();
        assert!(fits(&link, 49) && link != deep);
        assert_eq!(way(&deep, 49).unwrap(), link, "the same one again");
        let _socket = std::os::unix::net::UnixListener::bind(link.join("x.sock")).unwrap();
        assert!(deep.join("x.sock").exists());
        forget(&deep);
        assert!(link.symlink_metadata().is_err() && deep.exists());
        assert!(way(&deep, 100).is_err());
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let base = home.path().join("links");
        keep(&base).unwrap();
        keep(&base).unwrap();
        std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(keep(&base).is_err());
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        assert!(keep(&link).is_err());
    }
}
