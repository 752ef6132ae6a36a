//! Network namespaces by name, shared with `ip netns`. A thread of its own enters them, and ends there: no other thread of
//! the process ever leaves the node's namespace.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::file;
use crate::{NetworkError, program};

/// Where namespaces have their names.
pub(crate) const FOLDER: &str = "/run/netns";

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(name)
}

/// Whether the name stands for a namespace: a name alone is left over from a cut making or a restart of the node.
pub(crate) fn exists(name: &str) -> bool {
    within(name, || ()).is_ok()
}

/// Makes the namespace. `ip` does it, so that the mounts are as its users expect them.
pub(crate) async fn make(name: &str) -> Result<(), NetworkError> {
    if exists(name) {
        return Ok(());
    }
    remove(name).await?;
    program::run(None, "ip", &["netns", "add", name], "").await.map(drop)
}

/// Removes the name; the namespace ends with the last process in it.
pub(crate) async fn remove(name: &str) -> Result<(), NetworkError> {
    if !path(name).exists() {
        return Ok(());
    }
    program::run(None, "ip", &["netns", "del", name], "").await.map(drop)
}

/// Whether a process is in the namespace.
pub(crate) fn has(name: &str, pid: i32) -> bool {
    let inode = |path: PathBuf| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let process = inode(PathBuf::from(format!("/proc/{pid}/ns/net")));
    process.is_some() && process == inode(path(name))
}

/// Does something quick within the namespace: open a socket, start a process, set a value under `/proc/sys/net`.
pub(crate) fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, NetworkError> {
    let path = path(name);
    let open = File::open(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => NetworkError::Missing(format!("namespace {name}")),
        _ => file(&path, "opened")(error),
    })?;
    let enter = || {
        move_into_link_name_space(open.as_fd(), Some(LinkNameSpaceType::Network))?;
        io::Result::Ok(work())
    };
    let done = std::thread::scope(|scope| scope.spawn(enter).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        .map_err(file(path, "entered"))
}

/// Sets a value under `/proc/sys/net` of the namespace that the thread is in; a kernel without it needs none.
pub(crate) fn set(name: &str, value: &str) -> Result<(), NetworkError> {
    let path = PathBuf::from("/proc/sys/net").join(name);
    match fs::write(&path, value) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(file(path, "written")(error)),
        _ => Ok(()),
    }
}
