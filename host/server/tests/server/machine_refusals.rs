//! Machines that are refused, each for its reason.

use serde_json::{Value, json};
use symphony_api::Code::{self, InvalidArgument as Bad, NotFound, Unprocessable};
use symphony_api::JSON_BODY_BYTES_MAX;
use symphony_core::image::{Image, ImagePhase as Phase};
use symphony_core::{keys, record};
use symphony_store::StoreExt as _;

use crate::harness::{self, Harness};
use crate::machines::{machine, wanted};
use crate::networks::network;
use crate::volumes::volume;

/// What is answered, where it is wrong, and the spec.
type Case = (Code, &'static str, Value);

/// What can be wrong with its size and its volumes.
fn sizes_and_volumes() -> Vec<Case> {
    let long = "x".repeat(63);
    let volumes: Vec<Value> = (0..16)
        .map(|n| json!({"name": format!("v{n}"), "size": "1MiB"}))
        .collect();
    vec![
        (Bad, "/spec/cpus", json!({"cpus": 0})),
        (Bad, "/spec/cpus", json!({"cpus": 513})),
        (Bad, "/spec/memory", json!({"memory": 0})),
        (Bad, "/spec/memory", json!({"memory": "1MiB"})),
        (Bad, "/spec/memory", json!({"memory": "17TiB"})),
        (Bad, "/spec/memory", json!({"memory": (64 << 20) + 1})),
        (Bad, "/spec/memory", json!({"memory": "lots"})),
        (Bad, "/spec/root_size", json!({"root_size": "x"})),
        (Unprocessable, "/spec/root_size", json!({"root_size": "1KiB"})),
        (Bad, "/spec/pool", json!({"pool": "/"})),
        (NotFound, "/spec/image", json!({"image": "nope"})),
        (Bad, "/spec/image", json!({"image": null})),
        (Bad, "/spec/root_size", json!({"image": null, "root_size": "1GiB"})),
        (Bad, "/spec/volumes", json!({"volumes": volumes})),
        (
            Bad,
            "/spec/volumes/0/name",
            json!({"volumes": [{"name": "root", "size": "1MiB"}]}),
        ),
        (
            Bad,
            "/spec/volumes/0/name",
            json!({"volumes": [{"name": long, "size": "1MiB"}]}),
        ),
        (
            Bad,
            "/spec/volumes/0/size",
            json!({"volumes": [{"name": "a", "size": 0}]}),
        ),
        (NotFound, "/spec/volumes/0/name", json!({"volumes": [{"name": "nope"}]})),
        (
            Code::VolumeInUse,
            "/spec/volumes/0/name",
            json!({"volumes": [{"name": "other-root"}]}),
        ),
    ]
}

/// What can be wrong with its ports.
fn ports() -> Vec<Case> {
    let (rules, ports) = (vec!["icmp"; 65], vec![json!({"network": "net"}); 9]);
    vec![
        (Bad, "/spec/ports", json!({"ports": ports})),
        (
            NotFound,
            "/spec/ports/0/network",
            json!({"ports": [{"network": "nope"}]}),
        ),
        (
            Bad,
            "/spec/ports/0/address",
            json!({"ports": [{"network": "net", "address": "x"}]}),
        ),
        (
            Bad,
            "/spec/ports/0/address",
            json!({"ports": [{"network": "net", "address": "10.0.0.1"}]}),
        ),
        (
            Bad,
            "/spec/ports/0/address",
            json!({"ports": [{"network": "net", "address": "10.0.0.255"}]}),
        ),
        (
            Bad,
            "/spec/ports/0/address",
            json!({"ports": [{"network": "net", "address": "10.9.0.5"}]}),
        ),
        (
            Bad,
            "/spec/ports/0/allow/1",
            json!({"ports": [{"network": "net", "allow": ["icmp", "tcp:x"]}]}),
        ),
        (
            Bad,
            "/spec/ports/0/allow",
            json!({"ports": [{"network": "net", "allow": rules}]}),
        ),
        (
            Bad,
            "/spec/ports/0/rate",
            json!({"ports": [{"network": "net", "rate": "100MB"}]}),
        ),
    ]
}

/// What can be wrong with what its guest is told, and with where it may go.
fn first_boot_and_place() -> Vec<Case> {
    vec![
        (Bad, "/spec/user_data", json!({"user_data": "x".repeat(65_537)})),
        (Bad, "/spec", json!({"user_data": "\u{1}".repeat(65_536)})),
        (Bad, "/spec/ssh_keys", json!({"ssh_keys": vec!["ssh-ed25519 A"; 33]})),
        (Bad, "/spec/ssh_keys/0", json!({"ssh_keys": ["nonsense"]})),
        (
            Bad,
            "/spec/ssh_keys/0",
            json!({"ssh_keys": ["ssh-ed25519 A\nssh-ed25519 B"]}),
        ),
        (
            Bad,
            "/spec/ssh_keys/0",
            json!({"ssh_keys": [format!("ssh-rsa {}", "A".repeat(4096))]}),
        ),
        (Bad, "/spec/require", json!({"require": {"a": "ü"}})),
        (Bad, "/spec/prefer", json!({"prefer": {"": "x"}})),
        (Bad, "/spec/apart_from/0", json!({"apart_from": ["m"]})),
        (Bad, "/spec/near/0", json!({"near": ["m"]})),
        (Bad, "/spec/near/0", json!({"near": ["A"]})),
        (Bad, "/spec/near", json!({"near": vec!["other"; 65]})),
        (NotFound, "/spec/apart_from/0", json!({"apart_from": ["nope"]})),
        (NotFound, "/spec/near/1", json!({"near": ["other", "nope"]})),
        (
            Unprocessable,
            "/spec/near/0",
            json!({"near": ["other"], "apart_from": ["other"]}),
        ),
    ]
}

#[tokio::test]
async fn bad_values_are_each_named_and_change_nothing() {
    let harness = Harness::start().await;
    harness.client().create_network(&network("net", None)).await.unwrap();
    machine(&harness, "other", json!({})).await;
    let cases = [sizes_and_volumes(), ports(), first_boot_and_place()].concat();
    for (code, pointer, spec) in cases {
        let mut body = json!({"name": "m", "spec": {"image": "base"}});
        for (field, value) in spec.as_object().unwrap() {
            body["spec"][field] = value.clone();
        }
        if body["spec"]["image"].is_null() {
            body["spec"].as_object_mut().unwrap().remove("image");
        }
        harness.refused(harness.post_machine(&body)).await.at(code, pointer);
    }
    let all = json!({"name": "A", "labels": {"": "x"}, "spec": {"image": "base", "cpus": 0, "memory": 0, "pool": "/"}});
    let problem = harness.refused(harness.post_machine(&all)).await.is(Bad);
    let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/name", "/labels", "/spec/cpus", "/spec/memory", "/spec/pool"],
        "all at once"
    );
    let taken = json!({"name": "other", "spec": {"image": "base"}});
    harness
        .refused(harness.post_machine(&taken))
        .await
        .at(Code::AlreadyExists, "/name");
    let long = json!({"name": "x".repeat(60), "spec": {"image": "base"}});
    harness.refused(harness.post_machine(&long)).await.at(Bad, "/name");
    let huge = json!({"name": "m", "spec": {"image": "base", "user_data": "x".repeat(10 << 20)}});
    let problem = harness.refused(harness.post_machine(&huge)).await.is(Code::TooLarge);
    assert!(
        problem.detail.contains(&JSON_BODY_BYTES_MAX.to_string()),
        "{}",
        problem.detail
    );
    harness.stop().await;
}

