//! Networks as bridges: the machines' links are in it, a namespace beside it has the gateway's address, DHCP and DNS, and
//! the way out when there is one. With machines on other nodes a VXLAN tunnel is in it too, with a route for each of them:
//! all that it has to know is in the intent, so nothing is learned and nothing flooded. Gateway, DHCP and DNS are on every
//! node, with the same address and MAC, and never heard beyond it.
//!
//! The plan always starts from what there is now. One rule holds in every state: the filter stands right after the bridge
//! and before anything that could carry a packet, and whatever changes, it is replaced at once.

mod plan;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use symphony_sdk::NetworkDriver;
use symphony_sdk::driver::network::{Fact, Intent, Probe, Step};
use symphony_sdk::driver::{Goal, Refusal};

/// The driver.
#[derive(Debug, Default)]
pub struct Bridge;

impl NetworkDriver for Bridge {
    const NAME: &'static str = "bridge";

    fn probes(&self, intent: &Intent) -> Vec<Probe> {
        vec![Probe::Network(intent.object.clone())]
    }

    fn plan(&self, intent: &Intent, facts: &[Fact]) -> Result<Vec<Step>, Refusal> {
        let network = facts.iter().find_map(|fact| {
            let Fact::Network(fact) = fact;
            (fact.object == intent.object).then_some(fact)
        });
        // A fact that was asked for and did not come: unknown is not absent.
        let network = network
            .ok_or_else(|| Refusal::Unavailable("the node did not report the state of the network".to_owned()))?;
        match intent.goal {
            Goal::Absent => Ok(plan::absent(intent, network.found.as_ref())),
            Goal::Present => plan::present(intent, network.found.as_ref()),
        }
    }
}

symphony_sdk::export_network_driver!(Bridge);
