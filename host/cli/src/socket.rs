//! The control socket: who may own one that we talk to. Never opens it.
//!
//! Whoever made the socket can answer anything. So it must belong to this user or to root: a socket in a folder that
//! others may write to could be anybody's.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::failure::{Exit, Failure};

/// Checks a socket before anything is said to it.
///
/// # Errors
/// When it is missing, no socket, or somebody else's.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    check_as(path, rustix::process::geteuid().as_raw())
}

fn check_as(path: &Path, user: u32) -> Result<(), Failure> {
    let shown = path.display();
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::new(format!("there is no control socket at {shown}"))
            .exit(Exit::NotFound)
            .hint("start a manager: `symphony dev`, or `symphony manager --config-dir DIR` (its socket is DIR/control.sock)"),
        _ => Failure::caused(format!("could not look at the control socket {shown}"), &error),
    })?;
    if !found.file_type().is_socket() {
        return Err(
            Failure::new(format!("{shown} is not a socket")).hint("a manager's control socket is DIR/control.sock")
        );
    }
    if found.uid() != user && found.uid() != 0 {
        return Err(Failure::new(format!(
            "the control socket {shown} belongs to user {}, who is neither you (user {user}) nor root",
            found.uid()
        ))
        .hint("nothing was sent; start a manager of your own, or run this as the manager's user"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn folder() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("symphony-cli-socket-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn only_my_own_or_roots_socket_is_talked_to() {
        let folder = folder();
        let path = folder.join("control.sock");
        _ = std::fs::remove_file(&path);
        let missing = check(&path).unwrap_err();
        assert_eq!(missing.exit, Exit::NotFound);
        assert!(missing.hint.unwrap().contains("symphony dev"));

        let _listener = UnixListener::bind(&path).unwrap();
        let owner = std::fs::metadata(&path).unwrap().uid();
        assert_eq!(check_as(&path, owner), Ok(()));
        if owner == 0 {
            assert_eq!(check_as(&path, 1000), Ok(()), "root's socket is fine for everyone");
            std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
            let foreign = check_as(&path, 1000).unwrap_err();
            assert!(foreign.message.contains("belongs to user 4321"), "{foreign:?}");
            assert!(check(&path).is_err(), "root does not trust it either");
        } else {
            assert!(check_as(&path, owner + 1).is_err());
        }
        assert!(check(&folder).unwrap_err().message.contains("is not a socket"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
