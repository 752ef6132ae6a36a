//! Plugging disks and ports in and out of machines that run. Only the running machine is changed: what it has at its next
//! start is said by its definition.

use std::time::{Duration, Instant};

use symphony_core::plan::machine::{DiskDevice, PortDevice, RunState};
use virt::sys;

use super::{Error, Machines};
use crate::domain::{self, Live};
use crate::machine;

/// How long a guest has for letting go of a device; the driver asks again.
const LET_GO: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(100);

impl Machines {
    pub(super) async fn attach_disk(&self, object: &str, device: &DiskDevice) -> Result<(), Error> {
        let backing = self.backing(object, device)?;
        self.open_remotes(object, std::slice::from_ref(device)).await?;
        let (name, device) = (object.to_owned(), device.clone());
        let done = self.hypervisor.change(move |connect| {
            let seen = match running(connect, &name)? {
                Ok(seen) => seen,
                Err(error) => return Ok(Err(error)),
            };
            let volume = &device.disk.volume;
            if seen.live.volumes.contains(volume) {
                return Ok(Ok(()));
            }
            if let Err(error) = machine::untaken(connect, &name, std::slice::from_ref(volume))? {
                return Ok(Err(error));
            }
            let Some(target) = machine::free_target(&seen.live, device.model) else {
                return Ok(Err(Error::Unfit("no name is left for a disk".to_owned())));
            };
            plug(connect, &name, domain::disk(&device, &backing, &target))
        });
        done.await??;
        symphony_crash::point("compute.attach.after_disk");
        Ok(())
    }

    pub(super) async fn attach_port(&self, object: &str, device: &PortDevice) -> Result<(), Error> {
        let (name, device) = (object.to_owned(), device.clone());
        let done = self.hypervisor.change(move |connect| {
            let seen = match running(connect, &name)? {
                Ok(seen) => seen,
                Err(error) => return Ok(Err(error)),
            };
            if seen.live.ports.contains(&device.port.id) {
                return Ok(Ok(()));
            }
            plug(connect, &name, domain::port(&device, seen.noted.description.chipset))
        });
        done.await??;
        symphony_crash::point("compute.attach.after_port");
        Ok(())
    }

    pub(super) async fn detach_disk(&self, object: &str, volume: &str) -> Result<(), Error> {
        let volume = volume.to_owned();
        let tunnel = self.tunnel(object, &volume);
        let detached = self.detach(object, domain::disk_alias(&volume), move |live| {
            live.volumes.contains(&volume)
        });
        detached.await?;
        // Of a volume of this node there is none.
        tunnel.close().await?;
        symphony_crash::point("compute.detach.after_tunnel");
        Ok(())
    }

    pub(super) async fn detach_port(&self, object: &str, port: &str) -> Result<(), Error> {
        let port = port.to_owned();
        self.detach(object, domain::port_alias(&port), move |live| {
            live.ports.contains(&port)
        })
        .await
    }

    /// Asks the guest to let go of a device, and waits for it.
    async fn detach(&self, object: &str, alias: String, has: impl Fn(&Live) -> bool) -> Result<(), Error> {
        let until = Instant::now() + LET_GO;
        let mut asked = false;
        loop {
            let seen = self.see(object).await?;
            let holds = seen.filter(|seen| !matches!(seen.state, RunState::Off(_)) && has(&seen.live));
            let Some(seen) = holds else {
                symphony_crash::point("compute.detach.after_detach");
                return Ok(());
            };
            if Instant::now() > until {
                return Err(Error::Held);
            }
            if !asked {
                asked = true;
                let name = object.to_owned();
                let xml = seen.live.detaching(&alias).ok_or(Error::Held)?.to_owned();
                let ask = self
                    .hypervisor
                    .change(move |connect| match machine::find(connect, &name)? {
                        Some(domain) => domain
                            .detach_device_flags(&xml, sys::VIR_DOMAIN_AFFECT_LIVE)
                            .map(|_| ()),
                        None => Ok(()),
                    });
                ask.await?;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A machine that runs, as it is seen.
fn running(connect: &virt::connect::Connect, name: &str) -> Result<Result<machine::Seen, Error>, virt::error::Error> {
    Ok(match machine::see(connect, name)? {
        Ok(None) => Err(Error::Unknown),
        Ok(Some(seen)) if matches!(seen.state, RunState::Off(_)) => Err(Error::Off),
        Ok(Some(seen)) => Ok(seen),
        Err(error) => Err(error),
    })
}

fn plug(
    connect: &virt::connect::Connect,
    name: &str,
    xml: Result<String, domain::Unspeakable>,
) -> Result<Result<(), Error>, virt::error::Error> {
    let xml = match xml {
        Ok(xml) => xml,
        Err(error) => return Ok(Err(Error::Unfit(error.to_string()))),
    };
    match machine::find(connect, name)? {
        Some(domain) => domain
            .attach_device_flags(&xml, sys::VIR_DOMAIN_AFFECT_LIVE)
            .map(|_| Ok(())),
        None => Ok(Err(Error::Unknown)),
    }
}
