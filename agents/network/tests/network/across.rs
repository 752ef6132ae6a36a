//! Networks over several nodes: two namespaces with a wire between them, each with an agent's folder of its own; and two
//! nodes on one kernel.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use symphony_core::plan::network::{FoundNetwork, Protocol, Rule, Step};
use symphony_network::Networks;

use crate::machine::Machine;
use crate::net::Net;
use crate::node::{all, node, sh};
use crate::serving::resolves;

const WORK: &str = "SYMPHONY_NETWORK_WORK";
const SHORT: Duration = Duration::from_millis(300);

/// Not a test: the agent of one of two nodes, which does steps in its namespace and says what there is then.
#[test]
fn worker() {
    let Some(work) = std::env::var_os(WORK) else { return };
    let (dir, steps, object): (String, Vec<Step>, String) = serde_json::from_str(work.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let facts = runtime.block_on(async {
        let networks = Networks::open(&dir).unwrap();
        for step in steps {
            networks
                .run(&step)
                .await
                .unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
        }
        networks
            .facts(&[symphony_core::plan::network::Probe::Network(object)])
            .await
    });
    let [symphony_core::plan::network::Fact::Network(fact)] = <[_; 1]>::try_from(facts).unwrap();
    std::fs::write(format!("{dir}.found"), serde_json::to_vec(&fact.found).unwrap()).unwrap();
}

/// Two nodes with a wire.
struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        sh("ip netns add na && ip netns add nb && ip link add wire netns na type veth peer name wire netns nb");
        for (node, end) in [("na", 1), ("nb", 2)] {
            sh(&format!(
                "ip -n {node} link set lo up && ip -n {node} addr add 10.9.0.{end}/24 dev wire && ip -n {node} link set wire up"
            ));
        }
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Both parts of a network, with these ports on the nodes.
    fn net(number: u8, here: &[u8], there: &[u8]) -> [Net; 2] {
        let part = |side: &'static str, home: &'static str, own: &[u8], others: &[u8], ends: [u8; 2]| {
            let mut net = Net::new(number, own);
            (net.side, net.home) = (side, Some(home));
            net.local = Some(format!("10.9.0.{}:4789", ends[0]));
            net.peers = others
                .iter()
                .map(|port| (*port, format!("10.9.0.{}:4789", ends[1])))
                .collect();
            net
        };
        [
            part("a", "na", here, there, [1, 2]),
            part("b", "nb", there, here, [2, 1]),
        ]
    }

    /// Lets the agent of a network's node do steps; gives what there is of the network then.
    fn run(&self, net: &Net, steps: &[Step]) -> Option<FoundNetwork> {
        let dir = self.dir.path().join(net.side);
        let work = serde_json::to_string(&(&dir, steps, net.object())).unwrap();
        let output = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", net.home.unwrap()))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "across::worker", "--nocapture"])
            .env(WORK, work)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{steps:?}: {said}");
        serde_json::from_slice(&std::fs::read(dir.with_extension("found")).unwrap()).unwrap()
    }

    fn build(&self, nets: &[Net]) {
        for net in nets {
            let found = self.run(net, &net.steps());
            assert_eq!(found, Some(net.wanted()));
        }
    }
}

/// Counts what comes out of a tunnel: questions by ARP, and packets for more than one.
struct Ear {
    home: &'static str,
}

impl Ear {
    fn at(net: &Net) -> Self {
        let (home, tunnel) = (net.home.unwrap(), net.tunnel());
        sh(&format!(
            "ip netns exec {home} nft 'table netdev ear {{ counter arps {{ }}; counter groups {{ }}; counter every {{ }}; \
             chain in {{ type filter hook ingress device \"{tunnel}\" priority 0; counter name every; \
             ether type arp counter name arps; ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 counter name groups; }}; }}'"
        ));
        Self { home }
    }

    fn heard(&self, counter: &str) -> u64 {
        let said = sh(&format!(
            "ip netns exec {} nft list counter netdev ear {counter}",
            self.home
        ));
        let packets = said.split("packets ").nth(1).unwrap();
        packets.split(' ').next().unwrap().parse().unwrap()
    }
}

