//! The end of all that an agent runs for machines, while that agent does not run: when its node is taken out of service.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use symphony_agent::config::Config;
use symphony_core::plan::machine::Hypervisor;

use crate::service::{LIBVIRT, MACHINES};
use crate::{Disks, Libvirtd, Machines, Options, ServiceError, remote, short};

/// Nobody makes machines here.
struct NoDisks;

impl Disks for NoDisks {
    fn path(&self, _: &str, _: &str) -> std::io::Result<std::path::PathBuf> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// Ends the machines of an agent that does not run, as [`Machines::end_all`] does, and its private libvirtd. What can't be
/// ended in good order is ended as by a power cut. Their definitions and disks stay. Says first, to `tell`, how many
/// machines there are; gives how many there were.
///
/// # Errors
/// When something is left running.
pub async fn down(config: &Config, patience: Duration, tell: impl FnOnce(usize)) -> Result<usize, ServiceError> {
    let wanted = config.agent.compute.clone().unwrap_or_default();
    let (machines, private) = (config.folder.join(MACHINES), config.folder.join(LIBVIRT));
    let ended = match wanted.uri {
        Some(uri) if machines.is_dir() => end(&machines, uri, patience, tell).await?,
        Some(_) => 0,
        None => match Libvirtd::find(&private)? {
            None => 0,
            Some(libvirtd) => {
                let ended = match libvirtd.answers().await {
                    Ok(()) => end(&machines, libvirtd.uri(), patience, tell).await,
                    Err(error) => Err(error.into()),
                };
                let stopped = tokio::task::spawn_blocking(|| libvirtd.stop()).await;
                stopped.map_err(std::io::Error::other)??;
                ended.unwrap_or_else(|error| {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "machines could not be shut down and were cut off");
                    0
                })
            }
        },
    };
    // What a machine had of other nodes' volumes is of no use without it.
    if let Ok(folders) = std::fs::read_dir(&machines) {
        for folder in folders.flatten() {
            let closed = remote::close_all(&folder.path(), &folder.path()).await;
            closed.map_err(|error| ServiceError::Machines(error.into()))?;
        }
    }
    for folder in [machines, private] {
        if let Ok(folder) = folder.canonicalize() {
            short::forget(&folder);
        }
    }
    Ok(ended)
}

async fn end(folder: &Path, uri: String, patience: Duration, tell: impl FnOnce(usize)) -> Result<usize, ServiceError> {
    let options = Options {
        folder: folder.to_owned(),
        uri,
        // Says how machines are made; none is.
        hypervisor: Hypervisor::Qemu,
    };
    let machines = Machines::open(options, Arc::new(NoDisks))?;
    machines.end_all(patience, tell).await.map_err(ServiceError::Machines)
}
