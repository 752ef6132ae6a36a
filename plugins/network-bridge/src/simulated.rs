//! A node in memory that does steps as an agent does them, and refuses what an agent would refuse.

use symphony_sdk::driver::network::{Fact, FoundNetwork, NetworkFact, Probe, Step};

/// One network: a plan sees no more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) found: Option<FoundNetwork>,
}

impl Node {
    pub(crate) fn facts(&self, probes: &[Probe]) -> Vec<Fact> {
        let fact = |probe: &Probe| {
            let Probe::Network(object) = probe;
            Fact::Network(NetworkFact {
                object: object.clone(),
                found: self.found.clone(),
            })
        };
        probes.iter().map(fact).collect()
    }

    /// The same node with parts of the network gone, as somebody's hand or a kernel that started anew leaves it.
    pub(crate) fn accidents(&self) -> Vec<Self> {
        let lose: [fn(&mut FoundNetwork); 8] = [
            |found| found.bridge = None,
            |found| found.gateway = None,
            |found| found.dhcp = None,
            |found| found.nat = None,
            |found| found.filter = None,
            |found| found.rates = None,
            |found| found.tunnel = None,
            |found| found.peers = None,
        ];
        let Some(found) = &self.found else { return Vec::new() };
        let mut all: Vec<Self> = lose
            .into_iter()
            .map(|lose| {
                let mut found = found.clone();
                lose(&mut found);
                Self { found: Some(found) }
            })
            .collect();
        all.push(Self { found: Some(nothing()) });
        all
    }

    /// Does one step. `cut` says that the agent is killed in the middle of it: the network is known, the part is not.
    pub(crate) fn run(&mut self, step: &Step, cut: bool) -> Result<(), String> {
        if let Step::Remove(_) = step {
            self.found = cut.then(nothing);
            return Ok(());
        }
        let found = self.found.get_or_insert_with(nothing);
        match step {
            Step::MakeBridge(settings) => found.bridge = (!cut).then(|| settings.clone()),
            Step::MakeTunnel(_) if found.bridge.is_none() => return Err("there is no bridge".to_owned()),
            Step::MakeTunnel(settings) => {
                if found.tunnel.as_ref() != Some(settings) {
                    found.peers = None;
                }
                found.tunnel = (!cut).then(|| settings.clone());
            }
            Step::SetPeers(_) if found.tunnel.is_none() => return Err("there is no tunnel".to_owned()),
            Step::SetPeers(settings) => found.peers = (!cut).then(|| settings.clone()),
            Step::DropTunnel(_) => (found.tunnel, found.peers) = (None, None),
            Step::SetFilter(_) if cut => {}
            Step::SetFilter(settings) => found.filter = Some(settings.clone()),
            Step::MakeGateway(_) | Step::SetNat(_) | Step::ServeDhcp(_) if found.bridge.is_none() => {
                return Err("there is no bridge".to_owned());
            }
            Step::MakeGateway(settings) => found.gateway = (!cut).then(|| settings.clone()),
            Step::SetNat(_) | Step::ServeDhcp(_) if found.gateway.is_none() => {
                return Err("there is no namespace".to_owned());
            }
            Step::SetNat(settings) => found.nat = (!cut).then(|| settings.clone()),
            Step::ServeDhcp(settings) => found.dhcp = (!cut).then(|| settings.clone()),
            Step::SetRates(settings) => found.rates = (!cut).then(|| settings.clone()),
            Step::Remove(_) => {}
        }
        Ok(())
    }
}

fn nothing() -> FoundNetwork {
    FoundNetwork {
        bridge: None,
        gateway: None,
        dhcp: None,
        nat: None,
        filter: None,
        rates: None,
        tunnel: None,
        peers: None,
    }
}