#[test]
fn machines_on_two_nodes_reach_one_another() {
    node("across::machines_on_two_nodes_reach_one_another", async || {
        let pair = Pair::new();
        let nets = Pair::net(1, &[2, 4], &[3]);
        pair.build(&nets);
        let [two, four] = [2, 4].map(|port| Machine::plug(&nets[0], port));
        let three = Machine::with_address(&nets[1], 3);
        let ear = Ear::at(&nets[1]);
        // Each node gives addresses to its own, with the length of packets.
        let lease = two.lease(&nets[0].mac(2), true).unwrap();
        assert_eq!(lease.mtu, Some(1_450));
        two.ip("addr add 10.0.0.2/24 dev eth0");
        four.ip("addr add 10.0.0.4/24 dev eth0");
        assert!(two.reaches("10.0.0.4") && two.reaches("10.0.0.1"));
        assert!(two.is_deaf_to("10.0.0.77"));
        // Nothing of all that was heard on the other node.
        assert_eq!(ear.heard("every"), 0);
        assert!(two.reaches("10.0.0.3") && three.reaches("10.0.0.2") && three.reaches("10.0.0.4"));
        assert!(three.reaches("10.0.0.1"));
        assert!(two.talks(&three, "10.0.0.3", 80, true).is_some());
        assert!(three.talks(&two, "10.0.0.2", 80, true).is_some());
        assert!(ear.heard("every") > 4);
        assert_eq!(ear.heard("groups"), 0, "who asks is answered beside it");
        // One gateway, as far as machines can tell.
        let gateway = |machine: &Machine| machine.ip("neigh show 10.0.0.1 dev eth0");
        assert!(gateway(&two).contains("02:00:00:00:00:01") && gateway(&three).contains("02:00:00:00:00:01"));
        assert!(resolves(&two, "machine-3", [10, 0, 0, 3]));
        // A question to one alone, as of who makes sure, goes there.
        two.ip("neigh replace 10.0.0.3 lladdr 52:54:00:00:01:03 dev eth0 nud probe");
        let until = Instant::now() + Duration::from_secs(10);
        while ear.heard("arps") == 0 && Instant::now() < until {
            assert!(two.reaches("10.0.0.3"));
        }
        assert!(ear.heard("arps") > 0 && ear.heard("groups") == 0);
        // Were it not for what keeps packets in, they would be heard.
        sh("ip netns exec na nft flush ruleset && ip -n na link set vx1a type bridge_slave bcast_flood on");
        sh("bridge -n na fdb add 00:00:00:00:00:00 dev vx1a dst 10.9.0.2 self permanent");
        assert!(two.is_deaf_to("10.0.0.78"));
        assert!(ear.heard("groups") > 0);
    });
}

#[test]
fn the_longest_packet_passes_whole_and_a_longer_one_does_not() {
    node(
        "across::the_longest_packet_passes_whole_and_a_longer_one_does_not",
        async || {
            let pair = Pair::new();
            let nets = Pair::net(1, &[2], &[3]);
            pair.build(&nets);
            let two = Machine::with_address(&nets[0], 2);
            let _three = Machine::with_address(&nets[1], 3);
            let ping = |bytes: u32| {
                let payload = bytes - 28;
                let line = format!("ip netns exec {} ping -c 1 -W 2 -M do -s {payload} 10.0.0.3", two.space);
                let mut ping = Command::new("sh");
                ping.args(["-c", &line]).stdout(Stdio::null()).stderr(Stdio::null());
                ping.status().unwrap().success()
            };
            assert!(two.reaches("10.0.0.3"));
            assert!(ping(1_450) && !ping(1_451));
            // Nor of a machine that does not listen: the bridge's other ports don't take it.
            two.ip("link set eth0 mtu 1500");
            sh("ip -n na link set tap1a-2 mtu 1500");
            assert!(!ping(1_451));
            // Nothing was cut in pieces on the way.
            let snmp = sh("ip netns exec na cat /proc/net/snmp");
            let mut lines = snmp.lines().filter(|line| line.starts_with("Ip:"));
            let names = lines.next().unwrap().split(' ');
            let values = lines.next().unwrap().split(' ');
            let created = names.zip(values).find(|(name, _)| *name == "FragCreates").unwrap().1;
            assert_eq!(created, "0");
            for (link, home) in [("br1a", "na"), ("vx1a", "na"), ("vx1b", "nb")] {
                assert!(sh(&format!("ip -n {home} link show {link}")).contains("mtu 1450"));
            }
        },
    );
}

