//! What is there: facts for the drivers. Also where consoles of machines that ran before the agent are connected again.

use std::io;
use std::time::Duration;

use symphony_core::plan::machine::{Domain, DomainFact, Fact, Probe, RunState};
use tokio::time::Instant;

use super::{Error, Machines, check_object};
use crate::machine::Seen;
use crate::seed;

/// How long libvirt may call a machine running whose console is not there. QEMU's console is gone a little before libvirt
/// notices that QEMU is: who was told so asks too early.
const NOTICED: Duration = Duration::from_secs(2);
const NOTICED_PAUSE: Duration = Duration::from_millis(50);

/// Where the kernel says how many huge pages are free.
const MEMINFO: &str = "/proc/meminfo";

impl Machines {
    /// Answers probes, in their order.
    ///
    /// # Errors
    /// When libvirt or the files can't be asked: then nothing is known, rather than something wrong.
    pub async fn facts(&self, probes: &[Probe]) -> Result<Vec<Fact>, Error> {
        let mut facts = Vec::with_capacity(probes.len());
        for probe in probes {
            facts.push(match probe {
                Probe::Domain(object) => Fact::Domain(self.domain(object).await?),
                Probe::Node => Fact::Node {
                    hypervisor: self.kind,
                    hugepages: hugepages()?,
                },
            });
        }
        Ok(facts)
    }

    async fn domain(&self, object: &str) -> Result<DomainFact, Error> {
        check_object(object)?;
        let folder = self.machine_folder(object);
        let object = object.to_owned();
        let Some(seen) = self.see_with_console(&object).await? else {
            return Ok(DomainFact {
                object,
                found: None,
                remains: folder.try_exists()?,
            });
        };
        self.mend_remotes(&object, &seen).await;
        let description = seen.noted.description;
        let found = Domain {
            description,
            state: seen.state,
            boots: seen.noted.boots,
            live_volumes: seen.live.volumes,
            live_ports: seen.live.ports,
            seed_digest: seed::digest(&folder)?,
        };
        Ok(DomainFact {
            object,
            found: Some(found),
            remains: false,
        })
    }

    /// Sees a machine; one that runs has its console connected. Where that can't be had, the machine may just have ended: it
    /// is seen again until libvirt says so.
    async fn see_with_console(&self, object: &str) -> Result<Option<Seen>, Error> {
        let until = Instant::now() + NOTICED;
        loop {
            let seen = self.see(object).await?;
            let Some(error) = self.disconnected(object, seen.as_ref()).await? else {
                return Ok(seen);
            };
            if Instant::now() >= until {
                // Nothing that the facts are about: it is tried again with the next ones.
                tracing::warn!(%error, machine = %object, "the console of a running machine is not connected");
                return Ok(seen);
            }
            tokio::time::sleep(NOTICED_PAUSE).await;
        }
    }

    /// Why a machine that runs has no console that is connected, when it should have one.
    async fn disconnected(&self, object: &str, seen: Option<&Seen>) -> Result<Option<io::Error>, Error> {
        let runs = |seen: &&Seen| seen.noted.description.console && seen.state == RunState::Running;
        if !self.has_sockets() || seen.filter(runs).is_none() {
            return Ok(None);
        }
        Ok(self.console(object)?.connect().await.err())
    }
}

fn hugepages() -> io::Result<bool> {
    let all = std::fs::read_to_string(MEMINFO)?;
    let free = all.lines().find_map(|line| line.strip_prefix("HugePages_Free:"));
    Ok(free.is_some_and(|count| count.trim() != "0"))
}
