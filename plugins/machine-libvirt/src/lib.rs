//! Machines on KVM, or on QEMU alone: q35, virtio, a serial console, a screen, and a seed disk for the first boot.
//!
//! The plan always starts from what the hypervisor knows now, so it does not matter how far an earlier one came. Three
//! rules hold in every state: a machine that should run is put off only for a boot that was ordered, one that runs takes
//! what changed as far as it can while it runs, and its seed disk is whole before it starts.

mod describe;
mod plan;
mod seed;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use symphony_sdk::MachineDriver;
use symphony_sdk::driver::machine::{Domain, Fact, Intent, NodeFact, Probe, Step};
use symphony_sdk::driver::{Goal, Refusal};

/// The driver.
#[derive(Debug, Default)]
pub struct Libvirt;

impl MachineDriver for Libvirt {
    const NAME: &'static str = "libvirt";

    fn probes(&self, intent: &Intent) -> Vec<Probe> {
        let domain = Probe::Domain(intent.object.clone());
        match intent.goal {
            Goal::Present => vec![domain, Probe::Node],
            Goal::Absent => vec![domain],
        }
    }

    fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
        let seen = Seen::new(intent, facts)?;
        match intent.goal {
            Goal::Absent => Ok(plan::absent(intent, &seen)),
            Goal::Present => plan::present(intent, &seen),
        }
    }
}

symphony_sdk::export_machine_driver!(Libvirt);

/// The facts that concern this intent.
struct Seen<'a> {
    /// The machine, as the hypervisor knows it.
    domain: Option<&'a Domain>,
    /// Whether files of it are left although the hypervisor does not know it.
    remains: bool,
    node: Option<NodeFact>,
}

impl<'a> Seen<'a> {
    fn new(intent: &Intent, facts: &'a [Fact]) -> Result<Self, Refusal> {
        let (mut machine, mut node) = (None, None);
        for fact in facts {
            match fact {
                Fact::Domain(fact) if fact.object == intent.object => machine = Some(fact),
                Fact::Node(fact) => node = Some(*fact),
                Fact::Domain(_) => {}
            }
        }
        let machine = machine.ok_or_else(|| lacks("the state of the machine"))?;
        Ok(Self {
            domain: machine.found.as_ref(),
            remains: machine.remains,
            node,
        })
    }
}

/// A fact that was asked for and did not come: unknown is not absent.
fn lacks(fact: &str) -> Refusal {
    Refusal::Unavailable(format!("the node did not report {fact}"))
}