#[test]
fn a_partition_heals_by_itself() {
    node("across::a_partition_heals_by_itself", async || {
        let pair = Pair::new();
        let nets = Pair::net(1, &[2], &[3]);
        pair.build(&nets);
        let two = Machine::with_address(&nets[0], 2);
        let three = Machine::with_address(&nets[1], 3);
        assert!(two.reaches("10.0.0.3"));
        sh("ip -n na link set wire down");
        assert!(two.is_deaf_to("10.0.0.3") && three.is_deaf_to("10.0.0.2"));
        assert!(
            two.reaches("10.0.0.1") && three.reaches("10.0.0.1"),
            "each has its gateway"
        );
        // The facts are of the node, not of the wire.
        assert_eq!(pair.run(&nets[0], &[]), Some(nets[0].wanted()));
        sh("ip -n na link set wire up");
        assert!(two.reaches("10.0.0.3") && three.reaches("10.0.0.2"));
    });
}

#[test]
fn a_tunnel_speaks_for_its_peers_only() {
    node("across::a_tunnel_speaks_for_its_peers_only", async || {
        let pair = Pair::new();
        let nets = Pair::net(1, &[2], &[3, 4]);
        pair.build(&nets);
        let liar = Machine::with_address(&nets[0], 2);
        let [three, four] = [3, 4].map(|port| Machine::with_address(&nets[1], port));
        assert!(liar.reaches("10.0.0.3") && liar.reaches("10.0.0.4"));
        // The liar's own node lets everything through.
        sh("ip netns exec na nft flush ruleset");
        assert!(liar.reaches("10.0.0.3"));
        // An address of nobody, with the way back known.
        liar.ip("addr add 10.0.0.99/24 dev eth0");
        three.ip(&format!("neigh replace 10.0.0.99 lladdr {} dev eth0", nets[0].mac(2)));
        assert!(!liar.ping("10.0.0.3", Some("10.0.0.99"), SHORT));
        // The address of another port, with one's own MAC.
        liar.ip("addr add 10.0.0.4/24 dev eth0");
        three.ip(&format!("neigh replace 10.0.0.4 lladdr {} dev eth0", nets[0].mac(2)));
        assert!(!liar.ping("10.0.0.3", Some("10.0.0.4"), SHORT));
        three.ip("neigh del 10.0.0.4 dev eth0");
        // The address and the MAC of another port.
        let heard = three.udp(900);
        heard.set_read_timeout(Some(SHORT)).unwrap();
        let mut buffer = [0; 16];
        let lie = || {
            liar.ip(&format!("link set eth0 address {}", nets[1].mac(4)));
            liar.ip(&format!("neigh replace 10.0.0.3 lladdr {} dev eth0", nets[1].mac(3)));
            let socket = liar.within(|| std::net::UdpSocket::bind("10.0.0.4:901").unwrap());
            let _ = socket.send_to(b"lie", "10.0.0.3:900");
            liar.ip(&format!("link set eth0 address {}", nets[0].mac(2)));
        };
        lie();
        assert!(heard.recv(&mut buffer).is_err());
        // Words of a DHCP server.
        let client = three.udp(68);
        client.set_read_timeout(Some(SHORT)).unwrap();
        let answer = crate::machine::message(&[0; 6], 2, &[]);
        liar.udp(67).send_to(&answer, "10.0.0.3:68").unwrap();
        assert!(client.recv(&mut [0; 600]).is_err());
        assert!(liar.reaches("10.0.0.3") && four.reaches("10.0.0.3"));
        // It is the filter that did all this.
        sh("ip netns exec nb nft flush ruleset");
        assert!(liar.ping("10.0.0.3", Some("10.0.0.99"), Duration::from_secs(5)));
        heard.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        lie();
        assert!(heard.recv(&mut buffer).is_ok());
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        liar.udp(67).send_to(&answer, "10.0.0.3:68").unwrap();
        assert!(client.recv(&mut [0; 600]).is_ok());
    });
}

