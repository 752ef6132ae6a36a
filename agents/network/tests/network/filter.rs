//! What a port may say and hear.

use std::time::Duration;

use symphony_core::plan::network::{Protocol, Rule};
use symphony_network::Networks;

use crate::machine::{Machine, message};
use crate::net::Net;
use crate::node::{node, sh};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn two_networks_with_one_subnet_never_meet() {
    node("filter::two_networks_with_one_subnet_never_meet", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let mut nets = [Net::new(1, &[2, 3]), Net::new(2, &[2, 4])];
        for net in &mut nets {
            net.nat = true;
            net.build(&networks).await;
        }
        let [one, three] = [2, 3].map(|port| Machine::with_address(&nets[0], port));
        let [two, four] = [2, 4].map(|port| Machine::with_address(&nets[1], port));
        assert!(one.reaches("10.0.0.3") && one.reaches("10.0.0.1") && three.reaches("10.0.0.2"));
        assert!(two.reaches("10.0.0.4") && two.reaches("10.0.0.1") && four.reaches("10.0.0.2"));
        assert!(one.is_deaf_to("10.0.0.4") && two.is_deaf_to("10.0.0.3"));
        // Nor by the links to the node, whose addresses are no secret.
        for line in sh("ip -o -4 addr | grep ' syn' | sed 's/.*inet //; s,/.*,,'").lines() {
            let node: std::net::Ipv4Addr = line.trim().parse().unwrap();
            let inner = std::net::Ipv4Addr::from_bits(node.to_bits() + 1).to_string();
            let reached = [&one, &two]
                .iter()
                .filter(|machine| machine.ping(&inner, None, SHORT))
                .count();
            assert_eq!(reached, 1, "{inner} answers its own network only");
        }
        nets[0].assert_stands(&networks).await;
    });
}

#[test]
fn a_port_speaks_for_itself_only() {
    node("filter::a_port_speaks_for_itself_only", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let net = Net::new(1, &[2, 3]);
        net.build(&networks).await;
        let [one, liar] = [2, 3].map(|port| Machine::with_address(&net, port));
        assert!(liar.reaches("10.0.0.2"));
        // Another address, also where the way back is known.
        liar.ip("addr add 10.0.0.99/24 dev eth0");
        one.ip(&format!("neigh replace 10.0.0.99 lladdr {} dev eth0", net.mac(3)));
        assert!(!liar.ping("10.0.0.2", Some("10.0.0.99"), SHORT));
        one.ip("neigh del 10.0.0.99 dev eth0");
        // The gateway's address: nobody takes the liar for it.
        assert!(one.reaches("10.0.0.1"));
        liar.ip("addr add 10.0.0.1/24 dev eth0");
        liar.ip("neigh flush all");
        one.ip("neigh flush all");
        assert!(!liar.ping("10.0.0.2", Some("10.0.0.1"), SHORT));
        assert!(!one.ip("neigh").contains(&net.mac(3)));
        liar.ip("addr del 10.0.0.1/24 dev eth0");
        // Another MAC.
        liar.ip("link set eth0 address 52:54:00:ff:ff:ff");
        one.ip("neigh replace 10.0.0.3 lladdr 52:54:00:ff:ff:ff dev eth0");
        assert!(liar.is_deaf_to("10.0.0.2"));
        liar.ip(&format!("link set eth0 address {}", net.mac(3)));
        one.ip("neigh del 10.0.0.3 dev eth0");
        assert!(liar.reaches("10.0.0.2"));
        // A foreign link on the bridge is heard by nobody.
        let foreign = Machine::plug_as(&net, "foreign", "52:54:00:00:01:05");
        foreign.ip("addr add 10.0.0.5/24 dev eth0");
        assert!(foreign.is_deaf_to("10.0.0.2") && foreign.is_deaf_to("10.0.0.1"));
        // It is the filter that did all this.
        sh("nft flush ruleset");
        assert!(foreign.reaches("10.0.0.2") && foreign.reaches("10.0.0.1"));
        assert!(liar.ping("10.0.0.2", Some("10.0.0.99"), Duration::from_secs(5)));
        liar.ip("link set eth0 address 52:54:00:ff:ff:ff");
        one.ip("neigh replace 10.0.0.3 lladdr 52:54:00:ff:ff:ff dev eth0");
        assert!(liar.reaches("10.0.0.2"));
    });
}

