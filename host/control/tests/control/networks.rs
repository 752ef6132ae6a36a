//! Networks over several nodes: who is whose peer, and that it follows every change.

use std::sync::Arc;
use std::time::Duration;

use symphony_core::condition::Truth;
use symphony_core::keys;
use symphony_core::network::{Mac, Network};
use symphony_core::plan::network::FoundNetwork;

use super::harness::{Loops, SimulatedAgent, hello, name};
use super::machines::{Asked, asked, network};

const GIB: u64 = 1 << 30;

/// A machine that is on another node than these.
fn apart(of: &str, network: &Network, end: u8, from: &[&str]) -> Asked {
    let mut asked = asked(of, Some(network));
    asked.machine.spec.ports[0].address = [10, 1, 0, end].into();
    asked.machine.spec.ports[0].mac = Mac::ours([0, 0, end]);
    asked.machine.spec.wishes.apart_from = from.iter().map(|other| name(other)).collect();
    asked
}

/// The peers that a node knows: the last number of each address, and where it is.
fn peers(agent: &SimulatedAgent, network: &Network) -> Vec<(String, String)> {
    let node = agent.node();
    let found = node.networks.get(&network.meta.id.to_string());
    let routes = found.and_then(|found| found.peers.clone()).map(|peers| peers.peers);
    let mut peers: Vec<_> = routes
        .unwrap_or_default()
        .into_iter()
        .map(|route| (route.address, route.remote))
        .collect();
    peers.sort();
    peers
}

async fn until_peers(agent: &SimulatedAgent, network: &Network, wanted: &[(u8, &str)]) {
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(end, node)| (format!("10.1.0.{end}"), format!("10.9.0.{}:4789", node.as_bytes()[0])))
        .collect();
    for _ in 0..3_000 {
        if peers(agent, network) == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(peers(agent, network), wanted);
}

fn found(agent: &SimulatedAgent, network: &Network) -> FoundNetwork {
    agent.node().networks[&network.meta.id.to_string()].clone()
}

