use super::*;

fn port(n: u8) -> Port {
    Port {
        id: format!("port-{n}"),
        link: format!("syt{n}"),
        mac: format!("52:54:00:00:00:{n:02x}"),
        address: format!("10.0.0.{n}"),
        hostname: format!("web{n}"),
        allow: Vec::new(),
        rate_bits: 0,
    }
}

fn intent(goal: Goal) -> Intent {
    Intent {
        object: "net".to_owned(),
        name: "net1".to_owned(),
        goal,
        bridge: "syb1".to_owned(),
        namespace: "sy-1".to_owned(),
        subnet: "10.0.0.0/24".to_owned(),
        gateway: "10.0.0.1".to_owned(),
        gateway_mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1_450,
        nat: false,
        ports: vec![port(2), port(3)],
        tunnel: None,
        peers: Vec::new(),
    }
}

fn filter(ports: &[Port]) -> FilterSettings {
    let ports = ports.iter().map(|port| PortFilter {
        link: port.link.clone(),
        mac: port.mac.clone(),
        address: port.address.clone(),
        allow: port.allow.clone(),
    });
    FilterSettings {
        object: "net".to_owned(),
        bridge: "syb1".to_owned(),
        gateway: "10.0.0.1".to_owned(),
        ports: ports.collect(),
        tunnel: None,
        peers: Vec::new(),
    }
}

fn dhcp(ports: &[Port]) -> DhcpSettings {
    let hosts = ports.iter().map(|port| DhcpHost {
        mac: port.mac.clone(),
        address: port.address.clone(),
        hostname: port.hostname.clone(),
    });
    DhcpSettings {
        object: "net".to_owned(),
        namespace: "sy-1".to_owned(),
        subnet: "10.0.0.0/24".to_owned(),
        gateway: "10.0.0.1".to_owned(),
        domain: "net1".to_owned(),
        forward: false,
        mtu: 1_450,
        hosts: hosts.collect(),
        names: Vec::new(),
    }
}

fn refused(goal: Goal, step: Step) -> bool {
    Networks::check(&intent(goal), &[], &[step]).is_err()
}

#[test]
fn a_port_never_speaks_for_another() {
    let own = filter(&[port(2), port(3)]);
    assert!(!refused(Goal::Present, Step::SetFilter(own.clone())));
    let mut swapped = own.clone();
    swapped.ports[0].address = "10.0.0.3".to_owned();
    assert!(refused(Goal::Present, Step::SetFilter(swapped)));
    let mut opened = own;
    opened.ports[0].allow.push(Rule {
        protocol: Protocol::Any,
        first: 0,
        last: 65_535,
        source: "0.0.0.0/0".to_owned(),
    });
    assert!(refused(Goal::Present, Step::SetFilter(opened)), "rules are the user's");
    let mut foreign = dhcp(&[port(2)]);
    foreign.hosts[0].address = "10.0.0.1".to_owned();
    assert!(refused(Goal::Present, Step::ServeDhcp(foreign)));
}

#[test]
fn names_are_the_hosts() {
    let bridge = |name: &str| {
        Step::MakeBridge(BridgeSettings {
            object: "net".to_owned(),
            bridge: name.to_owned(),
            mtu: 1_450,
        })
    };
    assert!(!refused(Goal::Present, bridge("syb1")));
    assert!(refused(Goal::Present, bridge("eth0")));
    assert!(refused(Goal::Absent, bridge("syb1")));
    let remove = |object: &str| Step::Remove {
        object: object.to_owned(),
    };
    assert!(!refused(Goal::Absent, remove("net")));
    assert!(refused(Goal::Absent, remove("other")));
    assert!(refused(Goal::Present, remove("net")));
    let nat = |enabled| {
        Step::SetNat(NatSettings {
            object: "net".to_owned(),
            namespace: "sy-1".to_owned(),
            subnet: "10.0.0.0/24".to_owned(),
            enabled,
        })
    };
    assert!(refused(Goal::Present, nat(true)), "nobody asked for a way out");
    assert!(!refused(Goal::Present, nat(false)));
}

