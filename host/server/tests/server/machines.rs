//! Machines: made in one transaction with all that is theirs, refused, ordered, changed, deleted.

use std::collections::{BTreeSet, HashSet};

use reqwest::Method;
use serde_json::{Value, json};
use symphony_api::client::Upload;
use symphony_api::v1::{CreateMachine, Machine, MachinePhase, PatchMachine, Power, VolumesThen};
use symphony_api::{Code, JSON_BODY_BYTES_MAX};
use symphony_core::condition::Truth;
use symphony_core::image::{Image, ImagePhase as Phase};
use symphony_core::machine::{Machine as Record, MachinePhase as SeenPhase, MachinePlacement};
use symphony_core::node::Compute;
use symphony_core::place::Ledger;
use symphony_core::plan::machine::Hypervisor;
use symphony_core::volume::{Decider, Volume};
use symphony_core::{Timestamp, keys, record};
use symphony_store::{Range, StoreExt as _};

use crate::harness::{self, Harness};
use crate::networks::network;
use crate::volumes::volume;

pub(crate) const MACHINES: &str = "/v1/projects/default/machines";

/// Asks for a machine from the image `base`, which is uploaded when it is not there yet.
pub(crate) async fn wanted(harness: &Harness, name: &str, spec: Value) -> CreateMachine {
    let client = harness.client();
    if client.image("base").await.is_err() {
        let bytes = Upload::bytes(vec![7; 1 << 20]);
        client.create_image("base", None, bytes).await.unwrap();
    }
    let mut body = json!({"name": name, "spec": {"image": "base"}});
    for (field, value) in spec.as_object().unwrap() {
        body["spec"][field] = value.clone();
    }
    serde_json::from_value(body).unwrap()
}

/// Makes such a machine.
pub(crate) async fn machine(harness: &Harness, name: &str, spec: Value) -> Machine {
    let wanted = wanted(harness, name, spec).await;
    harness.client().create_machine(&wanted).await.unwrap()
}

impl Harness {
    pub(crate) fn post_machine(&self, body: &Value) -> reqwest::RequestBuilder {
        self.ask(Method::POST, MACHINES).json(body)
    }

    /// The record of a machine.
    pub(crate) async fn record(&self, name: &str) -> Record {
        let key = keys::machine(&"default".parse().unwrap(), &name.parse().unwrap());
        let kv = self.store.get(&key.as_str().into(), None).await.unwrap().unwrap();
        record::decode(&kv.value).unwrap()
    }

    /// Changes the record of a machine, as the loops do.
    pub(crate) async fn seen(&self, name: &str, change: impl FnOnce(&mut Record)) {
        let mut machine = self.record(name).await;
        change(&mut machine);
        let key = keys::machine(&machine.meta.project, &machine.meta.name);
        self.store.put(key, record::encode(&machine).unwrap()).await.unwrap();
    }

    /// Places a machine, as the place loop does.
    pub(crate) async fn place_machine(&self, name: &str, node: &str) {
        self.seen(name, |machine| {
            machine.placement = Some(MachinePlacement {
                node: node.parse().unwrap(),
                claimed: machine.spec.size,
                decided_by: Decider {
                    name: "p".into(),
                    version: "1".into(),
                    digest: None,
                    instead_of: None,
                },
                score: 1.0,
                decided_at: Timestamp::from_second(1).unwrap(),
            });
        })
        .await;
    }

    /// A node that runs machines: 8 vCPUs, 16 GiB.
    pub(crate) async fn add_compute(&self, name: &str) {
        let mut node = self.add_node(name, Truth::True).await;
        node.status.compute = Some(Compute {
            hypervisor: Hypervisor::Test,
            cpus: 4,
            cpu_overcommit_percent: 200,
            memory_bytes: 16 << 30,
        });
        let key = keys::node(&node.meta.name);
        self.store.put(key, record::encode(&node).unwrap()).await.unwrap();
    }

    /// The keys under a prefix.
    pub(crate) async fn count(&self, prefix: &str) -> usize {
        self.store.range(Range::prefix(prefix)).await.unwrap().kvs.len()
    }
}

