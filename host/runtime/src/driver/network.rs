//! Networks, between core's types and those of `wit/network-driver.wit`.

use symphony_core::plan::network::{
    BridgeSettings, DhcpHost, DhcpSettings, DnsName, Fact, FilterSettings, FoundNetwork, GatewaySettings, Intent,
    NatSettings, Networks, Peer, PeerFilter, PeersSettings, Port, PortFilter, PortRate, Probe, Protocol, RateSettings,
    Route, Rule, Step, Tunnel, TunnelSettings,
};

use crate::bindings::network::exports::symphony::plugin::network_driver as wit;

super::glue::glue!(Networks, wit);

/// `alike!(TO, FROM, RECORD: PLAIN, …; NESTED: THERE, BACK, …)`: both translations of a record whose fields have the
/// same names on both sides. Plain fields are moved, nested ones are lists and translated one by one.
macro_rules! alike {
    ($to:ident, $from:ident, $name:ident: $($plain:ident),* $(; $nested:ident: $there:ident, $back:ident)*) => {
        fn $to(value: $name) -> wit::$name {
            wit::$name {
                $($plain: value.$plain,)*
                $($nested: value.$nested.into_iter().map($there).collect(),)*
            }
        }

        fn $from(value: wit::$name) -> $name {
            $name {
                $($plain: value.$plain,)*
                $($nested: value.$nested.into_iter().map($back).collect(),)*
            }
        }
    };
}

alike!(bridge_to, bridge_from, BridgeSettings: object, bridge, mtu);
alike!(gateway_to, gateway_from, GatewaySettings: object, bridge, namespace, address, prefix, mac, mtu);
alike!(host_to, host_from, DhcpHost: mac, address, hostname);
alike!(name_to, name_from, DnsName: address, hostname);
alike!(
    dhcp_to, dhcp_from,
    DhcpSettings: object, namespace, subnet, gateway, domain, forward, mtu;
    hosts: host_to, host_from; names: name_to, name_from
);
alike!(nat_to, nat_from, NatSettings: object, namespace, subnet, enabled);
alike!(filter_to, filter_from, PortFilter: link, mac, address; allow: rule_to, rule_from);
alike!(voice_to, voice_from, PeerFilter: mac, address);
alike!(
    filters_to, filters_from,
    FilterSettings: object, bridge, gateway, tunnel; ports: filter_to, filter_from; peers: voice_to, voice_from
);
alike!(tunnel_to, tunnel_from, TunnelSettings: object, bridge, link, vni, mtu, local);
alike!(route_to, route_from, Route: mac, address, remote);
alike!(peers_to, peers_from, PeersSettings: object, bridge, link; peers: route_to, route_from);
alike!(rate_to, rate_from, PortRate: link, rate_bits);
alike!(rates_to, rates_from, RateSettings: object; ports: rate_to, rate_from);

fn rule_to(rule: Rule) -> wit::Rule {
    wit::Rule {
        protocol: match rule.protocol {
            Protocol::Any => wit::Protocol::Any,
            Protocol::Tcp => wit::Protocol::Tcp,
            Protocol::Udp => wit::Protocol::Udp,
            Protocol::Icmp => wit::Protocol::Icmp,
        },
        first: rule.first,
        last: rule.last,
        source: rule.source,
    }
}

fn rule_from(rule: wit::Rule) -> Rule {
    Rule {
        protocol: match rule.protocol {
            wit::Protocol::Any => Protocol::Any,
            wit::Protocol::Tcp => Protocol::Tcp,
            wit::Protocol::Udp => Protocol::Udp,
            wit::Protocol::Icmp => Protocol::Icmp,
        },
        first: rule.first,
        last: rule.last,
        source: rule.source,
    }
}

fn intent(intent: &Intent) -> wit::Intent {
    wit::Intent {
        object: intent.object.clone(),
        name: intent.name.clone(),
        goal: super::goal(intent.goal),
        bridge: intent.bridge.clone(),
        namespace: intent.namespace.clone(),
        subnet: intent.subnet.clone(),
        gateway: intent.gateway.clone(),
        gateway_mac: intent.gateway_mac.clone(),
        mtu: intent.mtu,
        nat: intent.nat,
        ports: intent.ports.iter().cloned().map(port).collect(),
        tunnel: intent.tunnel.clone().map(tunnel),
        peers: intent.peers.iter().cloned().map(peer).collect(),
    }
}

fn tunnel(tunnel: Tunnel) -> wit::Tunnel {
    wit::Tunnel {
        link: tunnel.link,
        vni: tunnel.vni,
        local: tunnel.local,
    }
}

fn peer(peer: Peer) -> wit::Peer {
    wit::Peer {
        mac: peer.mac,
        address: peer.address,
        hostname: peer.hostname,
        remote: peer.remote,
    }
}

fn port(port: Port) -> wit::Port {
    wit::Port {
        id: port.id,
        link: port.link,
        mac: port.mac,
        address: port.address,
        hostname: port.hostname,
        allow: port.allow.into_iter().map(rule_to).collect(),
        rate_bits: port.rate_bits,
    }
}

fn fact(fact: &Fact) -> wit::Fact {
    let Fact::Network(fact) = fact;
    wit::Fact::Network(wit::NetworkFact {
        object: fact.object.clone(),
        found: fact.found.clone().map(found),
    })
}

fn found(found: FoundNetwork) -> wit::FoundNetwork {
    wit::FoundNetwork {
        bridge: found.bridge.map(bridge_to),
        gateway: found.gateway.map(gateway_to),
        dhcp: found.dhcp.map(dhcp_to),
        nat: found.nat.map(nat_to),
        filter: found.filter.map(filters_to),
        rates: found.rates.map(rates_to),
        tunnel: found.tunnel.map(tunnel_to),
        peers: found.peers.map(peers_to),
    }
}

fn probe(said: wit::Probe) -> Probe {
    let wit::Probe::Network(object) = said;
    Probe::Network(object)
}

fn step(said: wit::Step) -> Step {
    match said {
        wit::Step::MakeBridge(said) => Step::MakeBridge(bridge_from(said)),
        wit::Step::MakeGateway(said) => Step::MakeGateway(gateway_from(said)),
        wit::Step::ServeDhcp(said) => Step::ServeDhcp(dhcp_from(said)),
        wit::Step::SetNat(said) => Step::SetNat(nat_from(said)),
        wit::Step::SetFilter(said) => Step::SetFilter(filters_from(said)),
        wit::Step::SetRates(said) => Step::SetRates(rates_from(said)),
        wit::Step::MakeTunnel(said) => Step::MakeTunnel(tunnel_from(said)),
        wit::Step::SetPeers(said) => Step::SetPeers(peers_from(said)),
        wit::Step::DropTunnel(object) => Step::DropTunnel { object },
        wit::Step::Remove(object) => Step::Remove { object },
    }
}
