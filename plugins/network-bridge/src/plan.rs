//! The steps from what there is of a network to what is wanted.

use symphony_sdk::driver::Refusal;
use symphony_sdk::driver::network::{
    BridgeSettings, DhcpHost, DhcpSettings, DnsName, FilterSettings, FoundNetwork, GatewaySettings, Intent,
    NatSettings, Peer, PeerFilter, PeersSettings, Port, PortFilter, PortRate, RateSettings, Route, Step, Tunnel,
    TunnelSettings,
};

/// Ports of one network on one node.
const PORTS_MAX: usize = 1024;
/// Ports of one network on all other nodes together.
const PEERS_MAX: usize = 2048;

/// Nothing is to be left.
pub(crate) fn absent(intent: &Intent, found: Option<&FoundNetwork>) -> Vec<Step> {
    found.map(|_| Step::Remove(intent.object.clone())).into_iter().collect()
}

/// It is to be there, with its ports and no others.
pub(crate) fn present(intent: &Intent, found: Option<&FoundNetwork>) -> Result<Vec<Step>, Refusal> {
    let prefix = check(intent)?;
    // Always in the same order: who asks for ports in another one wants nothing else.
    let mut ports: Vec<&Port> = intent.ports.iter().collect();
    ports.sort_by(|one, other| one.id.cmp(&other.id));
    let mut peers: Vec<&Peer> = intent.peers.iter().collect();
    peers.sort_by(|one, other| one.mac.cmp(&other.mac));
    let wanted = Wanted {
        intent,
        ports: &ports,
        peers: &peers,
        prefix,
    };
    let nothing = FoundNetwork {
        bridge: None,
        gateway: None,
        dhcp: None,
        nat: None,
        filter: None,
        rates: None,
        tunnel: None,
        peers: None,
    };
    let found = found.unwrap_or(&nothing);
    let (nat, rates) = (wanted.nat(), wanted.rates());
    // No way out is as good as one that is closed, and no limits are as good as limits for nobody.
    let has_nat = found.nat.as_ref().map_or(!nat.enabled, |found| *found == nat);
    let has_rates = found
        .rates
        .as_ref()
        .map_or(rates.ports.is_empty(), |found| *found == rates);
    let [tunnel, peers] = wanted.tunnel_steps(found);
    let steps = [
        missing(found.bridge.as_ref(), wanted.bridge()).map(Step::MakeBridge),
        missing(found.filter.as_ref(), wanted.filter()).map(Step::SetFilter),
        tunnel,
        peers,
        missing(found.gateway.as_ref(), wanted.gateway()).map(Step::MakeGateway),
        (!has_nat).then_some(Step::SetNat(nat)),
        missing(found.dhcp.as_ref(), wanted.dhcp()).map(Step::ServeDhcp),
        (!has_rates).then_some(Step::SetRates(rates)),
    ];
    Ok(steps.into_iter().flatten().collect())
}

/// What is wanted, unless it is there.
fn missing<T: PartialEq>(found: Option<&T>, wanted: T) -> Option<T> {
    (found != Some(&wanted)).then_some(wanted)
}

/// Each part as it should be.
struct Wanted<'a> {
    intent: &'a Intent,
    ports: &'a [&'a Port],
    peers: &'a [&'a Peer],
    prefix: u8,
}

