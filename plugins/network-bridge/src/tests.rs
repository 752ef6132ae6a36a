//! The driver against a simulated node: from every state that a kill or an accident can leave.

use std::collections::HashSet;

use symphony_sdk::NetworkDriver;
use symphony_sdk::driver::network::{Fact, Intent, NetworkFact, Peer, Port, Protocol, Rule, Step, Tunnel};
use symphony_sdk::driver::{Goal, Refusal};

use crate::Bridge;
use crate::simulated::Node;

fn port(n: u8) -> Port {
    Port {
        id: format!("p{n}"),
        link: format!("syt{n}"),
        mac: format!("52:54:00:00:00:{n:02x}"),
        address: format!("10.0.0.{n}"),
        hostname: format!("web{n}"),
        allow: Vec::new(),
        rate_bits: 0,
    }
}

fn network(ports: &[u8]) -> Intent {
    Intent {
        object: "n1".to_owned(),
        name: "net1".to_owned(),
        goal: Goal::Present,
        bridge: "syb1".to_owned(),
        namespace: "sy-1".to_owned(),
        subnet: "10.0.0.0/24".to_owned(),
        gateway: "10.0.0.1".to_owned(),
        gateway_mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1_450,
        nat: false,
        ports: ports.iter().copied().map(port).collect(),
        tunnel: None,
        peers: Vec::new(),
    }
}

fn peer(n: u8) -> Peer {
    Peer {
        mac: format!("52:54:00:00:01:{n:02x}"),
        address: format!("10.0.0.{n}"),
        hostname: format!("far{n}"),
        remote: "10.9.0.2:4789".to_owned(),
    }
}

/// With machines on another node.
fn spread(ports: &[u8], peers: &[u8]) -> Intent {
    Intent {
        tunnel: Some(Tunnel {
            link: "syv1".to_owned(),
            vni: 77,
            local: "10.9.0.1:4789".to_owned(),
        }),
        peers: peers.iter().copied().map(peer).collect(),
        ..network(ports)
    }
}

/// The same, of a node that is reached elsewhere now.
fn moved() -> Intent {
    let mut intent = spread(&[2], &[12, 13]);
    intent.tunnel.as_mut().unwrap().local = "10.9.0.9:4789".to_owned();
    intent.mtu = 8_950;
    intent
}

fn limited() -> Intent {
    let http = Rule {
        protocol: Protocol::Tcp,
        first: 80,
        last: 80,
        source: "0.0.0.0/0".to_owned(),
    };
    let slow = Port {
        rate_bits: 1_000_000,
        allow: vec![http],
        ..port(2)
    };
    Intent {
        ports: vec![slow, port(3)],
        ..with_nat()
    }
}

fn with_nat() -> Intent {
    Intent {
        nat: true,
        ..network(&[2, 3])
    }
}

fn gone() -> Intent {
    Intent {
        goal: Goal::Absent,
        ..network(&[])
    }
}

const EMPTY: Node = Node { found: None };

fn plan(intent: &Intent, node: &Node) -> Result<Vec<Step>, Refusal> {
    Bridge.plan(intent, &node.facts(&Bridge.probes(intent)))
}

fn names(steps: &[Step]) -> Vec<&'static str> {
    let name = |step: &Step| match step {
        Step::MakeBridge(_) => "make-bridge",
        Step::SetFilter(_) => "set-filter",
        Step::MakeGateway(_) => "make-gateway",
        Step::SetNat(_) => "set-nat",
        Step::ServeDhcp(_) => "serve-dhcp",
        Step::SetRates(_) => "set-rates",
        Step::MakeTunnel(_) => "make-tunnel",
        Step::SetPeers(_) => "set-peers",
        Step::DropTunnel(_) => "drop-tunnel",
        Step::Remove(_) => "remove",
    };
    steps.iter().map(name).collect()
}