#[test]
fn met_is_what_the_kernel_confirms() {
    let present = intent(Goal::Present);
    let found = |found| {
        vec![Fact::Network(NetworkFact {
            object: "net".to_owned(),
            found,
        })]
    };
    let mut whole = FoundNetwork {
        bridge: Some(BridgeSettings {
            object: "net".to_owned(),
            bridge: "syb1".to_owned(),
            mtu: 1_450,
        }),
        gateway: Some(GatewaySettings {
            object: "net".to_owned(),
            bridge: "syb1".to_owned(),
            namespace: "sy-1".to_owned(),
            address: "10.0.0.1".to_owned(),
            prefix: 24,
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: 1_450,
        }),
        dhcp: Some(dhcp(&present.ports)),
        filter: Some(filter(&present.ports)),
        ..FoundNetwork::default()
    };
    assert!(Networks::met(&present, &found(Some(whole.clone()))).is_some());
    assert!(Networks::met(&intent(Goal::Absent), &found(Some(whole.clone()))).is_none());
    assert!(Networks::met(&intent(Goal::Absent), &found(None)).is_some());
    whole.filter = Some(filter(&[port(2)]));
    assert!(
        Networks::met(&present, &found(Some(whole))).is_none(),
        "a port has no filter"
    );
    assert!(Networks::met(&present, &[]).is_none());
}

fn peer(n: u8) -> Peer {
    Peer {
        mac: format!("52:54:00:00:01:{n:02x}"),
        address: format!("10.0.0.{n}"),
        hostname: format!("far{n}"),
        remote: "10.9.0.2:4789".to_owned(),
    }
}

fn spread() -> Intent {
    Intent {
        tunnel: Some(Tunnel {
            link: "syv1".to_owned(),
            vni: 77,
            local: "10.9.0.1:4789".to_owned(),
        }),
        peers: vec![peer(12), peer(13)],
        ..intent(Goal::Present)
    }
}

fn tunnel() -> TunnelSettings {
    TunnelSettings {
        object: "net".to_owned(),
        bridge: "syb1".to_owned(),
        link: "syv1".to_owned(),
        vni: 77,
        mtu: 1_450,
        local: "10.9.0.1:4789".to_owned(),
    }
}

fn routes(peers: &[Peer]) -> PeersSettings {
    let route = |peer: &Peer| Route {
        mac: peer.mac.clone(),
        address: peer.address.clone(),
        remote: peer.remote.clone(),
    };
    PeersSettings {
        object: "net".to_owned(),
        bridge: "syb1".to_owned(),
        link: "syv1".to_owned(),
        peers: peers.iter().map(route).collect(),
    }
}

fn spread_filter(peers: &[Peer]) -> FilterSettings {
    let voice = |peer: &Peer| PeerFilter {
        mac: peer.mac.clone(),
        address: peer.address.clone(),
    };
    FilterSettings {
        tunnel: Some("syv1".to_owned()),
        peers: peers.iter().map(voice).collect(),
        ..filter(&spread().ports)
    }
}

