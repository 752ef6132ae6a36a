//! Machines on libvirt's simulated hypervisor (`test:///default`), where nothing really runs: for trying symphony out, and
//! for tests of everything around a machine.
//!
//! It has no seed disk, no console, no screen and no ports, and a disk can't be plugged in while a machine runs. Otherwise
//! it keeps the promises of every machine driver: a machine that should run is put off only for a boot that was ordered.

mod plan;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use symphony_sdk::MachineDriver;
use symphony_sdk::driver::machine::{Domain, Fact, Hypervisor, Intent, Probe, Step};
use symphony_sdk::driver::{Goal, Refusal};

/// The driver.
#[derive(Debug, Default)]
pub struct Test;

impl MachineDriver for Test {
    const NAME: &'static str = "test";

    fn probes(&self, intent: &Intent) -> Vec<Probe> {
        let domain = Probe::Domain(intent.object.clone());
        match intent.goal {
            Goal::Present => vec![domain, Probe::Node],
            Goal::Absent => vec![domain],
        }
    }

    fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
        let machine = facts.iter().find_map(|fact| match fact {
            Fact::Domain(fact) if fact.object == intent.object => Some(fact),
            _ => None,
        });
        let machine = machine.ok_or_else(|| lacks("the state of the machine"))?;
        let domain: Option<&Domain> = machine.found.as_ref();
        if intent.goal == Goal::Absent {
            return Ok(plan::absent(intent, domain, machine.remains));
        }
        let hypervisor = facts.iter().find_map(|fact| match fact {
            Fact::Node(fact) => Some(fact.hypervisor),
            Fact::Domain(_) => None,
        });
        match hypervisor.ok_or_else(|| lacks("what it runs machines with"))? {
            Hypervisor::Test => plan::present(intent, domain),
            Hypervisor::Kvm | Hypervisor::Qemu => Err(Refusal::Unavailable(
                "the node runs real machines, which are for the driver libvirt".to_owned(),
            )),
        }
    }
}

symphony_sdk::export_machine_driver!(Test);

/// A fact that was asked for and did not come: unknown is not absent.
fn lacks(fact: &str) -> Refusal {
    Refusal::Unavailable(format!("the node did not report {fact}"))
}
