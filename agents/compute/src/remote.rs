//! Volumes of other nodes: for each a tunnel, a qemu-storage-daemon of this node that speaks TLS with the volume's node and
//! offers the volume on a unix socket, where the machine's QEMU connects by its own NBD client.
//!
//! Why not QEMU alone: libvirt gives its NBD disks only x509, from one certificate for the whole hypervisor, and QEMU reads a
//! certificate when it attaches a disk and never again: a guest that outlives its node's certificate could not reconnect. A
//! tunnel has the key of one generation of one volume, which does not grow old, and no plugin and no domain's XML ever sees.
//!
//! ```text
//!   guest ─ QEMU ─ unix socket ─ tunnel ─ TLS (PSK) ─ server of the volume's node ─ file
//! ```
//!
//! Tunnels outlive the agent, as machines do. What is lost on the way is waited for, by QEMU and by the tunnel alike: a guest
//! stands still rather than see an error. Never knows of libvirt.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use symphony_agent::{StepError, daemon};
use symphony_protocol::ExportAccess;

/// What a tunnel is.
const PROGRAM: &str = "qemu-storage-daemon";
/// How long a lost server is waited for before a guest sees an error: whoever ends this machine is faster.
pub(crate) const RECONNECT_SECONDS: u32 = 24 * 3600;
/// How long the first connection may take, in seconds.
const OPEN_SECONDS: u32 = 10;
/// A node that comes up is busy with everything else too.
const UP: Duration = Duration::from_secs(60);
/// What the name of a socket has at most: the last 12 digits of a volume's id, and its ending.
pub(crate) const SOCKET: &str = "0123456789ab.nbd";
/// Most files of a machine's folder that are looked at.
const FILES_MAX: usize = 1 << 10;

/// One machine's way to one volume.
#[derive(Debug, Clone)]
pub(crate) struct Tunnel {
    /// The machine's folder.
    folder: PathBuf,
    /// The socket, by a path that is short enough.
    pub socket: PathBuf,
    stem: String,
}

impl Tunnel {
    /// `sockets` is the machine's folder by a short path.
    pub(crate) fn new(folder: &Path, sockets: &Path, volume: &str) -> Self {
        let digits = SOCKET.len() - ".nbd".len();
        let plain = |c: &char| c.is_ascii_alphanumeric();
        let mut last: Vec<char> = volume.chars().filter(plain).rev().take(digits).collect();
        last.reverse();
        let stem: String = last.into_iter().collect();
        Self {
            folder: folder.to_owned(),
            socket: sockets.join(format!("{stem}.nbd")),
            stem,
        }
    }

    /// Makes it lead there. One that does already is left as it is; another is ended first.
    ///
    /// # Errors
    /// When the volume's node can't be reached, or does not let us in.
    pub(crate) async fn open(&self, access: &ExportAccess) -> Result<(), StepError> {
        let words = self.words(access);
        let running = daemon::find(PROGRAM, &self.mark()).map_err(StepError::io("look at the tunnels"))?;
        if !running.is_empty() && running.iter().all(|running| running.words == words) {
            return Ok(());
        }
        daemon::end(PROGRAM, &self.mark()).await?;
        symphony_crash::point("compute.tunnel.after_end");
        let keys = self
            .write_key(access)
            .map_err(StepError::io("write the tunnel's key"))?;
        symphony_crash::point("compute.tunnel.after_key");
        let started = daemon::start(&words, None, UP).await;
        // It was read, or is of no use.
        forget(&keys).map_err(StepError::io("remove the tunnel's key"))?;
        symphony_crash::point("compute.tunnel.after_start");
        started.map_err(|error| {
            let (export, address) = (&access.export, &access.endpoint.address);
            StepError::Unreachable(format!("volume {export} at {address} can't be reached: {error}"))
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) async fn close(&self) -> Result<(), StepError> {
        daemon::end(PROGRAM, &self.mark()).await?;
        forget(&self.keys()).map_err(StepError::io("remove the tunnel's key"))?;
        for file in [self.folder.join(format!("{}.nbd", self.stem)), self.pid()] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StepError::io("remove the tunnel's socket")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn words(&self, access: &ExportAccess) -> Vec<String> {
        let (keys, socket) = (escaped(&self.keys()), escaped(&self.socket));
        let ExportAccess {
            volume,
            export,
            endpoint,
            client,
            ..
        } = access;
        vec![
            PROGRAM.to_owned(),
            "--daemonize".to_owned(),
            self.mark(),
            format!("--object=tls-creds-psk,id=tls,endpoint=client,username={client},dir={keys}"),
            format!(
                "--blockdev=driver=nbd,node-name=volume,server.type=inet,server.host={},server.port={},export={export},\
                 tls-creds=tls,reconnect-delay={RECONNECT_SECONDS},open-timeout={OPEN_SECONDS},discard=unmap",
                endpoint.address.replace(',', ",,"),
                endpoint.port
            ),
            format!("--nbd-server=addr.type=unix,addr.path={socket}"),
            format!("--export=type=nbd,id=export,node-name=volume,writable=on,name={volume}"),
        ]
    }

    /// What all tunnels of this machine to this volume have on their command line, and no other process.
    fn mark(&self) -> String {
        format!("--pidfile={}", self.pid().display())
    }

    fn pid(&self) -> PathBuf {
        self.folder.join(format!("{}.pid", self.stem))
    }

    fn keys(&self) -> PathBuf {
        self.folder.join(format!("{}.keys", self.stem))
    }

    fn write_key(&self, access: &ExportAccess) -> io::Result<PathBuf> {
        let keys = self.keys();
        forget(&keys)?;
        DirBuilder::new().mode(0o700).create(&keys)?;
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(keys.join("keys.psk"))?;
        writeln!(file, "{}:{}", access.client, access.key.reveal())?;
        Ok(keys)
    }
}

/// Ends all tunnels of the machine with this folder.
pub(crate) async fn close_all(folder: &Path, sockets: &Path) -> Result<(), StepError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(StepError::io("list the machine's folder"))?,
    };
    for entry in entries.take(FILES_MAX) {
        let name = entry.map_err(StepError::io("list the machine's folder"))?.file_name();
        let stem = name.to_str().and_then(|name| {
            let endings = [".nbd", ".pid", ".keys"];
            endings.into_iter().find_map(|ending| name.strip_suffix(ending))
        });
        if let Some(stem) = stem {
            Tunnel::new(folder, sockets, stem).close().await?;
        }
    }
    Ok(())
}

/// QEMU takes a comma that is doubled as one.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn forget(keys: &Path) -> io::Result<()> {
    match fs::remove_dir_all(keys) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_short_and_differ() {
        let of = |volume: &str| Tunnel::new(Path::new("/m"), Path::new("/s"), volume);
        let one = of("01936e2a-7c3b-7def-8123-456789abcdef");
        assert_eq!(one.socket, Path::new("/s/456789abcdef.nbd"));
        assert_eq!(one.stem.len() + ".nbd".len(), SOCKET.len());
        assert_ne!(one.socket, of("01936e2a-7c3b-7def-8123-456789abcdee").socket);
        // Names are ids; this holds even when one is not.
        assert_eq!(of("../../etc,x=").stem, "etcx");
    }
}
