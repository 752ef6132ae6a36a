//! Machines' volumes on other nodes: where they are reached is said with every call, and the tunnels there are kept with the
//! machine: opened before it needs them, mended while it runs, closed when it is off.

use std::sync::PoisonError;

use symphony_core::plan::machine::{DiskDevice, DiskSource, RunState};
use symphony_protocol::ExportAccess;

use super::{Error, Machines};
use crate::machine::Seen;
use crate::remote::{self, Tunnel};

impl Machines {
    /// Takes note of where the volumes of a machine (`machine/ID`, or its id) are reached that are on other nodes.
    pub fn reach(&self, object: &str, exports: &[ExportAccess]) {
        let object = object.strip_prefix("machine/").unwrap_or(object);
        let mut known = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        if exports.is_empty() {
            known.remove(object);
        } else {
            known.insert(object.to_owned(), exports.to_vec());
        }
    }

    pub(super) fn tunnel(&self, object: &str, volume: &str) -> Tunnel {
        Tunnel::new(&self.machine_folder(object), &self.sockets.join(object), volume)
    }

    /// Opens the tunnels that these disks need. Where the volume is reached must be known, in the generation that the disk
    /// has: with another, somebody else may write.
    pub(super) async fn open_remotes(&self, object: &str, disks: &[DiskDevice]) -> Result<(), Error> {
        if !self.has_sockets() {
            return Ok(());
        }
        for device in disks {
            let DiskSource::Remote { export, .. } = &device.disk.source else {
                continue;
            };
            let volume = &device.disk.volume;
            let access = self.access(object, export);
            let access = access.ok_or_else(|| Error::Unserved(volume.clone()))?;
            self.tunnel(object, volume).open(&access).await?;
        }
        Ok(())
    }

    /// Opens again what a machine that runs has lost, and closes what one that is off does not need. What can't be mended
    /// now is tried again with the next facts: its guest waits.
    pub(super) async fn mend_remotes(&self, object: &str, seen: &Seen) {
        let done = match seen.state {
            RunState::Off(_) => self.close_remotes(object).await,
            RunState::Running | RunState::Paused => {
                let is_live = |device: &&DiskDevice| seen.live.volumes.contains(&device.disk.volume);
                let disks: Vec<DiskDevice> = seen.noted.description.disks.iter().filter(is_live).cloned().collect();
                self.open_remotes(object, &disks).await
            }
        };
        if let Err(error) = done {
            let error = symphony_agent::chain(&error);
            tracing::warn!(machine = %object, error, "a machine's volumes on other nodes are not as they should be");
        }
    }

    /// Ends all that a machine has of other nodes' volumes.
    pub(super) async fn forget_remotes(&self, object: &str) -> Result<(), Error> {
        self.reach(object, &[]);
        self.close_remotes(object).await
    }

    /// Ends all tunnels of a machine that is off.
    pub(super) async fn close_remotes(&self, object: &str) -> Result<(), Error> {
        let (folder, sockets) = (self.machine_folder(object), self.sockets.join(object));
        Ok(remote::close_all(&folder, &sockets).await?)
    }

    fn access(&self, object: &str, export: &str) -> Option<ExportAccess> {
        let known = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        let access = known.get(object)?.iter().find(|access| access.export == export);
        access.cloned()
    }
}