fn net_key() -> String {
    keys::network(&name("default"), &name("net1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_a_peer_on_the_other_nodes_of_its_network() {
    let loops = Loops::start().await;
    let agents = [
        SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await,
        SimulatedAgent::connect(&loops.control, "b", 10 * GIB).await,
    ];
    // A record from before there were numbers.
    let network = network();
    loops.write(net_key(), &network).await;
    let agent_of = async |machine: &str| {
        let node = loops.running(machine).await.placement.unwrap().node;
        let at = usize::from(node == name("b"));
        (&agents[at], ["a", "b"][at])
    };
    loops.ask(&apart("m2", &network, 2, &[])).await;
    let (two, two_at) = agent_of("m2").await;
    assert!(found(two, &network).tunnel.is_none(), "nobody is elsewhere");
    loops.ask(&apart("m3", &network, 3, &["m2"])).await;
    let (three, three_at) = agent_of("m3").await;
    assert_ne!(two_at, three_at);
    until_peers(two, &network, &[(3, three_at)]).await;
    until_peers(three, &network, &[(2, two_at)]).await;
    // Its number is nobody else's.
    let numbered: Network = loops.read(net_key()).await.unwrap();
    let vni = numbered.status.vni.unwrap();
    let kept = loops.store.get(&keys::vni(vni).into(), None).await.unwrap().unwrap();
    assert_eq!(kept.value, network.meta.id.to_string().into_bytes());
    let tunnels = [two, three].map(|agent| found(agent, &network).tunnel.unwrap());
    assert!(
        tunnels
            .iter()
            .all(|tunnel| tunnel.vni == vni.get() && tunnel.mtu == 1_450)
    );
    assert_eq!(tunnels[0].local, format!("10.9.0.{}:4789", two_at.as_bytes()[0]));
    assert_eq!(
        found(two, &network).gateway.unwrap().mac,
        found(three, &network).gateway.unwrap().mac
    );
    // One more, beside the second: the first node hears of it, and of its end.
    let mut third = apart("m4", &network, 4, &[]);
    third.machine.spec.wishes.near = vec![name("m3")];
    loops.ask(&third).await;
    loops.running("m4").await;
    until_peers(two, &network, &[(3, three_at), (4, three_at)]).await;
    until_peers(three, &network, &[(2, two_at)]).await;
    loops.delete("m3").await;
    until_peers(two, &network, &[(4, three_at)]).await;
    loops.delete("m4").await;
    for _ in 0..3_000 {
        if found(two, &network).tunnel.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = found(two, &network);
    assert!(left.tunnel.is_none() && left.peers.is_none() && left.filter.unwrap().peers.is_empty());
    loops.delete("m2").await;
    loops.until_gone(keys::SEGMENTS).await;
    loops
        .change::<Network>(net_key(), |network| {
            network.meta.deleting_since = Some(symphony_control::clock::now());
        })
        .await;
    loops.until_gone(keys::NETWORKS).await;
    loops.until_gone("v1/vni/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_reached_elsewhere_is_told_of() {
    let loops = Loops::start().await;
    let a = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    let network = network();
    loops.write(net_key(), &network).await;
    loops.ask(&apart("m2", &network, 2, &[])).await;
    loops.running("m2").await;
    // The other node has no address, or one that is its own kernel's only: the network says so.
    let mut nowhere = hello("b", 10 * GIB);
    nowhere.underlay = Some("nonsense".to_owned());
    let b = SimulatedAgent::connect_as(&loops.control, nowhere.clone(), Arc::default()).await;
    loops.ask(&apart("m3", &network, 3, &["m2"])).await;
    loops.running("m3").await;
    let connected = async |truth: Truth| {
        for _ in 0..3_000 {
            let network: Network = loops.read(net_key()).await.unwrap();
            match network.status.conditions.of("connected") {
                Some(condition) if condition.truth == truth => return condition.message.clone(),
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("the network is never said to be connected: {truth:?}");
    };
    let said = connected(Truth::False).await;
    assert!(said.contains("machines on b reach none"), "{said}");
    assert!(found(&a, &network).tunnel.is_none() && found(&b, &network).tunnel.is_none());
    // It gets one, and another.
    let mut node = Arc::clone(&b.node);
    b.ended.abort();
    for at in ["b", "c"] {
        let mut there = nowhere.clone();
        there.underlay = Some(format!("10.9.0.{}", at.as_bytes()[0]));
        let b = SimulatedAgent::connect_as(&loops.control, there, node).await;
        until_peers(&a, &network, &[(3, at)]).await;
        until_peers(&b, &network, &[(2, "a")]).await;
        connected(Truth::True).await;
        node = Arc::clone(&b.node);
        b.ended.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_nodes_of_a_network_are_asked() {
    let loops = Loops::start().await;
    let agents = [
        SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await,
        SimulatedAgent::connect(&loops.control, "b", 10 * GIB).await,
        SimulatedAgent::connect(&loops.control, "c", 10 * GIB).await,
    ];
    let networks = ["net1", "net2"].map(|of| {
        let mut network = network();
        network.meta.name = name(of);
        network
    });
    for network in &networks {
        let key = keys::network(&name("default"), &network.meta.name);
        loops.write(key, network).await;
    }
    loops.ask(&apart("m2", &networks[0], 2, &[])).await;
    loops.running("m2").await;
    loops.ask(&apart("other", &networks[1], 2, &["m2"])).await;
    let alone = loops.running("other").await.placement.unwrap().node;
    let alone = &agents[usize::from(alone.as_str().as_bytes()[0] - b'a')];
    let before = found(alone, &networks[1]);
    loops.ask(&apart("m3", &networks[0], 3, &["m2", "other"])).await;
    let there = loops.running("m3").await.placement.unwrap().node;
    let there = &agents[usize::from(there.as_str().as_bytes()[0] - b'a')];
    for _ in 0..3_000 {
        if !peers(there, &networks[0]).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(peers(there, &networks[0]).len(), 1);
    assert_eq!(found(alone, &networks[1]), before);
    assert_eq!(
        alone.node().networks.len(),
        1,
        "it has nothing of a network that it is not in"
    );
}