#[tokio::test]
async fn images_and_volumes_that_can_t_be_used_are_refused() {
    let harness = Harness::start().await;
    let client = harness.client();
    let body = serde_json::to_value(wanted(&harness, "m", json!({})).await).unwrap();
    let key = keys::image(&"default".parse().unwrap(), &"base".parse().unwrap());
    let kv = harness.store.get(&key.as_str().into(), None).await.unwrap().unwrap();
    let mut image: Image = record::decode(&kv.value).unwrap();
    image.status.phase = Phase::Failed;
    harness.store.put(key, record::encode(&image).unwrap()).await.unwrap();
    harness
        .refused(harness.post_machine(&body))
        .await
        .at(Code::Conflict, "/spec/image");
    client.delete_image("base", None).await.unwrap();
    harness
        .refused(harness.post_machine(&body))
        .await
        .at(Code::Conflict, "/spec/image");

    for (name, node) in [("a", "n1"), ("b", "n2")] {
        client.create_volume(&volume(name, "1MiB")).await.unwrap();
        harness.place_volume(name, node).await;
    }
    let two = json!({"name": "m", "spec": {"volumes": [{"name": "a"}, {"name": "b"}]}});
    let problem = harness
        .refused(harness.post_machine(&two))
        .await
        .at(Code::Unprocessable, "/spec/volumes/1/name");
    assert!(
        problem.detail.contains("n1") && problem.detail.contains("n2"),
        "{}",
        problem.detail
    );
    let twice = json!({"name": "m", "spec": {"volumes": [{"name": "a"}, {"name": "a"}]}});
    harness
        .refused(harness.post_machine(&twice))
        .await
        .at(Code::Unprocessable, "/spec/volumes/1/name");
    client.delete_volume("b", None).await.unwrap();
    let going = json!({"name": "m", "spec": {"volumes": [{"name": "b"}]}});
    harness
        .refused(harness.post_machine(&going))
        .await
        .at(Code::Conflict, "/spec/volumes/0/name");
    // A volume that exists is enough to boot from.
    let one = json!({"name": "m", "spec": {"volumes": [{"name": "a"}], "power": "off"}});
    let (_, made) = harness::json(harness.post_machine(&one)).await;
    assert_eq!(
        (&made["spec"]["volumes"][0]["name"], &made["spec"]["boots"]),
        (&json!("a"), &json!(0))
    );
    harness.stop().await;
}

#[tokio::test]
async fn a_machine_larger_than_every_node_is_refused_at_once() {
    let harness = Harness::start().await;
    // Nothing is known of nodes: it may wait for one.
    machine(&harness, "early", json!({"cpus": 100, "memory": "1TiB"})).await;
    harness.add_compute("n1").await;
    let cases = [
        (json!({"cpus": 9}), "/spec/cpus", "8 virtual processors"),
        (json!({"memory": "32GiB"}), "/spec/memory", "16GiB"),
    ];
    for (spec, pointer, says) in cases {
        let body = serde_json::to_value(wanted(&harness, "m", spec).await).unwrap();
        let problem = harness
            .refused(harness.post_machine(&body))
            .await
            .at(Code::Unplaceable, pointer);
        assert!(problem.detail.contains(says), "{}", problem.detail);
    }
    machine(&harness, "m", json!({"cpus": 8, "memory": "16GiB"})).await;
    harness.stop().await;
}