#[tokio::test]
async fn a_machine_is_stored_with_all_that_is_its_own_in_one_transaction() {
    let harness = Harness::start().await;
    let client = harness.client();
    client.create_network(&network("net", None)).await.unwrap();
    client.create_volume(&volume("old", "1GiB")).await.unwrap();
    wanted(&harness, "m", json!({})).await;
    let before = harness.revision().await;
    let body = json!({"name": "m", "labels": {"app": "db"}, "spec": {
        "image": "base", "cpus": 2, "memory": "1GiB", "root_size": "2GiB", "user_data": "#cloud-config\n",
        "ssh_keys": ["ssh-ed25519 AAAA me"],
        "volumes": [{"name": "data", "size": "3GiB"}, {"name": "old", "delete_with_machine": true}],
        "ports": [{"network": "net", "allow": ["tcp:22", "icmp"], "rate": "100Mbit"}],
    }});
    let response = harness.post_machine(&body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["location"], "/v1/projects/default/machines/m");
    let made: Value = response.json().await.unwrap();
    assert_eq!(harness.revision().await, before + 1, "one transaction");
    let spec = &made["spec"];
    assert_eq!(
        (&spec["cpus"], &spec["memory_bytes"], &spec["power"], &spec["boots"]),
        (&json!(2), &json!(1_u64 << 30), &json!("on"), &json!(1))
    );
    assert_eq!(spec["user_data_bytes"], 14);
    let volumes: Vec<_> = spec["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| {
            (
                volume["name"].as_str().unwrap(),
                volume["delete_with_machine"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(volumes, [("m-root", true), ("m-data", false), ("old", true)]);
    for (name, _) in &volumes {
        assert_eq!(client.volume(name).await.unwrap().status.machine.as_deref(), Some("m"));
    }
    let root = client.volume("m-root").await.unwrap();
    assert_eq!(
        (root.spec.size, root.spec.image.unwrap().name.as_str()),
        (2 << 30, "base")
    );
    let port = &spec["ports"][0];
    assert_eq!(
        (&port["network"], &port["address"], &port["rate_bits"]),
        (&json!("net"), &json!("10.0.0.2"), &json!(100_000_000))
    );
    assert!(port["mac"].as_str().unwrap().starts_with("52:54:00:"));
    assert_eq!(
        (harness.count("v1/address/").await, harness.count("v1/mac/").await),
        (1, 1)
    );
    assert_eq!(harness.count("v1/image-use/").await, 1);
    let events = client.events(&Default::default()).await.unwrap().items;
    let told: BTreeSet<_> = events
        .iter()
        .filter(|event| event.revision == made["revision"].as_u64().unwrap())
        .map(|event| (event.reason.as_str(), event.subject.name.as_str()))
        .collect();
    assert_eq!(
        told,
        [("created", "m"), ("created", "m-data"), ("created", "m-root")].into()
    );
    for name in ["m", made["id"].as_str().unwrap()] {
        let (_, shown) = harness::json(harness.ask(Method::GET, &format!("{MACHINES}/{name}"))).await;
        assert_eq!(shown, made);
    }
    assert_eq!(client.all_machines(Some("app=db")).await.unwrap().len(), 1);
    let refused = client.delete_volume("m-data", None).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::VolumeInUse));
    assert!(refused.problem().unwrap().detail.contains("machine m "));
    let refused = client.delete_image("base", None).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::ImageInUse));
    harness.stop().await;
}

