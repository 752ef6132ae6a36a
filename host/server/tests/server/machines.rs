//! Machines: made in one transaction with all that is theirs, refused, ordered, changed, deleted.

use std::collections::{BTreeSet, HashSet};

use reqwest::Method;
use serde_json::{Value, json};
use symphony_api::Code;
use symphony_api::client::Upload;
use symphony_api::v1::{CreateMachine, Machine, VolumesThen};
use symphony_core::condition::Truth;
use symphony_core::machine::{Machine as Record, MachinePlacement};
use symphony_core::node::Compute;
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
