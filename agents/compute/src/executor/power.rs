//! On and off: starting, resuming, shutting down, cutting off.

use std::time::{Duration, Instant};

use symphony_core::plan::machine::{Hypervisor as Kind, RunState};
use virt::sys;

use super::{Error, Machines};
use crate::domain::{self, Noted};
use crate::machine;

/// How often it is looked whether a guest is off.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// How often the power button is pressed: a guest that boots does not hear the first one.
pub(super) const PRESS: Duration = Duration::from_secs(1);

impl Machines {
    /// Starts a machine that is off: paused, then its console is connected, then the count is noted, then it goes. One that
    /// is paused goes on from there.
    pub(super) async fn start(&self, object: &str, boots: u64) -> Result<(), Error> {
        let seen = self.see(object).await?.ok_or(Error::Unknown)?;
        match seen.state {
            RunState::Running => return Ok(()),
            RunState::Paused => {}
            RunState::Off(_) => {
                self.clear_sockets(object)?;
                // One that is there may lead to what is over, and wait there for ever: nothing is started on it.
                self.close_remotes(object).await?;
                self.open_remotes(object, &seen.noted.description.disks).await?;
                let name = object.to_owned();
                // libvirt's simulated machines can't start paused, and have nothing to say.
                let flags = if self.has_sockets() {
                    sys::VIR_DOMAIN_START_PAUSED
                } else {
                    sys::VIR_DOMAIN_NONE
                };
                let paused = self
                    .hypervisor
                    .change(move |connect| match machine::find(connect, &name)? {
                        Some(domain) if domain.is_active()? => Ok(true),
                        Some(domain) => domain.create_with_flags(flags).map(|_| true),
                        None => Ok(false),
                    });
                if !paused.await? {
                    return Err(Error::Unknown);
                }
            }
        }
        symphony_crash::point("compute.start.after_create");
        self.connect(object, seen.noted.description.console).await?;
        self.note(object, move |noted| Noted {
            boots,
            ordered: false,
            ..noted
        })
        .await?;
        symphony_crash::point("compute.start.after_note");
        self.go_on(object).await?;
        symphony_crash::point("compute.start.after_resume");
        Ok(())
    }

    pub(super) async fn resume(&self, object: &str) -> Result<(), Error> {
        let seen = self.see(object).await?.ok_or(Error::Unknown)?;
        match seen.state {
            RunState::Running => Ok(()),
            RunState::Off(_) => Err(Error::Off),
            RunState::Paused => {
                self.connect(object, seen.noted.description.console).await?;
                self.go_on(object).await
            }
        }
    }

    /// Presses the power button until the machine is off; cuts it off at the deadline.
    pub(super) async fn shutdown(&self, object: &str, timeout_ms: u32) -> Result<(), Error> {
        let until = Instant::now() + Duration::from_millis(timeout_ms.into());
        match self.see(object).await?.map(|seen| seen.state) {
            None | Some(RunState::Off(_)) => return Ok(()),
            // A guest that stands still hears no button.
            Some(RunState::Paused) => self.resume(object).await?,
            Some(RunState::Running) => {}
        }
        self.note(object, |noted| Noted { ordered: true, ..noted }).await?;
        symphony_crash::point("compute.shutdown.after_note");
        let mut pressed: Option<Instant> = None;
        while Instant::now() < until {
            if pressed.is_none_or(|pressed| pressed.elapsed() >= PRESS) {
                pressed = Some(Instant::now());
                self.press(object).await?;
            }
            if !self.is_active(object).await? {
                return Ok(());
            }
            tokio::time::sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
        }
        tracing::info!(machine = %object, "the guest did not shut down in time and is cut off");
        self.destroy(object).await
    }

    pub(super) async fn destroy(&self, object: &str) -> Result<(), Error> {
        if !self.is_active(object).await? {
            return Ok(());
        }
        self.note(object, |noted| Noted { ordered: true, ..noted }).await?;
        self.cut(object).await?;
        symphony_crash::point("compute.destroy.after_destroy");
        Ok(())
    }

    /// Cuts a machine off, whatever is noted with it.
    pub(super) async fn cut(&self, object: &str) -> Result<(), Error> {
        let name = object.to_owned();
        let done = self
            .hypervisor
            .change(move |connect| match machine::find(connect, &name)? {
                // It may have gone by itself between the two.
                Some(domain) => match domain.destroy() {
                    Err(error) if domain.is_active()? => Err(error),
                    _ => Ok(()),
                },
                None => Ok(()),
            });
        Ok(done.await?)
    }

    pub(super) async fn reboot(&self, object: &str, boots: u64, timeout_ms: u32) -> Result<(), Error> {
        let seen = self.see(object).await?.ok_or(Error::Unknown)?;
        if seen.state == RunState::Running && seen.noted.boots >= boots {
            return Ok(());
        }
        self.shutdown(object, timeout_ms).await?;
        symphony_crash::point("compute.reboot.after_shutdown");
        self.start(object, boots).await
    }

    /// Whether machines here have sockets: libvirt's simulated ones have none.
    pub(super) fn has_sockets(&self) -> bool {
        self.kind != Kind::Test
    }

    /// Sockets of a machine that is off: left by a QEMU that was killed.
    fn clear_sockets(&self, object: &str) -> Result<(), Error> {
        let files = self.files(object);
        for path in [files.console, files.screen] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn connect(&self, object: &str, has_console: bool) -> Result<(), Error> {
        if has_console && self.has_sockets() {
            self.console(object)?.connect().await?;
        }
        Ok(())
    }

    pub(super) async fn note(
        &self,
        object: &str,
        change: impl Fn(Noted) -> Noted + Send + 'static,
    ) -> Result<(), Error> {
        let object = object.to_owned();
        // May be done twice: it says what is so, not what is added.
        let done = self.hypervisor.read(move |connect| {
            let Some(found) = machine::find(connect, &object)? else {
                return Ok(Err(Error::Unknown));
            };
            let noted = match machine::noted(&found)? {
                Ok(Some(noted)) => noted,
                Ok(None) => return Ok(Err(Error::Unknown)),
                Err(error) => return Ok(Err(error)),
            };
            match domain::element(&change(noted)) {
                Ok(element) => machine::note(&found, &element).map(Ok),
                Err(error) => Ok(Err(Error::Unfit(error.to_string()))),
            }
        });
        done.await?
    }

    async fn go_on(&self, object: &str) -> Result<(), Error> {
        let name = object.to_owned();
        let done = self
            .hypervisor
            .change(move |connect| match machine::find(connect, &name)? {
                Some(domain) => match domain.resume() {
                    Err(error) if machine::state(&domain, false)? != RunState::Running => Err(error),
                    _ => Ok(true),
                },
                None => Ok(false),
            });
        if done.await? { Ok(()) } else { Err(Error::Unknown) }
    }

    pub(super) async fn press(&self, object: &str) -> Result<(), Error> {
        let name = object.to_owned();
        let done = self
            .hypervisor
            .change(move |connect| match machine::find(connect, &name)? {
                Some(domain) => match domain.shutdown() {
                    Err(error) if domain.is_active()? => Err(error),
                    _ => Ok(()),
                },
                None => Ok(()),
            });
        Ok(done.await?)
    }

    pub(super) async fn is_active(&self, object: &str) -> Result<bool, Error> {
        let name = object.to_owned();
        let active = self
            .hypervisor
            .read(move |connect| match machine::find(connect, &name)? {
                Some(domain) => domain.is_active(),
                None => Ok(false),
            });
        Ok(active.await?)
    }
}