#[test]
fn peers_are_exactly_those_of_the_intent() {
    let refused = |step: Step| Networks::check(&spread(), &[], &[step]).is_err();
    assert!(!refused(Step::SetPeers(routes(&spread().peers))));
    assert!(!refused(Step::SetPeers(routes(&[peer(13), peer(12)]))), "in any order");
    assert!(refused(Step::SetPeers(routes(&[peer(12)]))), "one is missing");
    assert!(refused(Step::SetPeers(routes(&[peer(12), peer(13), peer(14)]))));
    assert!(refused(Step::SetPeers(routes(&[peer(12), peer(12)]))));
    let mut astray = routes(&spread().peers);
    astray.peers[0].remote = "10.9.0.3:4789".to_owned();
    assert!(refused(Step::SetPeers(astray)), "packets would go elsewhere");
    let mut elsewhere = routes(&spread().peers);
    elsewhere.link = "syv2".to_owned();
    assert!(refused(Step::SetPeers(elsewhere)));
    // The filter.
    assert!(!refused(Step::SetFilter(spread_filter(&spread().peers))));
    assert!(refused(Step::SetFilter(spread_filter(&[peer(12)]))));
    let mut swapped = spread_filter(&spread().peers);
    swapped.peers[0].address = "10.0.0.2".to_owned();
    assert!(
        refused(Step::SetFilter(swapped)),
        "it would speak for a port of this node"
    );
    // Names that DNS knows.
    let mut named = dhcp(&spread().ports);
    named.names.push(DnsName {
        address: "10.0.0.12".to_owned(),
        hostname: "far12".to_owned(),
    });
    assert!(!refused(Step::ServeDhcp(named.clone())));
    named.names[0].hostname = "bank".to_owned();
    assert!(refused(Step::ServeDhcp(named)));
}

#[test]
fn a_tunnel_is_the_networks_own() {
    let check = |intent: &Intent, step: Step| Networks::check(intent, &[], &[step]).is_err();
    let (alone, spread) = (intent(Goal::Present), spread());
    assert!(!check(&spread, Step::MakeTunnel(tunnel())));
    assert!(check(&alone, Step::MakeTunnel(tunnel())), "nobody is elsewhere");
    let odd: [fn(&mut TunnelSettings); 5] = [
        |tunnel| tunnel.vni = 78,
        |tunnel| tunnel.bridge = "syb2".to_owned(),
        |tunnel| tunnel.link = "eth0".to_owned(),
        |tunnel| tunnel.mtu = 1_500,
        |tunnel| tunnel.local = "10.9.0.2:4789".to_owned(),
    ];
    for change in odd {
        let mut changed = tunnel();
        change(&mut changed);
        assert!(check(&spread, Step::MakeTunnel(changed.clone())), "{changed:?}");
    }
    let drop = Step::DropTunnel {
        object: "net".to_owned(),
    };
    assert!(check(&spread, drop.clone()) && !check(&alone, drop));
}

#[test]
fn a_spread_network_is_met_when_each_peer_is_routed_and_heard() {
    let intent = spread();
    let whole = FoundNetwork {
        bridge: Some(BridgeSettings {
            object: "net".to_owned(),
            bridge: "syb1".to_owned(),
            mtu: 1_450,
        }),
        gateway: Some(GatewaySettings {
            object: "net".to_owned(),
            bridge: "syb1".to_owned(),
            namespace: "sy-1".to_owned(),
            address: "10.0.0.1".to_owned(),
            prefix: 24,
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: 1_450,
        }),
        dhcp: Some(dhcp(&intent.ports)),
        filter: Some(spread_filter(&intent.peers)),
        tunnel: Some(tunnel()),
        peers: Some(routes(&intent.peers)),
        ..FoundNetwork::default()
    };
    let met = |intent: &Intent, change: fn(&mut FoundNetwork)| {
        let mut found = whole.clone();
        change(&mut found);
        let fact = Fact::Network(NetworkFact {
            object: "net".to_owned(),
            found: Some(found),
        });
        Networks::met(intent, &[fact]).is_some()
    };
    assert!(met(&intent, |_| {}));
    assert!(!met(&intent, |found| found.tunnel = None));
    assert!(!met(&intent, |found| found.peers = None));
    assert!(!met(&intent, |found| found.peers = Some(routes(&[peer(12)]))));
    assert!(!met(&intent, |found| found.filter = Some(spread_filter(&[peer(13)]))));
    assert!(!met(&intent, |found| found.tunnel.as_mut().unwrap().vni = 78));
    assert!(!met(&intent, |found| found.bridge.as_mut().unwrap().mtu = 1_500));
    let alone = self::intent(Goal::Present);
    assert!(!met(&alone, |_| {}), "a tunnel that nobody wants is to go");
    assert!(met(&alone, |found| (found.tunnel, found.peers) = (None, None)));
}
