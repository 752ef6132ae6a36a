//! Addresses by DHCP, names by DNS, and the server's own life.

use std::time::Duration;

use symphony_network::Networks;

use crate::machine::{Lease, Machine};
use crate::net::Net;
use crate::node::{node, servers, sh};

#[test]
fn a_known_machine_gets_its_address_and_no_other() {
    node("serving::a_known_machine_gets_its_address_and_no_other", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let mut net = Net::new(1, &[2, 3]);
        net.build(&networks).await;
        // DHCP knows one of the two only.
        net.ports = vec![2];
        networks.run(&net.serve_dhcp()).await.unwrap();
        let [one, other] = [2, 3].map(|port| Machine::plug(&net, port));
        let lease = |end: u8| Lease {
            address: [10, 0, 0, end].into(),
            router: Some([10, 0, 0, 1].into()),
            mtu: Some(1_450),
        };
        assert_eq!(one.lease(&net.mac(2), true), Some(lease(2)));
        assert_eq!(other.lease(&net.mac(3), false), None);
        // Then it knows both, and is still the same server.
        let before = servers();
        net.ports = vec![2, 3];
        networks.run(&net.serve_dhcp()).await.unwrap();
        assert_eq!(other.lease(&net.mac(3), true), Some(lease(3)));
        assert_eq!((servers(), before.len()), (before, 1));
        one.ip("addr add 10.0.0.2/24 dev eth0");
        assert!(one.reaches("10.0.0.1"));
        assert!(resolves(&one, "machine-3", [10, 0, 0, 3]));
        assert!(resolves(&one, "machine-3.test.internal", [10, 0, 0, 3]));
    });
}

pub(crate) fn resolves(machine: &Machine, name: &str, address: [u8; 4]) -> bool {
    let socket = machine.udp(0);
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    socket.send_to(&question, "10.0.0.1:53").unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    answer[..length].ends_with(&address)
}

#[test]
fn a_killed_server_is_noticed_and_mended() {
    node("serving::a_killed_server_is_noticed_and_mended", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let net = Net::new(1, &[2]);
        net.build(&networks).await;
        net.assert_stands(&networks).await;
        let [pid] = servers()[..] else { panic!("one server") };
        sh(&format!("kill -9 {pid}"));
        while servers().contains(&pid) {
            tokio::task::yield_now().await;
        }
        let found = net.found(&networks).await.unwrap();
        assert!(found.dhcp.is_none() && found.gateway.is_some() && found.filter.is_some());
        networks.run(&net.serve_dhcp()).await.unwrap();
        net.assert_stands(&networks).await;
        let machine = Machine::plug(&net, 2);
        assert!(machine.lease(&net.mac(2), true).is_some());
        // A server whose file is lost is found all the same: never two.
        sh(&format!("rm {}/{}/dnsmasq.pid", dir.path().display(), net.object()));
        assert!(net.found(&networks).await.unwrap().dhcp.is_none());
        networks.run(&net.serve_dhcp()).await.unwrap();
        assert_eq!(servers().len(), 1);
        net.assert_stands(&networks).await;
    });
}
