//! Volumes and ports that come to a machine and leave it: never in two hands.

use reqwest::Method;
use serde_json::json;
use symphony_api::Code;
use symphony_api::v1::{AttachVolume, WantedPort};

use crate::harness::Harness;
use crate::machines::{MACHINES, machine};
use crate::networks::network;
use crate::volumes::volume;

fn the(volume: &str) -> AttachVolume {
    AttachVolume {
        volume: volume.into(),
        delete_with_machine: false,
    }
}

fn on(network: &str) -> WantedPort {
    WantedPort {
        network: network.into(),
        ..WantedPort::default()
    }
}

#[tokio::test]
async fn of_machines_that_want_a_volume_at_once_one_gets_it() {
    let harness = Harness::start().await;
    let client = harness.client();
    client.create_volume(&volume("v", "1MiB")).await.unwrap();
    let names: Vec<String> = (0..6).map(|n| format!("m{n}")).collect();
    for name in &names {
        machine(&harness, name, json!({})).await;
    }
    let ask = the("v");
    let answers = futures_util::future::join_all(names.iter().map(|name| client.attach_volume(name, &ask))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!((refused.code(), refused.exit_code()), (Some(Code::VolumeInUse), 4));
    }
    let owner = client.volume("v").await.unwrap().status.machine.unwrap();
    for machine in client.all_machines(None).await.unwrap() {
        let has = machine.spec.volumes.iter().any(|volume| volume.name == "v");
        assert_eq!(has, machine.meta.name == owner);
    }
    // New machines that want it are no different.
    client.create_volume(&volume("w", "1MiB")).await.unwrap();
    let mut asks = Vec::new();
    for n in 0..6 {
        asks.push(crate::machines::wanted(&harness, &format!("w{n}"), json!({"volumes": [{"name": "w"}]})).await);
    }
    let answers = futures_util::future::join_all(asks.iter().map(|ask| client.create_machine(ask))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code(), Some(Code::VolumeInUse));
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_detached_volume_stays_with_its_machine_until_the_node_let_go() {
    let harness = Harness::start().await;
    let client = harness.client();
    client.create_volume(&volume("v", "1MiB")).await.unwrap();
    machine(&harness, "m", json!({})).await;
    machine(&harness, "other", json!({})).await;
    let with = client.attach_volume("m", &the("v")).await.unwrap();
    assert_eq!((with.spec.volumes.len(), with.meta.generation), (2, 2));
    assert_eq!(
        client.attach_volume("m", &the("v")).await.unwrap(),
        with,
        "doing so again changes nothing"
    );
    // Without a place nothing of it is on a node: it is free at once.
    client.detach_volume("m", "v").await.unwrap();
    assert_eq!(client.volume("v").await.unwrap().status.machine, None);

    client.attach_volume("m", &the("v")).await.unwrap();
    harness.place_machine("m", "n1").await;
    let without = client.detach_volume("m", "v").await.unwrap();
    assert_eq!(without.spec.volumes.len(), 1);
    assert_eq!(client.detach_volume("m", "v").await.unwrap(), without);
    assert_eq!(harness.record("m").await.status.leaving.volumes[0].name.as_str(), "v");
    assert_eq!(client.volume("v").await.unwrap().status.machine.as_deref(), Some("m"));
    for name in ["m", "other"] {
        let refused = client.attach_volume(name, &the("v")).await.unwrap_err();
        assert_eq!(refused.code(), Some(Code::VolumeInUse), "{name}");
    }
    let parts = client.explain_machine("m").await.unwrap().parts;
    assert!(
        parts.iter().any(|part| part.name == "v" && part.state == "leaving"),
        "{parts:?}"
    );
    let missing = harness.ask(Method::DELETE, &format!("{MACHINES}/m/volumes/nope"));
    harness.refused(missing).await.is(Code::NotFound);
    harness.stop().await;
}

#[tokio::test]
async fn a_machine_keeps_what_it_boots_from_while_it_runs() {
    let harness = Harness::start().await;
    let client = harness.client();
    machine(&harness, "m", json!({})).await;
    let boot = harness.ask(Method::DELETE, &format!("{MACHINES}/m/volumes/m-root"));
    harness.refused(boot).await.is(Code::WrongPower);
    client.stop_machine("m").await.unwrap();
    let empty = client.detach_volume("m", "m-root").await.unwrap();
    assert!(empty.spec.volumes.is_empty());
    assert_eq!(
        client.start_machine("m").await.unwrap_err().code(),
        Some(Code::Unprocessable)
    );
    client.attach_volume("m", &the("m-root")).await.unwrap();
    client.start_machine("m").await.unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn a_volume_elsewhere_and_one_too_many_are_refused() {
    let harness = Harness::start().await;
    let client = harness.client();
    machine(&harness, "m", json!({})).await;
    harness.place_machine("m", "n1").await;
    client.create_volume(&volume("far", "1MiB")).await.unwrap();
    harness.place_volume("far", "n2").await;
    let attach = |volume: &str| {
        harness
            .ask(Method::POST, &format!("{MACHINES}/m/volumes"))
            .json(&json!({"volume": volume}))
    };
    let problem = harness.refused(attach("far")).await.at(Code::Conflict, "/volume");
    assert!(
        problem.detail.contains("n2") && problem.detail.contains("n1"),
        "{}",
        problem.detail
    );
    harness.refused(attach("nope")).await.at(Code::NotFound, "/volume");
    for n in 0..16 {
        client.create_volume(&volume(&format!("v{n}"), "1MiB")).await.unwrap();
    }
    for n in 0..15 {
        client.attach_volume("m", &the(&format!("v{n}"))).await.unwrap();
    }
    harness.refused(attach("v15")).await.at(Code::Unprocessable, "/volume");
    // What is not gone yet takes a place.
    client.detach_volume("m", "v0").await.unwrap();
    harness.refused(attach("v15")).await.at(Code::Unprocessable, "/volume");
    harness.stop().await;
}

#[tokio::test]
async fn volumes_that_can_t_be_together_are_not_put_together() {
    let harness = Harness::start().await;
    let client = harness.client();
    let in_pool = |name: &str, pool: &str| {
        let mut wanted = volume(name, "1MiB");
        wanted.spec.pool = Some(pool.into());
        wanted
    };
    client.create_volume(&in_pool("fast", "fast")).await.unwrap();
    client.create_volume(&in_pool("slow", "slow")).await.unwrap();
    let body = json!({"name": "m", "spec": {"volumes": [{"name": "fast"}, {"name": "slow"}]}});
    let problem = harness
        .refused(harness.post_machine(&body))
        .await
        .at(Code::Unprocessable, "/spec/volumes/1/name");
    assert!(problem.detail.contains("pool slow"), "{}", problem.detail);
    machine(&harness, "m", json!({"pool": "slow"})).await;
    let refused = client.attach_volume("m", &the("fast")).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::Conflict));
    client.attach_volume("m", &the("slow")).await.unwrap();
    // With a place, each volume's place is looked for by itself.
    harness.place_machine("m", "n1").await;
    client.attach_volume("m", &the("fast")).await.unwrap();

    machine(&harness, "other", json!({"pool": "slow"})).await;
    for (name, node) in [("a", "n1"), ("b", "n2")] {
        client.create_volume(&volume(name, "1MiB")).await.unwrap();
        harness.place_volume(name, node).await;
    }
    client.attach_volume("other", &the("a")).await.unwrap();
    let refused = client.attach_volume("other", &the("b")).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::Conflict));
    harness.stop().await;
}