/// Runs plans until there is none left; gives the node and how many plans it took.
fn settled(intent: &Intent, mut node: Node) -> (Node, usize) {
    for rounds in 0..4 {
        let steps = plan(intent, &node).unwrap();
        if steps.is_empty() {
            check_goal(intent, &node);
            return (node, rounds);
        }
        for step in &steps {
            node.run(step, false)
                .unwrap_or_else(|error| panic!("{step:?}: {error}"));
            check_filter(&node);
        }
    }
    panic!("the plan never ends: {node:?}");
}

fn check_goal(intent: &Intent, node: &Node) {
    let Some(found) = &node.found else {
        assert_eq!(intent.goal, Goal::Absent);
        return;
    };
    assert_eq!(intent.goal, Goal::Present);
    assert_eq!(found.bridge.as_ref().unwrap().bridge, intent.bridge);
    assert_eq!(found.gateway.as_ref().unwrap().address, intent.gateway);
    assert_eq!(found.nat.as_ref().is_some_and(|nat| nat.enabled), intent.nat);
    assert_eq!(found.filter.as_ref().unwrap().ports.len(), intent.ports.len());
    assert_eq!(found.dhcp.as_ref().unwrap().hosts.len(), intent.ports.len());
    assert_eq!(found.tunnel.is_some(), intent.tunnel.is_some());
    assert_eq!(
        found.peers.as_ref().map_or(0, |peers| peers.peers.len()),
        intent.peers.len()
    );
    assert_eq!(found.filter.as_ref().unwrap().peers.len(), intent.peers.len());
    assert_eq!(found.dhcp.as_ref().unwrap().names.len(), intent.peers.len());
    let limited = intent.ports.iter().filter(|port| port.rate_bits > 0).count();
    assert_eq!(found.rates.as_ref().map_or(0, |rates| rates.ports.len()), limited);
}

/// Nothing answers on a network that has no filter, unless somebody took the filter away.
fn check_filter(node: &Node) {
    let Some(found) = &node.found else { return };
    if found.filter.is_none() {
        let steps = names(&plan(&network(&[2]), node).unwrap());
        let filter = steps.iter().position(|step| *step == "set-filter").unwrap();
        assert!(
            filter <= 1,
            "the filter is set first, or right after the bridge: {steps:?}"
        );
    }
}

#[test]
fn plans_in_words() {
    let after = |intent: &Intent| settled(intent, EMPTY).0;
    let cases = [
        (
            network(&[2]),
            EMPTY,
            vec!["make-bridge", "set-filter", "make-gateway", "serve-dhcp"],
        ),
        (
            limited(),
            EMPTY,
            vec![
                "make-bridge",
                "set-filter",
                "make-gateway",
                "set-nat",
                "serve-dhcp",
                "set-rates",
            ],
        ),
        (
            network(&[2, 3]),
            after(&network(&[2])),
            vec!["set-filter", "serve-dhcp"],
        ),
        (network(&[3, 2]), after(&network(&[2, 3])), vec![]),
        (network(&[2, 3]), after(&with_nat()), vec!["set-nat", "serve-dhcp"]),
        (with_nat(), after(&limited()), vec!["set-filter", "set-rates"]),
        (limited(), after(&limited()), vec![]),
        (
            spread(&[2], &[12]),
            EMPTY,
            vec![
                "make-bridge",
                "set-filter",
                "make-tunnel",
                "set-peers",
                "make-gateway",
                "serve-dhcp",
            ],
        ),
        (
            spread(&[2], &[12, 13]),
            after(&spread(&[2], &[12])),
            vec!["set-filter", "set-peers", "serve-dhcp"],
        ),
        (spread(&[2], &[13, 12]), after(&spread(&[2], &[12, 13])), vec![]),
        (
            network(&[2]),
            after(&spread(&[2], &[12])),
            vec!["set-filter", "drop-tunnel", "serve-dhcp"],
        ),
        (
            moved(),
            after(&spread(&[2], &[12, 13])),
            vec!["make-bridge", "make-tunnel", "set-peers", "make-gateway", "serve-dhcp"],
        ),
        (gone(), after(&moved()), vec!["remove"]),
        (gone(), after(&limited()), vec!["remove"]),
        (gone(), EMPTY, vec![]),
    ];
    for (intent, node, wanted) in cases {
        assert_eq!(names(&plan(&intent, &node).unwrap()), wanted, "{node:?}");
    }
}

