//! Networks: the intent, the facts and the steps of `wit/network-driver.wit`, and the check on a plan.

mod intent;

use serde::{Deserialize, Serialize};

use crate::plugin::Slot;

use super::{Goal, Kind, PlanFault};

/// Most ports of one network on one node.
pub const PORTS_MAX: usize = 1_024;

/// The kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks;

/// The protocols that a rule may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// All of them.
    Any,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
}

/// What may come in at a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// By which protocol.
    pub protocol: Protocol,
    /// The first destination port (TCP and UDP).
    pub first: u16,
    /// The last one, inclusive.
    pub last: u16,
    /// Where it may come from: `10.0.0.0/8`.
    pub source: String,
}

/// A machine's port that is on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port's id.
    pub id: String,
    /// The link that stands for it; at most 15 bytes.
    pub link: String,
    /// `52:54:00:12:34:56`.
    pub mac: String,
    /// Its address.
    pub address: String,
    /// What DHCP and DNS call it.
    pub hostname: String,
    /// What may come in; without rules everything from its network.
    pub allow: Vec<Rule>,
    /// Bits per second in each direction; 0: no limit.
    pub rate_bits: u64,
}

/// What is wanted of one network on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The network's object on the node.
    pub object: String,
    /// For display, and the DNS suffix.
    pub name: String,
    /// Whether it should be there.
    pub goal: Goal,
    /// The bridge's name; at most 15 bytes.
    pub bridge: String,
    /// The namespace that holds the gateway.
    pub namespace: String,
    /// `10.0.0.0/24`.
    pub subnet: String,
    /// The gateway's address.
    pub gateway: String,
    /// Whether machines may reach the outside.
    pub nat: bool,
    /// Those on this node; at most [`PORTS_MAX`].
    pub ports: Vec<Port>,
}

/// A fact that a driver needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// What there is of the network.
    Network(String),
}

/// A bridge without an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeSettings {
    /// The network.
    pub object: String,
    /// Its name.
    pub bridge: String,
}

/// The namespace with the gateway's address, connected to the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewaySettings {
    /// The network.
    pub object: String,
    /// The bridge.
    pub bridge: String,
    /// The namespace.
    pub namespace: String,
    /// The gateway's address.
    pub address: String,
    /// Length of the subnet's prefix.
    pub prefix: u8,
}

/// A machine that DHCP and DNS know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpHost {
    /// Its MAC.
    pub mac: String,
    /// Its address.
    pub address: String,
    /// Its name.
    pub hostname: String,
}

/// DHCP and DNS in the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpSettings {
    /// The network.
    pub object: String,
    /// The namespace.
    pub namespace: String,
    /// The subnet.
    pub subnet: String,
    /// The gateway's address.
    pub gateway: String,
    /// The DNS suffix.
    pub domain: String,
    /// Whether names of the outside are asked for.
    pub forward: bool,
    /// Who gets an address.
    pub hosts: Vec<DhcpHost>,
}

/// The way to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatSettings {
    /// The network.
    pub object: String,
    /// The namespace.
    pub namespace: String,
    /// The subnet.
    pub subnet: String,
    /// Whether there is one.
    pub enabled: bool,
}

/// The filter of one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFilter {
    /// The link.
    pub link: String,
    /// The only MAC that may leave it.
    pub mac: String,
    /// The only address that may leave it.
    pub address: String,
    /// What may come in; without rules everything from its network.
    pub allow: Vec<Rule>,
}

/// The filter of a whole network on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterSettings {
    /// The network.
    pub object: String,
    /// The bridge.
    pub bridge: String,
    /// The gateway's address.
    pub gateway: String,
    /// Its ports.
    pub ports: Vec<PortFilter>,
}

/// The limit of one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRate {
    /// The link.
    pub link: String,
    /// Bits per second in each direction.
    pub rate_bits: u64,
}

/// The limits of the ports that have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateSettings {
    /// The network.
    pub object: String,
    /// The ports.
    pub ports: Vec<PortRate>,
}