#[test]
fn packets_of_who_is_no_node_of_the_network_are_dropped() {
    node(
        "across::packets_of_who_is_no_node_of_the_network_are_dropped",
        async || {
            let pair = Pair::new();
            let nets = Pair::net(1, &[2], &[3]);
            pair.build(&nets);
            let two = Machine::with_address(&nets[0], 2);
            let three = Machine::with_address(&nets[1], 3);
            let heard = three.udp(900);
            heard.set_read_timeout(Some(SHORT)).unwrap();
            assert!(two.reaches("10.0.0.3"));
            // All that a stranger on the wire has to know is known to it: numbers, MACs and addresses.
            sh("ip -n na addr add 10.9.0.7/24 dev wire");
            let inner = frame(
                &nets[0].mac(2),
                &nets[1].mac(3),
                [10, 0, 0, 2],
                [10, 0, 0, 3],
                900,
                b"lie",
            );
            let mut packet = vec![8, 0, 0, 0, 0, 0, 71, 0];
            packet.extend(inner);
            let wire = Machine { space: "na".to_owned() };
            let send = |from: &str| {
                let socket = wire.within(|| std::net::UdpSocket::bind((from, 0)).unwrap());
                socket.send_to(&packet, "10.9.0.2:4789").unwrap();
            };
            let mut buffer = [0; 16];
            send("10.9.0.7");
            assert!(heard.recv(&mut buffer).is_err());
            // From the peer's node the very same is heard.
            heard.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            send("10.9.0.1");
            assert_eq!(heard.recv(&mut buffer).unwrap(), 3);
            // It is the table that did it.
            sh("ip netns exec nb nft flush ruleset");
            send("10.9.0.7");
            assert_eq!(heard.recv(&mut buffer).unwrap(), 3);
        },
    );
}

/// A UDP packet in an Ethernet frame.
fn frame(from: &str, to: &str, source: [u8; 4], destination: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    let mac = |mac: &str| {
        mac.split(':')
            .map(|part| u8::from_str_radix(part, 16).unwrap())
            .collect::<Vec<_>>()
    };
    let length = |head: usize| u16::try_from(head + payload.len()).unwrap().to_be_bytes();
    let mut ip = vec![0x45, 0];
    ip.extend(length(28));
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend(source);
    ip.extend(destination);
    let sum: u32 = ip
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    // Without a checksum of its own, as UDP may be.
    let mut udp = 901_u16.to_be_bytes().to_vec();
    udp.extend(port.to_be_bytes());
    udp.extend(length(8));
    udp.extend([0, 0]);
    [mac(to), mac(from), vec![8, 0], ip, udp, payload.to_vec()].concat()
}

#[test]
fn rules_of_a_port_hold_for_peers_too() {
    node("across::rules_of_a_port_hold_for_peers_too", async || {
        let pair = Pair::new();
        let mut nets = Pair::net(1, &[2], &[3]);
        nets[1].rules = vec![Rule {
            protocol: Protocol::Tcp,
            first: 80,
            last: 80,
            source: "0.0.0.0/0".to_owned(),
        }];
        pair.build(&nets);
        let two = Machine::with_address(&nets[0], 2);
        let three = Machine::with_address(&nets[1], 3);
        assert!(two.talks(&three, "10.0.0.3", 80, true).is_some());
        assert!(two.talks(&three, "10.0.0.3", 81, false).is_none() && two.is_deaf_to("10.0.0.3"));
        assert!(three.reaches("10.0.0.2"), "answers come in");
    });
}