#[tokio::test]
async fn bad_values_are_each_named_and_change_nothing() {
    let harness = Harness::start().await;
    harness.client().create_network(&network("net", None)).await.unwrap();
    machine(&harness, "other", json!({})).await;
    let long = "x".repeat(63);
    let (rules, ports) = (vec!["icmp"; 65], vec![json!({"network": "net"}); 9]);
    let volumes: Vec<Value> = (0..16)
        .map(|n| json!({"name": format!("v{n}"), "size": "1MiB"}))
        .collect();
    use Code::{InvalidArgument as Bad, NotFound, Unprocessable};
    let cases = [
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
    ];
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

#[tokio::test]
async fn a_dry_run_schedules_and_stores_nothing() {
    let harness = Harness::start().await;
    let client = harness.client();
    client.create_network(&network("net", None)).await.unwrap();
    let ports = json!({"ports": [{"network": "net"}], "volumes": [{"name": "data", "size": "1GiB"}]});
    let ask = wanted(&harness, "m", ports).await;
    let before = harness.revision().await;
    let preview = client.preview_machine(&ask).await.unwrap();
    assert_eq!(
        (preview.placement.node.as_str(), preview.placement.verdicts.len()),
        ("n1", 1)
    );
    let parts: Vec<_> = preview
        .parts
        .iter()
        .map(|part| (part.kind.as_str(), part.name.as_str(), part.state.as_str()))
        .collect();
    assert_eq!(
        parts,
        [
            ("volume", "m-root", "new"),
            ("volume", "m-data", "new"),
            ("port", "net", "new")
        ]
    );
    assert!(preview.parts[2].detail.contains("10.0.0.2"), "{:?}", preview.parts);
    assert_eq!(preview.steps.last().unwrap().action, "define");
    let large = wanted(&harness, "m", json!({"root_size": "11GiB"})).await;
    let refused = client.preview_machine(&large).await.unwrap_err();
    assert_eq!((refused.code(), refused.exit_code()), (Some(Code::Unplaceable), 5));
    assert_eq!(refused.problem().unwrap().verdicts.len(), 1);
    assert_eq!(harness.revision().await, before);
    client.create_machine(&ask).await.unwrap();
    assert_eq!(
        client.preview_machine(&ask).await.unwrap_err().code(),
        Some(Code::AlreadyExists)
    );
    let explained = client.explain_machine("m").await.unwrap();
    assert_eq!(
        (explained.machine.as_str(), explained.node.as_deref()),
        ("m", Some("n1"))
    );
    let parts: Vec<_> = explained
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.state.as_str()))
        .collect();
    assert_eq!(
        parts,
        [("m-root", "Pending"), ("m-data", "Pending"), ("net", "reserved")]
    );
    harness.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_one_also_when_its_parts_are_taken_by_then() {
    let harness = Harness::start().await;
    let client = harness.client();
    client.create_network(&network("net", None)).await.unwrap();
    client.create_volume(&volume("old", "1MiB")).await.unwrap();
    let spec = json!({"volumes": [{"name": "old"}], "ports": [{"network": "net", "address": "10.0.0.9"}]});
    let ask = wanted(&harness, "m", spec).await;
    let answers = futures_util::future::join_all((0..8).map(|_| client.create_machine_once(&ask, "key"))).await;
    let ids: HashSet<_> = answers.into_iter().map(|answer| answer.unwrap().meta.id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(harness.count("v1/address/").await, 1);
    let first = client.create_machine_once(&ask, "key").await.unwrap();
    client.delete_machine("m", VolumesThen::AsSaid, None).await.unwrap();
    assert_eq!(client.create_machine_once(&ask, "key").await.unwrap(), first);
    let other = wanted(&harness, "m", json!({"cpus": 2})).await;
    let refused = client.create_machine_once(&other, "key").await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::IdempotencyMismatch));
    let refused = client.create_machine_once(&ask, "another").await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::AlreadyExists));
    harness.stop().await;
}

#[tokio::test]
async fn many_machines_at_once_get_addresses_of_their_own_until_there_are_none() {
    let harness = Harness::start().await;
    let client = harness.client();
    client
        .create_network(&network("net", Some("10.0.0.0/29")))
        .await
        .unwrap();
    let mut asks = Vec::new();
    for n in 0..12 {
        asks.push(wanted(&harness, &format!("m{n}"), json!({"ports": [{"network": "net"}]})).await);
    }
    let answers = futures_util::future::join_all(asks.iter().map(|ask| client.create_machine(ask))).await;
    let made: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    let addresses: BTreeSet<_> = made
        .iter()
        .map(|machine| machine.spec.ports[0].address.clone())
        .collect();
    let macs: BTreeSet<_> = made.iter().map(|machine| machine.spec.ports[0].mac.clone()).collect();
    let all = [2, 3, 4, 5, 6].map(|last| format!("10.0.0.{last}"));
    assert_eq!((made.len(), &addresses, macs.len()), (5, &all.into(), 5));
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!((refused.code(), refused.exit_code()), (Some(Code::NetworkFull), 4));
    }
    assert_eq!(harness.count("v1/machine/").await, 5);
    assert_eq!(
        harness.count("v1/volume/").await,
        5,
        "nothing of those that were refused"
    );
    let asked = wanted(
        &harness,
        "m",
        json!({"ports": [{"network": "net", "address": "10.0.0.3"}]}),
    )
    .await;
    let refused = client.create_machine(&asked).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::Conflict));
    harness.stop().await;
}