/// Most states that are looked at, in the order in which they are reached.
const STATES_MAX: usize = 1_500;

/// The states that a kill between or in the middle of steps or an accident can leave, of every intent: from each of
/// them the plan ends in what is wanted, every step may be done twice, and one plan is enough.
fn every_state_leads_to(intents: &[Intent]) {
    let mut states = vec![EMPTY];
    let mut known: HashSet<String> = HashSet::from([format!("{EMPTY:?}")]);
    let mut next = 0;
    while next < states.len().min(STATES_MAX) {
        let state = states[next].clone();
        next += 1;
        let mut reached = if next < 100 { state.accidents() } else { Vec::new() };
        for intent in intents {
            let (_, rounds) = settled(intent, state.clone());
            assert!(rounds <= 1, "from {state:?} a second plan was needed");
            let mut node = state.clone();
            for step in &plan(intent, &state).unwrap() {
                let mut cut = node.clone();
                cut.run(step, true).unwrap();
                node.run(step, false).unwrap();
                let mut twice = node.clone();
                twice.run(step, false).unwrap();
                assert_eq!(twice, node, "{step:?} is not safe to repeat");
                reached.extend([cut, node.clone()]);
            }
        }
        states.extend(reached.into_iter().filter(|node| known.insert(format!("{node:?}"))));
    }
    assert!(next > 100, "only {next} states were reached");
}

#[test]
fn every_state_leads_to_the_goal() {
    every_state_leads_to(&[network(&[]), network(&[2]), with_nat(), limited(), gone()]);
}

#[test]
fn every_state_of_a_tunnel_leads_to_the_goal() {
    every_state_leads_to(&[network(&[2]), spread(&[2], &[12]), moved(), gone()]);
}

#[test]
fn what_a_port_may_do_is_what_was_asked_for() {
    let steps = plan(&limited(), &EMPTY).unwrap();
    let filter = steps.iter().find_map(|step| match step {
        Step::SetFilter(filter) => Some(filter),
        _ => None,
    });
    let filter = filter.unwrap();
    for (filtered, port) in filter.ports.iter().zip(&limited().ports) {
        assert_eq!(
            (&filtered.link, &filtered.mac, &filtered.address, &filtered.allow),
            (&port.link, &port.mac, &port.address, &port.allow)
        );
    }
    let rates = steps.iter().find_map(|step| match step {
        Step::SetRates(rates) => Some(&rates.ports),
        _ => None,
    });
    assert_eq!(rates.unwrap().len(), 1);
}

#[test]
fn the_most_ports_fit_and_more_are_refused() {
    let many = |count: usize| Intent {
        ports: vec![port(2); count],
        ..network(&[])
    };
    assert!(plan(&many(1024), &EMPTY).is_ok());
    assert!(matches!(plan(&many(1025), &EMPTY), Err(Refusal::Invalid(_))));
    let far = |count: usize| Intent {
        peers: vec![peer(2); count],
        ..spread(&[2], &[])
    };
    assert!(plan(&far(2048), &EMPTY).is_ok());
    assert!(matches!(plan(&far(2049), &EMPTY), Err(Refusal::Invalid(_))));
    for subnet in ["10.0.0.0", "10.0.0.0/7", "10.0.0.0/31", "10.0.0.0/x", ""] {
        let odd = Intent {
            subnet: subnet.to_owned(),
            ..network(&[])
        };
        assert!(matches!(plan(&odd, &EMPTY), Err(Refusal::Invalid(_))), "{subnet}");
    }
}

#[test]
fn a_missing_fact_is_unknown_not_absent() {
    let other = Fact::Network(NetworkFact {
        object: "n2".to_owned(),
        found: None,
    });
    for facts in [vec![], vec![other]] {
        for intent in [network(&[2]), gone()] {
            let answer = Bridge.plan(&intent, &facts);
            assert!(matches!(answer, Err(Refusal::Unavailable(_))), "{facts:?}: {answer:?}");
        }
    }
}
