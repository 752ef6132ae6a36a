//! A libvirtd of our own, where there is no system's: in namespaces for mounts and processes, with its files in one folder.
//! It and its machines outlive the agent; the next agent finds them. Knows nothing of machines.

use std::fmt::Write as _;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::short;

/// What the processes are found by.
const MARK: &str = "symphony-libvirtd";
/// A node that comes up is busy with everything else too.
const UP: Duration = Duration::from_secs(90);
const DOWN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The process that reaps the namespace's others, and starts libvirtd again when it ends. Machines are not its children:
/// they go on.
const SCRIPT: &str = r#"set -e
for pair in run:/run/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt etc:/etc/libvirt log:/var/log/libvirt; do
    mkdir -p "$1/${pair%%:*}" "${pair#*:}"
    mount --bind "$1/${pair%%:*}" "${pair#*:}"
done
set +e
PATH=$PATH:/usr/sbin:/sbin
while :; do
    libvirtd --pid-file "$1/run/libvirtd.pid"
    sleep 0.2
done
"#;

/// The system's user for QEMU could not read the pools; there is no virtlogd for the logs; and what a private daemon runs
/// is already told apart by its namespaces.
const QEMU_CONF: &str = r#"stdio_handler = "file"
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
"#;
const LIBVIRTD_CONF: &str = r#"auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
"#;

/// The private libvirtd did not come up or go down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or process could not be made.
    #[error("libvirtd was not started")]
    Io(#[from] io::Error),
    /// It did not open its socket.
    #[error("libvirtd did not come up; its words are in {0}")]
    Silent(PathBuf),
    /// It did not end.
    #[error("libvirtd does not end")]
    Undying,
}

/// A private libvirtd that runs. Dropping this leaves it running; see [`stop`](Self::stop).
#[derive(Debug)]
pub struct Libvirtd {
    folder: PathBuf,
    socket: PathBuf,
    namespace: Pid,
    /// When this process started it: to be reaped.
    child: Option<Child>,
}

impl Libvirtd {
    /// The one of this folder: adopted when it runs already, else started. Blocks until it answers, at most 90 s. Needs root.
    ///
    /// # Errors
    /// When it can't be started or does not come up.
    pub fn start(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder)?;
        let this = match Self::find(folder)? {
            Some(this) => this,
            None => Self::spawn(folder.canonicalize()?)?,
        };
        wait(&this.socket, &this.folder)?;
        Ok(this)
    }

    /// The one of this folder, if it runs. It may not answer (yet).
    ///
    /// # Errors
    /// When the processes can't be looked at.
    pub fn find(folder: &Path) -> Result<Option<Self>, Error> {
        let folder = match folder.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let Some(namespace) = find(&folder)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            socket: socket(&folder)?,
            folder,
            namespace,
            child: None,
        }))
    }

    /// Waits until it answers, at most 90 s.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn answers(&self) -> Result<(), Error> {
        let (socket, folder) = (self.socket.clone(), self.folder.clone());
        let waited = tokio::task::spawn_blocking(move || wait(&socket, &folder)).await;
        waited.map_err(io::Error::other)?
    }

    /// Where libvirt is reached.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", escaped(&self.socket))
    }

    /// The process id of libvirtd itself, as seen from here; nothing while it is being started again.
    #[must_use]
    pub fn daemon(&self) -> Option<u32> {
        let shell = *children(self.namespace.as_raw_nonzero().get().unsigned_abs()).first()?;
        let named = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "libvirtd")
        };
        children(shell).into_iter().find(named)
    }

    /// Ends it and all that runs in it, machines included, at once: as a power cut would.
    ///
    /// # Errors
    /// When it does not end within 10 s.
    pub fn stop(mut self) -> Result<(), Error> {
        // `unshare` ends the first process of the namespace with itself, and the kernel all others with that.
        let _ = rustix::process::kill_process(self.namespace, Signal::KILL);
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        let until = Instant::now() + DOWN;
        while find(&self.folder)?.is_some() {
            if Instant::now() > until {
                return Err(Error::Undying);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn spawn(folder: PathBuf) -> Result<Self, Error> {
        let etc = folder.join("etc");
        std::fs::create_dir_all(&etc)?;
        // Nothing of it runs: what is said there of machines that run is not so.
        match std::fs::remove_dir_all(folder.join("run")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        std::fs::write(etc.join("qemu.conf"), QEMU_CONF)?;
        std::fs::write(etc.join("libvirtd.conf"), LIBVIRTD_CONF)?;
        let words = std::fs::File::create(folder.join("words"))?;
        let mut unshare = Command::new("unshare");
        unshare.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ]);
        unshare.args(["sh", "-c", SCRIPT, MARK]).arg(&folder);
        // Its own group: what ends the agent's group leaves it.
        unshare
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words);
        let child = unshare.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let namespace = pid.ok_or_else(|| io::Error::other("no process id"))?;
        symphony_crash::point("compute.libvirtd.after_spawn");
        Ok(Self {
            socket: socket(&folder)?,
            folder,
            namespace,
            child: Some(child),
        })
    }
}

/// Where it listens, by a path that is short enough.
fn socket(folder: &Path) -> io::Result<PathBuf> {
    const SOCKET: &str = "run/libvirt-sock";
    Ok(short::way(folder, "/".len() + SOCKET.len())?.join(SOCKET))
}

fn wait(socket: &Path, folder: &Path) -> Result<(), Error> {
    let until = Instant::now() + UP;
    while UnixStream::connect(socket).is_err() {
        if Instant::now() > until {
            return Err(Error::Silent(folder.join("words")));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// A path as a part of a URI: folders may have spaces and worse in their names.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(*byte)),
            // Writing into memory does not fail.
            _ => _ = write!(text, "%{byte:02X}"),
        }
    }
    text
}

/// The `unshare` of a folder. By what it was started with, not by a file with its number: such a file can be missing, and
/// a number be another's.
fn find(folder: &Path) -> io::Result<Option<Pid>> {
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // It may have ended meanwhile.
        let Ok(line) = std::fs::read(Path::new("/proc").join(&name).join("cmdline")) else {
            continue;
        };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
        let folder = folder.as_os_str().as_encoded_bytes();
        if words.first() == Some(&b"unshare".as_slice()) && words.ends_with(&[MARK.as_bytes(), folder]) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_for_a_uri() {
        assert_eq!(escaped(Path::new("/run/a-b_c.d~/1")), "/run/a-b_c.d~/1");
        assert_eq!(escaped(Path::new("/my cloud/100%?&#")), "/my%20cloud/100%25%3F%26%23");
    }
}