#[tokio::test]
async fn an_address_that_was_asked_for_is_given_to_no_other_port_of_the_same_request() {
    let harness = Harness::start().await;
    harness.client().create_network(&network("net", None)).await.unwrap();
    let ports = json!({"ports": [{"network": "net"}, {"network": "net", "address": "10.0.0.2"}, {"network": "net"}]});
    let made = machine(&harness, "m", ports).await;
    let addresses: Vec<_> = made.spec.ports.iter().map(|port| port.address.as_str()).collect();
    assert_eq!(addresses, ["10.0.0.3", "10.0.0.2", "10.0.0.4"]);
    let twice =
        json!({"ports": [{"network": "net", "address": "10.0.0.9"}, {"network": "net", "address": "10.0.0.9"}]});
    let body = serde_json::to_value(wanted(&harness, "n", twice).await).unwrap();
    harness
        .refused(harness.post_machine(&body))
        .await
        .at(Code::Conflict, "/spec/ports/1/address");
    let several = harness.client().remove_port("m", "net").await.unwrap_err();
    assert_eq!(several.code(), Some(Code::Conflict));
    let id = made.spec.ports[1].id.to_string();
    assert_eq!(
        harness.client().remove_port("m", &id).await.unwrap().spec.ports.len(),
        2
    );
    harness.stop().await;
}

#[tokio::test]
async fn orders_are_counted_once_each() {
    let harness = Harness::start().await;
    let client = harness.client();
    machine(&harness, "m", json!({"power": "off"})).await;
    let refused = client.reboot_machine("m").await.unwrap_err();
    assert_eq!((refused.code(), refused.exit_code()), (Some(Code::WrongPower), 4));
    let answers = futures_util::future::join_all((0..6).map(|_| client.start_machine("m"))).await;
    for started in answers {
        let spec = started.unwrap().spec;
        assert_eq!((spec.power, spec.boots), (Power::On, 1));
    }
    let again = client.start_machine("m").await.unwrap();
    assert_eq!((again.spec.boots, again.meta.generation), (1, 2));
    let boots = futures_util::future::join_all((0..3).map(|_| client.reboot_machine("m"))).await;
    let boots: BTreeSet<_> = boots.into_iter().map(|machine| machine.unwrap().spec.boots).collect();
    assert_eq!(boots, [2, 3, 4].into());
    let stopped = client.stop_machine("m").await.unwrap();
    assert_eq!(
        (stopped.spec.power, stopped.spec.boots, stopped.meta.generation),
        (Power::Off, 4, 6)
    );
    assert_eq!(client.stop_machine("m").await.unwrap(), stopped);
    client.start_machine("m").await.unwrap();
    // Its guest shut itself down, and its policy leaves it off: a start is an order again, once.
    harness
        .seen("m", |machine| {
            machine.status.phase = SeenPhase::Stopped;
            machine.status.observed_generation = machine.meta.generation;
        })
        .await;
    assert_eq!(client.machine("m").await.unwrap().status.phase, MachinePhase::Stopped);
    assert_eq!(
        client.reboot_machine("m").await.unwrap_err().code(),
        Some(Code::WrongPower)
    );
    assert_eq!(client.start_machine("m").await.unwrap().spec.boots, 6);
    assert_eq!(client.start_machine("m").await.unwrap().spec.boots, 6);
    let stale = harness
        .ask(Method::POST, &format!("{MACHINES}/m/stop"))
        .header("If-Match", "\"1\"");
    harness.refused(stale).await.is(Code::PreconditionFailed);
    harness.stop().await;
}

fn patch(spec: Value) -> PatchMachine {
    serde_json::from_value(json!({"spec": spec})).unwrap()
}

