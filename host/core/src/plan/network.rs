//! Networks: the intent, the facts and the steps of `wit/network-driver.wit`, and the check on a plan.

mod check;
mod intent;
mod settings;

use serde::{Deserialize, Serialize};

use crate::plugin::Slot;

use super::{Goal, Kind, PlanFault};

pub use settings::{
    BridgeSettings, DhcpHost, DhcpSettings, DnsName, FilterSettings, GatewaySettings, NatSettings, PeerFilter,
    PeersSettings, PortFilter, PortRate, RateSettings, Route, TunnelSettings,
};

use check::{against, foreign, is_as_wanted, own_names};

/// Most ports of one network on one node.
pub const PORTS_MAX: usize = 1_024;
/// Most ports of one network on all other nodes together, as one node sees them: a plan with all of them fits in one frame
/// between manager and agent.
pub const PEERS_MAX: usize = 2_048;

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

/// How a node takes part in a network that other nodes are in too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its link; at most 15 bytes.
    pub link: String,
    /// The network's number.
    pub vni: u32,
    /// Where this node is reached: `10.0.0.5:4789`.
    pub local: String,
}

/// A machine's port that is on another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// `52:54:00:12:34:56`.
    pub mac: String,
    /// Its address.
    pub address: String,
    /// What DNS calls it.
    pub hostname: String,
    /// Where its node is reached: `10.0.0.6:4789`.
    pub remote: String,
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
    /// The gateway's MAC, the same on every node.
    pub gateway_mac: String,
    /// The longest packet, in bytes.
    pub mtu: u16,
    /// Whether machines may reach the outside.
    pub nat: bool,
    /// Those on this node; at most [`PORTS_MAX`].
    pub ports: Vec<Port>,
    /// Nothing: no other node is in the network, or none can be reached.
    pub tunnel: Option<Tunnel>,
    /// Those on other nodes; at most [`PEERS_MAX`].
    pub peers: Vec<Peer>,
}

/// A fact that a driver needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// What there is of the network.
    Network(String),
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
    /// The tunnel.
    #[serde(default)]
    pub tunnel: Option<TunnelSettings>,
    /// Its routes.
    #[serde(default)]
    pub peers: Option<PeersSettings>,
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
    /// Makes the tunnel.
    MakeTunnel(TunnelSettings),
    /// Sets its routes.
    SetPeers(PeersSettings),
    /// Removes the tunnel and its routes.
    DropTunnel {
        /// Of which network.
        object: String,
    },
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
            Self::MakeTunnel(_) => "make-tunnel",
            Self::SetPeers(_) => "set-peers",
            Self::DropTunnel { .. } => "drop-tunnel",
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
            Self::MakeTunnel(settings) => &settings.object,
            Self::SetPeers(settings) => &settings.object,
            Self::DropTunnel { object } | Self::Remove { object } => object,
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

#[cfg(test)]
mod tests;