/// What there is of a network, as it was settled last and as the kernel confirms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundNetwork {
    /// The bridge.
    pub bridge: Option<BridgeSettings>,
    /// The gateway.
    pub gateway: Option<GatewaySettings>,
    /// DHCP and DNS.
    pub dhcp: Option<DhcpSettings>,
    /// The way to the outside.
    pub nat: Option<NatSettings>,
    /// The filter.
    pub filter: Option<FilterSettings>,
    /// The limits.
    pub rates: Option<RateSettings>,
}

/// What there is of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFact {
    /// Which.
    pub object: String,
    /// Nothing: no part of it is on the node.
    pub found: Option<FoundNetwork>,
}

/// What an agent saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Of a network.
    Network(NetworkFact),
}

/// One action of an agent; see `wit/network-driver.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes the bridge.
    MakeBridge(BridgeSettings),
    /// Makes the namespace with the gateway.
    MakeGateway(GatewaySettings),
    /// Starts DHCP and DNS, or makes them take other hosts.
    ServeDhcp(DhcpSettings),
    /// Opens or closes the way to the outside.
    SetNat(NatSettings),
    /// Replaces the filter at once.
    SetFilter(FilterSettings),
    /// Sets the limits.
    SetRates(RateSettings),
    /// Removes every part of the network.
    Remove {
        /// Which.
        object: String,
    },
}

impl Step {
    /// What it does, in a word.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::MakeBridge(_) => "make-bridge",
            Self::MakeGateway(_) => "make-gateway",
            Self::ServeDhcp(_) => "serve-dhcp",
            Self::SetNat(_) => "set-nat",
            Self::SetFilter(_) => "set-filter",
            Self::SetRates(_) => "set-rates",
            Self::Remove { .. } => "remove",
        }
    }

    /// The network that it is on.
    #[must_use]
    pub fn object(&self) -> &str {
        match self {
            Self::MakeBridge(settings) => &settings.object,
            Self::MakeGateway(settings) => &settings.object,
            Self::ServeDhcp(settings) => &settings.object,
            Self::SetNat(settings) => &settings.object,
            Self::SetFilter(settings) => &settings.object,
            Self::SetRates(settings) => &settings.object,
            Self::Remove { object } => object,
        }
    }
}

impl Kind for Networks {
    const NAME: &'static str = "network";
    const SLOT: Slot = Slot::NetworkDriver;

    type Intent = Intent;
    type Probe = Probe;
    type Fact = Fact;
    type Step = Step;
    type Met = ();

    fn goal(intent: &Intent) -> Goal {
        intent.goal
    }

    fn may_probe(intent: &Intent, probe: &Probe) -> Result<(), String> {
        let Probe::Network(object) = probe;
        if *object == intent.object {
            Ok(())
        } else {
            Err(object.clone())
        }
    }

    fn proof(intent: &Intent) -> Vec<Probe> {
        vec![Probe::Network(intent.object.clone())]
    }

    fn check(intent: &Intent, _facts: &[Fact], steps: &[Step]) -> Result<(), PlanFault> {
        for (position, step) in steps.iter().enumerate() {
            if step.object() != intent.object {
                return Err(foreign(position, step.object()));
            }
            if matches!(step, Step::Remove { .. }) != (intent.goal == Goal::Absent) {
                return Err(against(position, step));
            }
            own_names(intent, position, step)?;
        }
        Ok(())
    }

    fn met(intent: &Intent, facts: &[Fact]) -> Option<()> {
        let found = facts.iter().find_map(|fact| match fact {
            Fact::Network(fact) if fact.object == intent.object => Some(fact.found.as_ref()),
            Fact::Network(_) => None,
        })?;
        match (intent.goal, found) {
            (Goal::Absent, None) => Some(()),
            (Goal::Absent, Some(_)) | (Goal::Present, None) => None,
            (Goal::Present, Some(found)) => is_as_wanted(intent, found).then_some(()),
        }
    }