impl Wanted<'_> {
    fn object(&self) -> String {
        self.intent.object.clone()
    }

    fn bridge(&self) -> BridgeSettings {
        BridgeSettings {
            object: self.object(),
            bridge: self.intent.bridge.clone(),
            mtu: self.intent.mtu,
        }
    }

    /// The tunnel and its routes, or the end of both. A tunnel that is made anew has no routes, whatever was found.
    fn tunnel_steps(&self, found: &FoundNetwork) -> [Option<Step>; 2] {
        let Some(tunnel) = &self.intent.tunnel else {
            let is_left = found.tunnel.is_some() || found.peers.is_some();
            return [is_left.then(|| Step::DropTunnel(self.object())), None];
        };
        let tunnel_wanted = self.tunnel(tunnel);
        let has_tunnel = found.bridge.is_some() && found.tunnel.as_ref() == Some(&tunnel_wanted);
        let peers = self.routes(tunnel);
        let has_peers = has_tunnel && found.peers.as_ref() == Some(&peers);
        [
            (!has_tunnel).then_some(Step::MakeTunnel(tunnel_wanted)),
            (!has_peers).then_some(Step::SetPeers(peers)),
        ]
    }

    fn tunnel(&self, tunnel: &Tunnel) -> TunnelSettings {
        TunnelSettings {
            object: self.object(),
            bridge: self.intent.bridge.clone(),
            link: tunnel.link.clone(),
            vni: tunnel.vni,
            mtu: self.intent.mtu,
            local: tunnel.local.clone(),
        }
    }

    fn routes(&self, tunnel: &Tunnel) -> PeersSettings {
        PeersSettings {
            object: self.object(),
            bridge: self.intent.bridge.clone(),
            link: tunnel.link.clone(),
            peers: self.peers.iter().map(|peer| route_of(peer)).collect(),
        }
    }

    fn filter(&self) -> FilterSettings {
        FilterSettings {
            object: self.object(),
            bridge: self.intent.bridge.clone(),
            gateway: self.intent.gateway.clone(),
            ports: self.ports.iter().map(|port| filter_of(port)).collect(),
            tunnel: self.intent.tunnel.as_ref().map(|tunnel| tunnel.link.clone()),
            peers: self.peers.iter().map(|peer| voice_of(peer)).collect(),
        }
    }

    fn gateway(&self) -> GatewaySettings {
        GatewaySettings {
            object: self.object(),
            bridge: self.intent.bridge.clone(),
            namespace: self.intent.namespace.clone(),
            address: self.intent.gateway.clone(),
            prefix: self.prefix,
            mac: self.intent.gateway_mac.clone(),
            mtu: self.intent.mtu,
        }
    }

    fn nat(&self) -> NatSettings {
        NatSettings {
            object: self.object(),
            namespace: self.intent.namespace.clone(),
            subnet: self.intent.subnet.clone(),
            enabled: self.intent.nat,
        }
    }

    fn dhcp(&self) -> DhcpSettings {
        DhcpSettings {
            object: self.object(),
            namespace: self.intent.namespace.clone(),
            subnet: self.intent.subnet.clone(),
            gateway: self.intent.gateway.clone(),
            domain: self.intent.name.clone(),
            // Who may not reach the outside asks for none of its names either.
            forward: self.intent.nat,
            mtu: self.intent.mtu,
            hosts: self.ports.iter().map(|port| host_of(port)).collect(),
            names: self.peers.iter().map(|peer| name_of(peer)).collect(),
        }
    }

    fn rates(&self) -> RateSettings {
        RateSettings {
            object: self.object(),
            ports: self.ports.iter().filter_map(|port| rate_of(port)).collect(),
        }
    }
}

fn filter_of(port: &Port) -> PortFilter {
    PortFilter {
        link: port.link.clone(),
        mac: port.mac.clone(),
        address: port.address.clone(),
        allow: port.allow.clone(),
    }
}

fn host_of(port: &Port) -> DhcpHost {
    DhcpHost {
        mac: port.mac.clone(),
        address: port.address.clone(),
        hostname: port.hostname.clone(),
    }
}

fn voice_of(peer: &Peer) -> PeerFilter {
    PeerFilter {
        mac: peer.mac.clone(),
        address: peer.address.clone(),
    }
}

fn route_of(peer: &Peer) -> Route {
    Route {
        mac: peer.mac.clone(),
        address: peer.address.clone(),
        remote: peer.remote.clone(),
    }
}

fn name_of(peer: &Peer) -> DnsName {
    DnsName {
        address: peer.address.clone(),
        hostname: peer.hostname.clone(),
    }
}

fn rate_of(port: &Port) -> Option<PortRate> {
    (port.rate_bits > 0).then(|| PortRate {
        link: port.link.clone(),
        rate_bits: port.rate_bits,
    })
}

/// What can never be met, whatever there is. Gives the length of the subnet's prefix.
fn check(intent: &Intent) -> Result<u8, Refusal> {
    if intent.ports.len() > PORTS_MAX {
        return Err(Refusal::Invalid(format!(
            "{} ports on one node are over the limit of {PORTS_MAX}",
            intent.ports.len()
        )));
    }
    if intent.peers.len() > PEERS_MAX {
        return Err(Refusal::Invalid(format!(
            "{} ports on other nodes are over the limit of {PEERS_MAX}",
            intent.peers.len()
        )));
    }
    let prefix = intent
        .subnet
        .split_once('/')
        .and_then(|(_, prefix)| prefix.parse().ok());
    prefix.filter(|prefix| (8..=30).contains(prefix)).ok_or_else(|| {
        Refusal::Invalid(format!(
            "{:?} is not a subnet of 4 to 16,777,216 addresses",
            intent.subnet
        ))
    })
}
