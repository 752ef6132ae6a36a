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
        nat: false,
        ports: vec![port(2), port(3)],
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
        hosts: hosts.collect(),
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
        }),
        gateway: Some(GatewaySettings {
            object: "net".to_owned(),
            bridge: "syb1".to_owned(),
            namespace: "sy-1".to_owned(),
            address: "10.0.0.1".to_owned(),
            prefix: 24,
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
