//! What a network is from its first step to its removal, and what is refused.

use symphony_core::plan::network::{PEERS_MAX, PORTS_MAX, Probe, Step};
use symphony_network::{NetworkError, Networks};

use crate::machine::Machine;
use crate::net::Net;
use crate::node::{all, node, sh};

#[test]
fn a_removal_leaves_nothing_and_only_of_its_own() {
    node("life::a_removal_leaves_nothing_and_only_of_its_own", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let mut other = Net::new(2, &[2]);
        other.nat = true;
        other.build(&networks).await;
        sh("nft add table inet someone && nft add table bridge someone");
        let before = all();
        let mut net = Net::new(1, &[2]);
        net.nat = true;
        // Cut after each number of steps; with none there is nothing to remove.
        for count in 0..=net.steps().len() {
            for step in &net.steps()[..count] {
                networks.run(step).await.unwrap();
            }
            assert_eq!(net.found(&networks).await.is_some(), count > 0);
            networks.run(&net.remove()).await.unwrap();
            networks.run(&net.remove()).await.unwrap();
            assert_eq!(all(), before, "after {count} steps");
            assert_eq!(net.found(&networks).await, None);
            assert!(!dir.path().join(net.object()).exists());
        }
        other.assert_stands(&networks).await;
    });
}

#[test]
fn steps_may_be_repeated_by_another_process() {
    node("life::steps_may_be_repeated_by_another_process", async || {
        let dir = tempfile::tempdir().unwrap();
        let mut net = Net::new(1, &[2]);
        net.nat = true;
        let networks = Networks::open(dir.path()).unwrap();
        net.build(&networks).await;
        let machine = Machine::with_address(&net, 2);
        assert!(machine.reaches("10.0.0.1"));
        let before = all();
        drop(networks);
        let networks = Networks::open(dir.path()).unwrap();
        net.assert_stands(&networks).await;
        net.build(&networks).await;
        assert_eq!(all(), before);
        assert!(machine.reaches("10.0.0.1"));
    });
}

#[test]
fn what_the_kernel_lost_is_not_believed() {
    node("life::what_the_kernel_lost_is_not_believed", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let mut net = Net::new(1, &[2]);
        net.nat = true;
        net.build(&networks).await;
        let lost = [
            "ip link set br1 down",
            "ip netns exec sy-1 ip addr del 10.0.0.1/24 dev gw",
            "ip link del br1",
            "ip netns del sy-1",
            "nft flush ruleset",
            "ip netns exec sy-1 nft flush ruleset",
            "ip link del $(ip -o link | grep -o ' syn[0-9a-f]*' | head -1)",
        ];
        for line in lost {
            sh(line);
            let found = net.found(&networks).await.unwrap();
            let parts = [
                found.bridge.is_some(),
                found.gateway.is_some(),
                found.nat.is_some(),
                found.filter.is_some(),
            ];
            assert!(parts.contains(&false), "after {line}");
            net.build(&networks).await;
            net.assert_stands(&networks).await;
        }
        // A link of another kind with the bridge's name is not touched.
        sh("ip link del br1 && ip link add br1 type veth peer name br1-peer");
        assert!(matches!(
            networks.run(&net.make_bridge()).await,
            Err(NetworkError::Taken(_))
        ));
        networks.run(&net.remove()).await.unwrap();
        assert!(all().iter().any(|name| name.starts_with("br1@")));
    });
}

#[tokio::test]
async fn what_is_no_network_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let networks = Networks::open(dir.path()).unwrap();
    let net = Net::new(1, &[2]);
    let refused = async |step: Step| {
        let result = networks.run(&step).await;
        assert!(
            matches!(result, Err(NetworkError::Invalid { .. })),
            "{step:?}: {result:?}"
        );
    };
    let Step::MakeBridge(bridge) = net.make_bridge() else {
        panic!()
    };
    let with = |object: &str, bridge: &str| {
        Step::MakeBridge(symphony_core::plan::network::BridgeSettings {
            object: object.to_owned(),
            bridge: bridge.to_owned(),
            mtu: 1_450,
        })
    };
    refused(with("../elsewhere", &bridge.bridge)).await;
    refused(with(&bridge.object, "a-name-too-long!")).await;
    let Step::SetFilter(filter) = net.set_filter() else {
        panic!()
    };
    let mut many = filter.clone();
    many.ports = vec![filter.ports[0].clone(); 1_025];
    refused(Step::SetFilter(many)).await;
    let mut bad = filter;
    bad.ports[0].mac = "52:54:00:00:00:01 accept".to_owned();
    refused(Step::SetFilter(bad)).await;
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let facts = networks.facts(&[Probe::Network("../elsewhere".to_owned())]).await;
    assert!(facts.is_empty());
}

#[test]
fn the_largest_network_is_taken() {
    node("life::the_largest_network_is_taken", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let net = Net::new(1, &[2]);
        let Step::SetFilter(mut filter) = net.set_filter() else {
            panic!()
        };
        let port = filter.ports[0].clone();
        filter.ports = (0..1_024)
            .map(|number| symphony_core::plan::network::PortFilter {
                link: format!("tap{number}"),
                ..port.clone()
            })
            .collect();
        networks.run(&Step::SetFilter(filter.clone())).await.unwrap();
        assert_eq!(net.found(&networks).await.unwrap().filter, Some(filter));
    });
}

#[test]
fn the_largest_plan_and_what_is_seen_of_it_fit_in_a_frame() {
    let mut net = Net::new(1, &[2]);
    net.local = Some("10.9.255.255:14789".to_owned());
    net.peers = vec![(3, "10.9.255.255:14789".to_owned())];
    let mut found = net.wanted();
    // As long as each of them can be.
    let hostname = "a-machine-with-quite-a-long-name-of-more-than-forty-characters".to_owned();
    let address = "255.255.255.255".to_owned();
    let filter = found.filter.as_mut().unwrap();
    filter.ports[0].address = address.clone();
    filter.ports = vec![filter.ports[0].clone(); PORTS_MAX];
    filter.peers[0].address = address.clone();
    filter.peers = vec![filter.peers[0].clone(); PEERS_MAX];
    let dhcp = found.dhcp.as_mut().unwrap();
    (dhcp.hosts[0].address, dhcp.hosts[0].hostname) = (address.clone(), hostname.clone());
    dhcp.hosts = vec![dhcp.hosts[0].clone(); PORTS_MAX];
    (dhcp.names[0].address, dhcp.names[0].hostname) = (address.clone(), hostname);
    dhcp.names = vec![dhcp.names[0].clone(); PEERS_MAX];
    let peers = found.peers.as_mut().unwrap();
    peers.peers[0].address = address;
    peers.peers = vec![peers.peers[0].clone(); PEERS_MAX];
    // The steps carry what the facts give back, and the call around them is small.
    let bytes = serde_json::to_vec(&found).unwrap().len();
    assert!(bytes + (16 << 10) < symphony_protocol::FRAME_BYTES_MAX, "{bytes} bytes");
}
