//! The end of all machines of a node at once, when it is taken out of service. What they are stays known, so that they can be
//! started again.

use std::time::{Duration, Instant};

use symphony_core::plan::machine::RunState;
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
            match self.see(object).await?.map(|seen| seen.state) {
                Some(RunState::Running) => {
                    self.note(object, |noted| Noted { ordered: true, ..noted }).await?;
                    left.push(object.clone());
                }
                // A guest that stands still hears no button.
                Some(RunState::Paused) => self.destroy(object).await?,
                Some(RunState::Off(_)) | None => {}
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
                if self.is_active(&object).await? {
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
            failed = self.destroy(object).await.err().or(failed);
        }
        for object in &machines {
            failed = self
                .note(object, |noted| Noted { boots: 0, ..noted })
                .await
                .err()
                .or(failed);
        }
        failed.map_or(Ok(machines.len()), Err)
    }

    /// The machines that run, or stand still, and have their files here: another agent's may be known to the same libvirt.
    async fn running(&self) -> Result<Vec<String>, Error> {
        let listed = self.hypervisor.read(|connect| {
            let mut names = Vec::new();
            for domain in connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)? {
                // One that goes away while we look has ended.
                if let (Ok(name), Ok(Some(_))) = (domain.get_name(), machine::noted(&domain)) {
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