#[tokio::test]
async fn ports_come_and_go_with_their_addresses() {
    let harness = Harness::start().await;
    let client = harness.client();
    client
        .create_network(&network("net", Some("10.0.0.0/30")))
        .await
        .unwrap();
    machine(&harness, "m", json!({})).await;
    machine(&harness, "other", json!({})).await;
    let with = client.add_port("m", &on("net")).await.unwrap();
    assert_eq!(
        (with.spec.ports[0].address.as_str(), with.meta.generation),
        ("10.0.0.2", 2)
    );
    let full = client.add_port("other", &on("net")).await.unwrap_err();
    assert_eq!(full.code(), Some(Code::NetworkFull));
    // Without a place nothing of it is on a node: its address is free at once.
    client.remove_port("m", "net").await.unwrap();
    assert_eq!(
        (harness.count("v1/address/").await, harness.count("v1/mac/").await),
        (0, 0)
    );

    client.add_port("m", &on("net")).await.unwrap();
    harness.place_machine("m", "n1").await;
    let without = client.remove_port("m", "net").await.unwrap();
    assert!(without.spec.ports.is_empty());
    assert_eq!(
        client.remove_port("m", "net").await.unwrap(),
        without,
        "doing so again changes nothing"
    );
    assert_eq!(harness.record("m").await.status.leaving.ports.len(), 1);
    assert_eq!(
        client.add_port("other", &on("net")).await.unwrap_err().code(),
        Some(Code::NetworkFull)
    );
    let refused = client.delete_network("net", None).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::NetworkInUse));
    assert!(refused.problem().unwrap().detail.contains("by m;"));
    let missing = harness.ask(Method::DELETE, &format!("{MACHINES}/m/ports/nope"));
    harness.refused(missing).await.is(Code::NotFound);

    client.create_network(&network("wide", None)).await.unwrap();
    for body in [
        json!({"network": "wide", "address": "10.9.9.9"}),
        json!({"network": "wide", "address": "x"}),
    ] {
        let request = harness.ask(Method::POST, &format!("{MACHINES}/m/ports")).json(&body);
        harness.refused(request).await.at(Code::InvalidArgument, "/address");
    }
    for _ in 0..7 {
        client.add_port("m", &on("wide")).await.unwrap();
    }
    let ports = harness.record("m").await.spec.ports;
    let which = client.remove_port("m", "wide").await.unwrap_err();
    assert_eq!(which.code(), Some(Code::Conflict));
    let detail = &which.problem().unwrap().detail;
    assert!(
        ports.iter().all(|port| detail.contains(&port.id.to_string())),
        "{detail}"
    );
    let many = harness
        .ask(Method::POST, &format!("{MACHINES}/m/ports"))
        .json(&json!({"network": "wide"}));
    harness.refused(many).await.at(Code::Unprocessable, "/network");
    harness.stop().await;
}
