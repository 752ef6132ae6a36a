//! Who can hear whom: networks with the same subnet, guests that lie about who they are, rules of a port.

use symphony_api::{Client, Endpoint};
use symphony_tests::cloud::token;
use symphony_tests::lab::Abilities;
use symphony_tests::server::Segment;
use symphony_tests::{Cloud, Guest};

use super::machines_story::{done, linux, logged, machine, network_id, options};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_heard_where_they_do_not_belong() {
    if !Abilities::here().guests() || !Abilities::here().networks() {
        return;
    }
    let cloud = Cloud::start(options(1)).await;
    // Two projects, one subnet, one address.
    linux(&cloud, "");
    done(&cloud, "project create lab");
    linux(&cloud, "--project lab");
    for project in ["default", "lab"] {
        done(
            &cloud,
            &format!("network create net1 --subnet 10.9.0.0/24 --project {project}"),
        );
    }
    done(
        &cloud,
        "machine create red --image linux --memory 128MiB --network net1 --no-wait",
    );
    done(
        &cloud,
        "machine create liar --image linux --memory 128MiB --network net1 --allow tcp:80 --no-wait",
    );
    done(
        &cloud,
        "machine create blue --image linux --memory 128MiB --network net1 --project lab --no-wait",
    );
    logged(&cloud, "red", "address=10.9.0.2").await;
    logged(&cloud, "liar", "address=10.9.0.3").await;
    let red = Segment::of("node-1", &network_id(&cloud, "net1"));
    let blue = Segment::of("node-1", &network_id(&cloud, "net1 --project lab"));
    assert_eq!(red.http("10.9.0.2", 80).as_deref(), Some("red"));
    assert_eq!(
        blue.http("10.9.0.2", 80).as_deref(),
        Some("blue"),
        "the same address, another machine"
    );
    assert!(
        blue.pings_in_vain("10.9.0.3") && red.pings("10.9.0.2"),
        "what is in one net only"
    );
    let clients = [("default", "red"), ("default", "liar"), ("lab", "blue")];
    let [mut red, mut liar, mut blue] = guests(&cloud, clients).await;

    assert!(reaches(&mut liar, "10.9.0.2").await && !reaches(&mut blue, "10.9.0.3").await);
    rules_let_in_what_they_name(&mut red, &mut liar).await;
    a_liar_is_not_heard(&mut red, &mut liar, &machine(&cloud, "liar").spec.ports[0].mac).await;

    let (code, _, why) = cloud.symphony(&["network", "delete", "net1"]);
    assert!(code == 4 && why.contains("red"), "{code} {why}");
}

async fn guests<const N: usize>(cloud: &Cloud, of: [(&str, &str); N]) -> [Guest; N] {
    let mut guests = Vec::new();
    for (project, name) in of {
        let endpoint = Endpoint::Http(cloud.client().address().to_owned());
        let client = Client::new(&endpoint, Some(&token(cloud.dir())), project).unwrap();
        let mut guest = Guest::attach(&client, name).await;
        assert_eq!(guest.run("hostname").await, name);
        guests.push(guest);
    }
    guests
        .try_into()
        .unwrap_or_else(|_| panic!("as many as were asked for"))
}

/// Whether a guest gets an answer to a ping; one try of a second.
async fn reaches(guest: &mut Guest, address: &str) -> bool {
    let said = guest
        .run(&format!(
            "ping -c 1 -W 1 {address} >/dev/null 2>&1 && echo reached || echo deaf"
        ))
        .await;
    assert!(said == "reached" || said == "deaf", "{said}");
    said == "reached"
}

/// What a guest gets by HTTP.
async fn gets(guest: &mut Guest, address: &str, port: u16) -> String {
    let said = guest
        .run(&format!(
            "(printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 1) | nc -w 2 {address} {port} | grep -v : || echo nothing"
        ))
        .await;
    said.lines().last().unwrap_or_default().trim().to_owned()
}

/// Only one of the two has rules: HTTP comes in there, and nothing else; what it asks for itself is answered.
async fn rules_let_in_what_they_name(red: &mut Guest, ruled: &mut Guest) {
    ruled.run("httpd -p 81 -h /var/www").await;
    red.run("httpd -p 81 -h /var/www").await;
    assert_eq!(gets(red, "10.9.0.3", 80).await, "liar");
    assert!(gets(red, "10.9.0.3", 81).await.contains("nothing"), "no rule for it");
    assert!(!reaches(red, "10.9.0.3").await, "nor for this");
    assert_eq!(gets(ruled, "10.9.0.2", 81).await, "red", "without rules all comes in");
}

async fn a_liar_is_not_heard(red: &mut Guest, liar: &mut Guest, mac: &str) {
    // Another address. What counts is that the neighbour counts no packet, whoever would be answered.
    liar.run("ip addr add 10.9.0.99/24 dev eth0").await;
    let before = red.run(COUNT).await;
    assert!(before.parse::<u64>().is_ok(), "{before}");
    liar.run("ping -c 3 -W 1 -I 10.9.0.99 10.9.0.2 >/dev/null 2>&1").await;
    assert_eq!(red.run(COUNT).await, before, "nothing was heard of 10.9.0.99");
    // The same ping as itself is heard.
    assert!(reaches(liar, "10.9.0.2").await);
    assert_ne!(red.run(COUNT).await, before);
    liar.run("ip addr del 10.9.0.99/24 dev eth0").await;

    // The neighbour's own address: it keeps it, and nobody else is answered as it.
    liar.run("ip addr add 10.9.0.1/24 dev eth0; arping -c 2 -w 2 -U -I eth0 10.9.0.1 >/dev/null 2>&1")
        .await;
    red.run("ip neigh flush dev eth0; ping -c 1 -W 1 10.9.0.1 >/dev/null 2>&1")
        .await;
    let known = red.run("ip neigh").await;
    assert!(
        known.contains("10.9.0.1 ") && !known.contains(mac),
        "the gateway is who it was: {known}"
    );
    liar.run("ip addr del 10.9.0.1/24 dev eth0").await;

    // Another MAC.
    let other = "52:54:00:ff:ff:ff";
    liar.run(&format!(
        "ip link set eth0 down; ip link set eth0 address {other}; ip link set eth0 up"
    ))
    .await;
    assert!(liar.run("ip link show eth0").await.contains(other), "it did change it");
    liar.run("ip addr replace 10.9.0.3/24 dev eth0").await;
    let before = red.run(COUNT).await;
    liar.run("ping -c 2 -W 1 10.9.0.2 >/dev/null 2>&1").await;
    assert_eq!(red.run(COUNT).await, before, "nothing was heard of {other}");
    liar.run(&format!(
        "ip link set eth0 down; ip link set eth0 address {mac}; ip link set eth0 up"
    ))
    .await;
    liar.run("ip addr replace 10.9.0.3/24 dev eth0").await;
    assert!(reaches(liar, "10.9.0.2").await, "as itself it is heard again");
}

/// Echo requests that a guest has got.
const COUNT: &str = "awk '/^Icmp:/ && !/In/ { print $10 }' /proc/net/snmp";
