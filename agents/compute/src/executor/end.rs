//! The end of all machines of a node at once, when it is taken out of service. What they are stays known, so that they can be
//! started again.

use std::time::{Duration, Instant};

use symphony_core::plan::machine::{RunState, Step};
use virt::sys;

use super::power::{LOOK, PRESS};
use super::{Error, Machines};
use crate::domain::Noted;
use crate::machine;

impl Machines {
    /// Ends all machines of this folder that run: presses their power buttons, and cuts off those that are not off by the
    /// deadline. Says first, to `tell`, how many there are; gives how many there were. They are noted as never started, so
    /// that whoever wants them to run starts them, whatever is to be done about machines that end.
    ///
    /// # Errors
    /// When libvirt can't be asked, or a machine can't be cut off; the others are ended all the same.
    pub async fn end_all(&self, patience: Duration, tell: impl FnOnce(usize)) -> Result<usize, Error> {
        let machines = self.running().await?;
        tell(machines.len());
        let until = Instant::now() + patience;
        let mut left = Vec::new();
        for object in &machines {
            match self.asked_to_end(object).await {
                Ok(true) => left.push(object.clone()),
                // It ended by itself, or went away, while it was looked at.
                Ok(false) | Err(Error::Unknown) => {}
                Err(error) => {
                    tracing::warn!(machine = %object, error = &error as &dyn std::error::Error, "it will be cut off");
                    left.push(object.clone());
                }
            }
        }
        let mut pressed: Option<Instant> = None;
        while !left.is_empty() && Instant::now() < until {
            if pressed.is_none_or(|pressed| pressed.elapsed() >= PRESS) {
                pressed = Some(Instant::now());
                for object in &left {
                    if let Err(error) = self.press(object).await {
                        tracing::debug!(machine = %object, error = &error as &dyn std::error::Error, "no power button");
                    }
                }
            }
            let mut still = Vec::with_capacity(left.len());
            for object in left {
                // Of one that can't be asked for nobody knows that it is off.
                if self.is_active(&object).await.unwrap_or(true) {
                    still.push(object);
                }
            }
            left = still;
            if !left.is_empty() {
                tokio::time::sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
            }
        }
        let mut failed = None;
        for object in &left {
            tracing::info!(machine = %object, "the guest did not shut down in time and is cut off");
            let done = match self.destroy(object).await {
                // What is noted with it can't be read; it is not to outlive its node for that.
                Err(Error::Unreadable { .. }) => self.cut(object).await,
                done => done,
            };
            failed = done.err().or(failed);
        }
        for object in &machines {
            match self.note(object, |noted| Noted { boots: 0, ..noted }).await {
                Ok(()) | Err(Error::Unknown) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(machines.len()), Err)
    }

    /// Tells a machine that its end is wanted; whether it still has to go.
    async fn asked_to_end(&self, object: &str) -> Result<bool, Error> {
        match self.see(object).await?.map(|seen| seen.state) {
            Some(RunState::Running) => {
                self.note(object, |noted| Noted { ordered: true, ..noted }).await?;
                Ok(true)
            }
            // A guest that stands still hears no button.
            Some(RunState::Paused) => self.destroy(object).await.map(|()| false),
            Some(RunState::Off(_)) | None => Ok(false),
        }
    }

    /// Ends a machine as by a power cut, and forgets it; its volumes stay. Nothing when it is not known.
    pub(crate) async fn discard(&self, object: &str) -> Result<(), Error> {
        if self.is_active(object).await? {
            match self.destroy(object).await {
                // It ended while it was looked at.
                Ok(()) | Err(Error::Unknown) => {}
                Err(Error::Unreadable { .. }) => self.cut(object).await?,
                Err(error) => return Err(error),
            }
        }
        self.run(&Step::Undefine {
            object: object.to_owned(),
        })
        .await
    }

    /// The machines that run, or stand still, and have their files here.
    async fn running(&self) -> Result<Vec<String>, Error> {
        self.listed(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE).await
    }

    /// All machines that have their files here, running or not.
    pub(crate) async fn owned(&self) -> Result<Vec<String>, Error> {
        self.listed(0).await
    }

    /// Only what has its files here: another agent's may be known to the same libvirt.
    async fn listed(&self, which: u32) -> Result<Vec<String>, Error> {
        let listed = self.hypervisor.read(move |connect| {
            let mut names = Vec::new();
            for domain in connect.list_all_domains(which)? {
                // One that goes away while we look has ended.
                // Whatever can be read of it: it has an end too.
                if let (Ok(name), Ok(Ok(Some(_)) | Err(_))) = (domain.get_name(), machine::noted(&domain)) {
                    names.push(name);
                }
            }
            Ok(names)
        });
        let mut names = listed.await?;
        names.retain(|name| self.machine_folder(name).is_dir());
        Ok(names)
    }
}