    fn action(step: &Step) -> &'static str {
        step.action()
    }
}

/// Every name, MAC and address in a step is one that the intent gives: a plugin can't reach another network, nor let a
/// port speak for another.
fn own_names(intent: &Intent, position: usize, step: &Step) -> Result<(), PlanFault> {
    let given = |given: &str, own: &str| {
        if given == own {
            Ok(())
        } else {
            Err(foreign(position, given))
        }
    };
    let known = |is_known: bool, name: &str| if is_known { Ok(()) } else { Err(foreign(position, name)) };
    match step {
        Step::MakeBridge(settings) => given(&settings.bridge, &intent.bridge),
        Step::MakeGateway(settings) => {
            given(&settings.bridge, &intent.bridge)?;
            given(&settings.namespace, &intent.namespace)?;
            given(&settings.address, &intent.gateway)?;
            given(&settings.prefix.to_string(), prefix(&intent.subnet))
        }
        Step::ServeDhcp(settings) => {
            given(&settings.namespace, &intent.namespace)?;
            given(&settings.subnet, &intent.subnet)?;
            given(&settings.gateway, &intent.gateway)?;
            settings.hosts.iter().try_for_each(|host| {
                let own = |port: &Port| port.mac == host.mac && port.address == host.address;
                known(intent.ports.iter().any(own), &host.mac)
            })
        }
        Step::SetNat(settings) => {
            given(&settings.namespace, &intent.namespace)?;
            given(&settings.subnet, &intent.subnet)?;
            if settings.enabled && !intent.nat {
                return Err(against(position, step));
            }
            Ok(())
        }
        Step::SetFilter(settings) => {
            given(&settings.bridge, &intent.bridge)?;
            given(&settings.gateway, &intent.gateway)?;
            settings
                .ports
                .iter()
                .try_for_each(|filter| known(intent.ports.iter().any(|port| is_filter_of(filter, port)), &filter.link))
        }
        Step::SetRates(settings) => settings
            .ports
            .iter()
            .try_for_each(|rate| known(intent.ports.iter().any(|port| port.link == rate.link), &rate.link)),
        Step::Remove { .. } => Ok(()),
    }
}

fn is_filter_of(filter: &PortFilter, port: &Port) -> bool {
    filter.link == port.link && filter.mac == port.mac && filter.address == port.address && filter.allow == port.allow
}

fn prefix(subnet: &str) -> &str {
    subnet.split_once('/').map_or("", |(_, prefix)| prefix)
}

/// A network serves its ports when the bridge stands, the gateway answers, and every port has its own filter.
fn is_as_wanted(intent: &Intent, found: &FoundNetwork) -> bool {
    let bridge = found
        .bridge
        .as_ref()
        .is_some_and(|bridge| bridge.bridge == intent.bridge);
    let gateway = found
        .gateway
        .as_ref()
        .is_some_and(|gateway| gateway.address == intent.gateway);
    let nat = found.nat.as_ref().is_some_and(|nat| nat.enabled) == intent.nat;
    let served = found.dhcp.as_ref().is_some_and(|dhcp| {
        let has = |port: &Port| {
            dhcp.hosts
                .iter()
                .any(|host| host.mac == port.mac && host.address == port.address)
        };
        dhcp.hosts.len() == intent.ports.len() && intent.ports.iter().all(has)
    });
    let filtered = found.filter.as_ref().is_some_and(|filter| {
        let has = |port: &Port| filter.ports.iter().any(|filter| is_filter_of(filter, port));
        filter.ports.len() == intent.ports.len() && intent.ports.iter().all(has)
    });
    bridge && gateway && nat && served && filtered
}

fn foreign(step: usize, object: &str) -> PlanFault {
    PlanFault::ForeignObject {
        step,
        object: object.to_owned(),
    }
}

fn against(position: usize, step: &Step) -> PlanFault {
    PlanFault::AgainstIntent {
        step: position,
        action: step.action(),
    }
}

#[cfg(test)]
mod tests;