#[test]
fn a_machine_serves_no_dhcp_and_speaks_no_ipv6() {
    node("filter::a_machine_serves_no_dhcp_and_speaks_no_ipv6", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let net = Net::new(1, &[2, 3]);
        net.build(&networks).await;
        let [client, server] = [2, 3].map(|port| Machine::with_address(&net, port));
        let heard = client.udp(68);
        heard.set_read_timeout(Some(SHORT)).unwrap();
        let mut buffer = [0; 600];
        let answer = message(&[0; 6], 2, &[]);
        // The very same words are heard from any port but the servers'.
        server.udp(1_067).send_to(&answer, "10.0.0.2:68").unwrap();
        assert!(heard.recv(&mut buffer).is_ok());
        server.udp(67).send_to(&answer, "10.0.0.2:68").unwrap();
        assert!(heard.recv(&mut buffer).is_err());
        // IPv6 would work between the two, did the filter let it.
        for (machine, end) in [(&client, 2), (&server, 3)] {
            machine.ip(&format!("addr add fd00::{end}/64 dev eth0 nodad"));
        }
        let inbox = client.within(|| std::net::UdpSocket::bind("[fd00::2]:900").unwrap());
        inbox.set_read_timeout(Some(SHORT)).unwrap();
        let outbox = server.within(|| std::net::UdpSocket::bind("[fd00::3]:901").unwrap());
        let _ = outbox.send_to(b"six", "[fd00::2]:900");
        assert!(inbox.recv(&mut buffer).is_err());
        // It is the filter that did it.
        sh("nft flush ruleset");
        server.ip("neigh flush all");
        inbox.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        outbox.send_to(b"six", "[fd00::2]:900").unwrap();
        assert_eq!(inbox.recv(&mut buffer).unwrap(), 3);
        assert!(
            net.found(&networks).await.unwrap().filter.is_none(),
            "a lost filter is noticed"
        );
    });
}

#[test]
fn rules_let_in_what_they_name_and_answers() {
    node("filter::rules_let_in_what_they_name_and_answers", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let rule = |protocol, first, last, source: &str| Rule {
            protocol,
            first,
            last,
            source: source.to_owned(),
        };
        let mut net = Net::new(1, &[2, 3]);
        net.rules = vec![
            rule(Protocol::Tcp, 80, 81, "0.0.0.0/0"),
            rule(Protocol::Tcp, 90, 90, "192.168.0.0/16"),
            rule(Protocol::Udp, 53, 53, "10.0.0.0/24"),
        ];
        net.build(&networks).await;
        let [server, client] = [2, 3].map(|port| Machine::with_address(&net, port));
        assert!(client.talks(&server, "10.0.0.2", 80, true).is_some());
        assert!(client.talks(&server, "10.0.0.2", 81, true).is_some());
        assert!(client.talks(&server, "10.0.0.2", 82, false).is_none());
        assert!(client.talks(&server, "10.0.0.2", 90, false).is_none(), "not from there");
        // Both have the rules; each hears the gateway's answers, to pings and to DHCP.
        assert!(client.reaches("10.0.0.1") && client.is_deaf_to("10.0.0.2"));
        // UDP: to the port that is open; to another only as an answer.
        let (open, closed, asker) = (server.udp(53), server.udp(54), client.udp(5_000));
        let mut buffer = [0; 16];
        for socket in [&open, &closed, &asker] {
            socket.set_read_timeout(Some(SHORT)).unwrap();
        }
        asker.send_to(b"one", "10.0.0.2:53").unwrap();
        assert!(open.recv(&mut buffer).is_ok());
        asker.send_to(b"two", "10.0.0.2:54").unwrap();
        assert!(closed.recv(&mut buffer).is_err());
        open.send_to(b"answer", "10.0.0.3:5000").unwrap();
        assert!(asker.recv(&mut buffer).is_ok());
        server.udp(55).send_to(b"no answer", "10.0.0.3:5000").unwrap();
        assert!(asker.recv(&mut buffer).is_err());
        // Other rules take over at once.
        net.rules = vec![
            rule(Protocol::Tcp, 82, 82, "10.0.0.0/8"),
            rule(Protocol::Icmp, 0, 0, "0.0.0.0/0"),
        ];
        networks.run(&net.set_filter()).await.unwrap();
        assert!(client.talks(&server, "10.0.0.2", 82, true).is_some());
        assert!(client.talks(&server, "10.0.0.2", 80, false).is_none());
        assert!(client.reaches("10.0.0.2"));
    });
}

#[test]
fn limits_drop_what_is_above_them() {
    node("filter::limits_drop_what_is_above_them", async || {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let mut net = Net::new(1, &[2, 3]);
        net.build(&networks).await;
        let [one, other] = [2, 3].map(|port| Machine::with_address(&net, port));
        let (inbox, outbox) = (one.udp(700), other.udp(701));
        assert!(other.reaches("10.0.0.2"));
        let flood = || {
            inbox.set_read_timeout(Some(SHORT)).unwrap();
            let mut heard = 0;
            let mut buffer = [0; 2_000];
            // One by one, so that no buffer is what drops them.
            for _ in 0..400 {
                outbox.send_to(&[7; 1_000], "10.0.0.2:700").unwrap();
                match inbox.recv(&mut buffer) {
                    Ok(_) => heard += 1,
                    Err(_) => break,
                }
            }
            heard
        };
        assert_eq!(flood(), 400);
        net.rate_bits = 8_000;
        networks.run(&net.set_rates()).await.unwrap();
        net.assert_stands(&networks).await;
        let heard = flood();
        assert!(
            (50..300).contains(&heard),
            "the burst of 128 KiB passes, then no more: {heard}"
        );
    });
}
