//! The control socket: for root and the manager's own user, without a token. Nobody else can open it, and who comes in
//! all the same (through rights that someone changed) is told no.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::ServeError;
use super::accept::{Connections, pause};
use crate::app::App;
use crate::peer::Peer;
use crate::routes;

/// Its rights: the owner alone.
const MODE: u32 = 0o600;

/// The bound socket. Its file goes when it is dropped.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket. It has its rights before it has its name, so there is no moment at which others could open it.
    pub(crate) fn bind(path: &Path) -> Result<Self, ServeError> {
        make_room(path)?;
        let cannot = |source| ServeError::ControlSocket {
            path: path.to_owned(),
            source,
        };
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft).map_err(cannot)?;
        let named =
            fs::set_permissions(&draft, fs::Permissions::from_mode(MODE)).and_then(|()| fs::rename(&draft, path));
        if let Err(source) = named {
            let _ = fs::remove_file(&draft);
            return Err(cannot(source));
        }
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Serves until the manager stops.
    pub(super) async fn serve(self, app: &App) {
        let (open, closed) = (routes::control_socket(app), routes::closed_socket(app));
        let connections = Connections::new(app);
        while let Some(seat) = connections.seat(app).await {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = app.shutdown.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    // One of whom nobody knows who it is, is nobody.
                    let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
                    let router = if is_trusted(uid) { &open } else { &closed };
                    connections.serve(app, stream, router.clone(), Peer::Local { uid }, seat);
                }
                Err(error) => pause(&error).await,
            }
        }
        connections.end(app).await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a user may come in: root, and the manager's own.
pub(crate) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == own_uid()
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Takes away what an earlier manager left. Anything else that is there stays, and is an error.
fn make_room(path: &Path) -> Result<(), ServeError> {
    let taken = |why| ServeError::ControlSocketTaken {
        path: path.to_owned(),
        why,
    };
    let cannot = |source| ServeError::ControlSocket {
        path: path.to_owned(),
        source,
    };
    let known = match fs::symlink_metadata(path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(error)),
    };
    if !known.file_type().is_socket() {
        return Err(taken("is there already and is no socket"));
    }
    if known.uid() != own_uid() {
        return Err(taken("belongs to another user"));
    }
    match Probe::connect(path) {
        Ok(_) => Err(taken("is in use by another manager")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(cannot),
        Err(error) => Err(cannot(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_private_and_takes_the_place_of_a_dead_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(
            matches!(ControlSocket::bind(&path), Err(ServeError::ControlSocketTaken { .. })),
            "it is in use"
        );
        drop(first);
        assert!(!path.exists());
        // What a manager leaves that was killed: a socket that nobody listens on.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(ControlSocket::bind(&path).unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(ControlSocket::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[tokio::test]
    async fn somebody_elses_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
            return; // Only root can give a file away.
        }
        assert!(
            matches!(ControlSocket::bind(&path), Err(ServeError::ControlSocketTaken { why, .. }) if why.contains("another user"))
        );
        assert!(path.exists());
    }

    #[test]
    fn root_and_the_own_user_are_trusted() {
        assert!(is_trusted(0) && is_trusted(own_uid()));
        assert!(!is_trusted(own_uid() + 1));
    }
}