#[test]
fn two_networks_with_one_subnet_never_meet_between_nodes() {
    node(
        "across::two_networks_with_one_subnet_never_meet_between_nodes",
        async || {
            let pair = Pair::new();
            let (ones, others) = (Pair::net(1, &[2], &[3]), Pair::net(2, &[2], &[4]));
            pair.build(&ones);
            pair.build(&others);
            let one = Machine::with_address(&ones[0], 2);
            let _three = Machine::with_address(&ones[1], 3);
            let other = Machine::with_address(&others[0], 2);
            let _four = Machine::with_address(&others[1], 4);
            assert!(one.reaches("10.0.0.3") && other.reaches("10.0.0.4"));
            assert!(one.is_deaf_to("10.0.0.4") && other.is_deaf_to("10.0.0.3"));
        },
    );
}

#[test]
fn peers_come_go_and_move() {
    node("across::peers_come_go_and_move", async || {
        let pair = Pair::new();
        let mut nets = Pair::net(1, &[2], &[3]);
        pair.build(&nets);
        let two = Machine::with_address(&nets[0], 2);
        let three = Machine::with_address(&nets[1], 3);
        assert!(two.reaches("10.0.0.3"));
        // One more comes; who was there is not disturbed.
        let routes = || sh("bridge -n na fdb show dev vx1a; ip -n na neigh show dev br1a");
        nets[0]
            .peers
            .extend((10..=200).map(|port| (port, "10.9.0.2:4789".to_owned())));
        let found = pair.run(
            &nets[0],
            &[nets[0].set_filter(), nets[0].set_peers(), nets[0].serve_dhcp()],
        );
        assert_eq!(found, Some(nets[0].wanted()));
        assert!(two.reaches("10.0.0.3") && routes().contains(&nets[0].mac(200)));
        // All but one go.
        nets[0].peers.truncate(1);
        let found = pair.run(
            &nets[0],
            &[nets[0].set_filter(), nets[0].set_peers(), nets[0].serve_dhcp()],
        );
        assert_eq!(found, Some(nets[0].wanted()));
        assert!(!routes().contains(&nets[0].mac(200)) && two.reaches("10.0.0.3"));
        // The other machine comes to this node: nothing of its old place is in the way.
        sh("ip netns del m-tap1b-3");
        drop(three);
        (nets[0].ports, nets[0].peers) = (vec![2, 3], vec![(5, "10.9.0.2:4789".to_owned())]);
        (nets[1].ports, nets[1].peers) = (vec![5], [2, 3].map(|port| (port, "10.9.0.1:4789".to_owned())).to_vec());
        pair.build(&nets);
        let three = Machine::with_address(&nets[0], 3);
        let five = Machine::with_address(&nets[1], 5);
        assert!(two.reaches("10.0.0.3") && five.reaches("10.0.0.3") && three.reaches("10.0.0.5"));
        // The other node is reached elsewhere.
        sh("ip -n nb addr add 10.9.0.3/24 dev wire");
        nets[0].peers = vec![(5, "10.9.0.3:4789".to_owned())];
        nets[1].local = Some("10.9.0.3:4789".to_owned());
        pair.build(&nets);
        sh("ip -n nb addr del 10.9.0.2/24 dev wire");
        sh("ip -n nb addr show dev wire | grep -q 10.9.0.3 || ip -n nb addr add 10.9.0.3/24 dev wire");
        assert!(five.reaches("10.0.0.2") && two.reaches("10.0.0.5"));
        // Nobody is elsewhere any more.
        (nets[0].local, nets[0].peers) = (None, Vec::new());
        let found = pair.run(
            &nets[0],
            &[nets[0].set_filter(), nets[0].drop_tunnel(), nets[0].serve_dhcp()],
        );
        assert_eq!(found, Some(nets[0].wanted()));
        assert!(!sh("ip -n na link").contains("vx1a") && sh("ip -n na neigh show dev br1a nud permanent").is_empty());
        assert!(two.reaches("10.0.0.3") && two.is_deaf_to("10.0.0.5"));
    });
}

