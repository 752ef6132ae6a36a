//! What is there: facts for the drivers. Also where consoles of machines that ran before the agent are connected again.

use symphony_core::plan::machine::{Domain, DomainFact, Fact, Probe, RunState};

use super::{Error, Machines, check_object};
use crate::seed;

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
        let Some(seen) = self.see(&object).await? else {
            return Ok(DomainFact {
                object,
                found: None,
                remains: folder.try_exists()?,
            });
        };
        let description = seen.noted.description;
        if description.console && self.has_sockets() && seen.state == RunState::Running {
            // Nothing that the facts are about: it is tried again with the next ones.
            if let Err(error) = self.console(&object)?.connect().await {
                tracing::warn!(%error, machine = %object, "the console of a running machine is not connected");
            }
        }
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
}

fn hugepages() -> std::io::Result<bool> {
    let all = std::fs::read_to_string(MEMINFO)?;
    let free = all.lines().find_map(|line| line.strip_prefix("HugePages_Free:"));
    Ok(free.is_some_and(|count| count.trim() != "0"))
}
