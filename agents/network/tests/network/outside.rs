//! The way out of a network.

use symphony_network::Networks;

use crate::machine::Machine;
use crate::net::Net;
use crate::node::{node, sh};

/// A server somewhere outside; the node is its neighbour.
fn outside() -> Machine {
    sh(
        "ip netns add outside && ip link add uplink type veth peer name eth0 netns outside \
        && ip addr add 203.0.113.1/24 dev uplink && ip link set uplink up \
        && ip -n outside addr add 203.0.113.2/24 dev eth0 && ip -n outside link set eth0 up \
        && ip -n outside route add default via 203.0.113.1",
    );
    Machine {
        space: "outside".to_owned(),
    }
}

#[test]
fn machines_reach_the_outside_and_it_does_not_reach_them() {
    node(
        "outside::machines_reach_the_outside_and_it_does_not_reach_them",
        async || {
            let dir = tempfile::tempdir().unwrap();
            let networks = Networks::open(dir.path()).unwrap();
            let server = outside();
            let mut nets = [Net::new(1, &[2]), Net::new(2, &[2])];
            for net in &mut nets {
                net.nat = true;
                net.build(&networks).await;
                net.assert_stands(&networks).await;
            }
            let machines = nets.each_ref().map(|net| Machine::with_address(net, 2));
            for machine in &machines {
                let seen = machine
                    .talks(&server, "203.0.113.2", 80, true)
                    .expect("the outside is reached");
                assert_eq!(
                    seen.ip().to_string(),
                    "203.0.113.1",
                    "no address of a network is seen outside"
                );
            }
            // Not the other way round, even for one who knows the way to the node.
            sh("ip -n outside route add 10.0.0.0/24 via 203.0.113.1");
            sh(
                "ip route add 10.0.0.0/24 via $(ip -o -4 addr | grep -m1 ' syn' | sed 's/.*inet 169.254/169.254/; s,/.*,,' \
            | awk -F. '{print $1\".\"$2\".\"$3\".\"$4+1}')",
            );
            assert!(server.talks(&machines[0], "10.0.0.2", 80, false).is_none());
            // Nor the node's own services.
            let node = std::net::TcpListener::bind("0.0.0.0:99").unwrap();
            let to = std::net::SocketAddr::from(([203, 0, 113, 1], 99));
            let short = std::time::Duration::from_millis(300);
            assert!(
                machines[0]
                    .within(|| std::net::TcpStream::connect_timeout(&to, short))
                    .is_err()
            );
            assert!(
                server
                    .within(|| std::net::TcpStream::connect_timeout(&to, short))
                    .is_ok()
            );
            drop(node);
            // Closed and opened again.
            nets[0].nat = false;
            networks.run(&nets[0].set_nat()).await.unwrap();
            nets[0].assert_stands(&networks).await;
            assert!(machines[0].talks(&server, "203.0.113.2", 80, false).is_none());
            assert!(machines[1].talks(&server, "203.0.113.2", 80, true).is_some());
            nets[0].nat = true;
            networks.run(&nets[0].set_nat()).await.unwrap();
            assert!(machines[0].talks(&server, "203.0.113.2", 80, true).is_some());
        },
    );
}

#[test]
fn link_local_addresses_that_are_used_are_left_alone() {
    node(
        "outside::link_local_addresses_that_are_used_are_left_alone",
        async || {
            let dir = tempfile::tempdir().unwrap();
            let networks = Networks::open(dir.path()).unwrap();
            let mut net = Net::new(1, &[2]);
            net.nat = true;
            net.build(&networks).await;
            let used = sh("ip -o -4 addr | grep ' syn' | sed 's/.*inet //; s, .*,,'")
                .trim()
                .to_owned();
            networks.run(&net.remove()).await.unwrap();
            sh(&format!(
                "ip link add other type bridge && ip addr add {used} dev other"
            ));
            net.build(&networks).await;
            net.assert_stands(&networks).await;
            let now = sh("ip -o -4 addr | grep ' syn' | sed 's/.*inet //; s, .*,,'")
                .trim()
                .to_owned();
            assert!(!now.is_empty() && now != used);
        },
    );
}