#[test]
fn two_nodes_on_one_kernel_are_two_nodes() {
    node("across::two_nodes_on_one_kernel_are_two_nodes", async || {
        let dir = tempfile::tempdir().unwrap();
        let part = |side: &'static str, own: u8, other: u8| {
            let mut net = Net::new(1, &[own]);
            net.side = side;
            net.local = Some(format!("127.0.0.1:1500{own}"));
            net.peers = vec![(other, format!("127.0.0.1:1500{other}"))];
            net
        };
        let before = all();
        let nets = [part("a", 2, 3), part("b", 3, 2)];
        let agents = ["a", "b"].map(|side| Networks::open(dir.path().join(side)).unwrap());
        for (net, agent) in nets.iter().zip(&agents) {
            net.build(agent).await;
        }
        let [two, three] = [(&nets[0], 2), (&nets[1], 3)].map(|(net, port)| Machine::with_address(net, port));
        assert!(two.reaches("10.0.0.3") && three.reaches("10.0.0.2"));
        assert!(two.talks(&three, "10.0.0.3", 80, true).is_some());
        for (net, agent) in nets.iter().zip(&agents) {
            net.assert_stands(agent).await;
        }
        sh("ip netns del m-tap1a-2 && ip netns del m-tap1b-3");
        for (net, agent) in nets.iter().zip(&agents) {
            agent.run(&net.remove()).await.unwrap();
        }
        assert_eq!(all(), before);
    });
}

#[test]
fn what_the_kernel_lost_of_a_tunnel_is_not_believed() {
    node("across::what_the_kernel_lost_of_a_tunnel_is_not_believed", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let mut net = Net::new(1, &[2]);
        net.local = Some("127.0.0.1:15001".to_owned());
        net.peers = vec![(3, "127.0.0.1:15002".to_owned()), (4, "127.0.0.1:15003".to_owned())];
        net.build(&networks).await;
        net.assert_stands(&networks).await;
        let mac = net.mac(3);
        let lost = [
            "ip link del vx1".to_owned(),
            "ip link set vx1 down".to_owned(),
            "ip link set vx1 nomaster".to_owned(),
            "ip link set vx1 mtu 1500".to_owned(),
            "ip link set vx1 type bridge_slave bcast_flood on".to_owned(),
            "ip link set vx1 type bridge_slave learning on".to_owned(),
            "ip link set vx1 type bridge_slave neigh_suppress off".to_owned(),
            format!("bridge fdb del {mac} dev vx1 self"),
            format!("bridge fdb del {mac} dev vx1 master"),
            format!("bridge fdb replace {mac} dev vx1 dst 127.0.0.9 self static"),
            "bridge fdb add 52:54:00:00:00:99 dev vx1 dst 127.0.0.9 self static".to_owned(),
            "bridge fdb add 52:54:00:00:00:99 dev vx1 master static".to_owned(),
            "ip neigh del 10.0.0.3 dev br1".to_owned(),
            format!("ip neigh replace 10.0.0.4 lladdr {mac} dev br1 nud permanent"),
            "nft delete table ip $(nft list tables ip | grep -o 'sy_tunnel_[0-9a-f]*')".to_owned(),
            "ip link del br1".to_owned(),
        ];
        for line in lost {
            sh(&line);
            let found = net.found(&networks).await.unwrap();
            assert!(found.tunnel.is_none() || found.peers.is_none(), "after {line}");
            net.build(&networks).await;
            net.assert_stands(&networks).await;
        }
        // A link of another kind with the tunnel's name is not touched.
        sh("ip link del vx1 && ip link add vx1 type veth peer name vx1-peer");
        assert!(networks.run(&net.make_tunnel()).await.is_err());
        networks.run(&net.remove()).await.unwrap();
        assert!(all().iter().any(|name| name.starts_with("vx1@")));
    });
}