#[tokio::test]
async fn size_changes_only_while_it_is_off_and_only_as_far_as_its_node() {
    let harness = Harness::start().await;
    let client = harness.client();
    harness.add_compute("n1").await;
    let made = machine(&harness, "m", json!({"cpus": 2, "memory": "2GiB"})).await;
    for (spec, pointer) in [
        (json!({"cpus": 3}), "/spec/cpus"),
        (json!({"memory": "3GiB"}), "/spec/memory"),
    ] {
        let request = harness
            .ask(Method::PATCH, &format!("{MACHINES}/m"))
            .json(&json!({"spec": spec}));
        harness.refused(request).await.at(Code::WrongPower, pointer);
    }
    for (spec, pointer) in [
        (json!({"cpus": 0}), "/spec/cpus"),
        (json!({"memory": "x"}), "/spec/memory"),
    ] {
        let request = harness
            .ask(Method::PATCH, &format!("{MACHINES}/m"))
            .json(&json!({"spec": spec}));
        harness.refused(request).await.at(Code::InvalidArgument, pointer);
    }
    assert_eq!(
        client
            .patch_machine("m", &patch(json!({"power": "on", "cpus": 2})), None)
            .await
            .unwrap(),
        made
    );
    client
        .patch_machine("m", &patch(json!({"power": "off"})), None)
        .await
        .unwrap();
    let larger = client
        .patch_machine("m", &patch(json!({"cpus": 4, "restart": "never"})), None)
        .await
        .unwrap();
    assert_eq!(
        (larger.spec.cpus, larger.spec.memory_bytes, larger.spec.boots),
        (4, 2 << 30, 1)
    );
    harness.place_machine("m", "n1").await;
    let mut ledger = Ledger::default();
    let record = harness.record("m").await;
    let node: symphony_core::node::Node = {
        let kv = harness.store.get(&"v1/node/n1".into(), None).await.unwrap().unwrap();
        record::decode(&kv.value).unwrap()
    };
    ledger
        .claim_machine(record.spec.size, node.status.compute.as_ref().unwrap())
        .unwrap();
    harness
        .store
        .put("v1/ledger/n1", record::encode(&ledger).unwrap())
        .await
        .unwrap();
    client
        .patch_machine("m", &patch(json!({"cpus": 8, "memory": "16GiB"})), None)
        .await
        .unwrap();
    let request = harness
        .ask(Method::PATCH, &format!("{MACHINES}/m"))
        .json(&json!({"spec": {"cpus": 9, "memory": "17GiB"}}));
    let problem = harness.refused(request).await.at(Code::Unplaceable, "/spec/cpus");
    assert!(
        problem.detail.contains("4 virtual processors free, and 5 more"),
        "{}",
        problem.detail
    );
    assert_eq!(problem.errors.len(), 2);
    let started = client
        .patch_machine("m", &patch(json!({"power": "on"})), None)
        .await
        .unwrap();
    assert_eq!((started.spec.power, started.spec.boots), (Power::On, 2));
    let stale = client
        .patch_machine("m", &patch(json!({})), Some(made.meta.revision))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Some(Code::PreconditionFailed));
    harness.stop().await;
}

#[tokio::test]
async fn deleting_says_what_becomes_of_the_volumes() {
    let harness = Harness::start().await;
    let client = harness.client();
    let flags = |machine: &Machine| {
        machine
            .spec
            .volumes
            .iter()
            .map(|volume| volume.delete_with_machine)
            .collect::<Vec<_>>()
    };
    for (name, then, wanted) in [
        ("a", VolumesThen::AsSaid, [true, false]),
        ("b", VolumesThen::Keep, [false, false]),
        ("c", VolumesThen::Delete, [true, true]),
    ] {
        let made = machine(&harness, name, json!({"volumes": [{"name": "data", "size": "1MiB"}]})).await;
        let gone = client
            .delete_machine(name, then, Some(made.meta.revision))
            .await
            .unwrap();
        assert_eq!((flags(&gone), gone.meta.generation), (wanted.to_vec(), 2), "{name}");
        assert_eq!(gone.status.phase, MachinePhase::Deleting);
        assert_eq!(
            client.delete_machine(name, VolumesThen::AsSaid, None).await.unwrap(),
            gone
        );
        assert_eq!(
            client.start_machine(name).await.unwrap_err().code(),
            Some(Code::Conflict)
        );
    }
    let odd = harness.ask(Method::DELETE, &format!("{MACHINES}/a?volumes=burn"));
    harness.refused(odd).await.is(Code::InvalidArgument);
    harness
        .refused(harness.ask(Method::DELETE, &format!("{MACHINES}/nope")))
        .await
        .is(Code::NotFound);
    harness.stop().await;
}

impl Harness {
    /// Places a volume, as the place loop does.
    pub(crate) async fn place_volume(&self, name: &str, node: &str) {
        let key = keys::volume(&"default".parse().unwrap(), &name.parse().unwrap());
        let kv = self.store.get(&key.as_str().into(), None).await.unwrap().unwrap();
        let mut volume: Volume = record::decode(&kv.value).unwrap();
        volume.placement = Some(symphony_core::volume::Placement {
            node: node.parse().unwrap(),
            pool: "fast".parse().unwrap(),
            claimed_bytes: volume.spec.size.bytes(),
            decided_by: Decider {
                name: "p".into(),
                version: "1".into(),
                digest: None,
                instead_of: None,
            },
            score: 1.0,
            revision: symphony_core::counter::Revision(1),
            decided_at: Timestamp::from_second(1).unwrap(),
        });
        self.store.put(key, record::encode(&volume).unwrap()).await.unwrap();
    }
}
