//! Machines that are ordered about, changed and deleted.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use symphony_api::Code;
use symphony_api::v1::{Machine, MachinePhase, PatchMachine, Power, VolumesThen};
use symphony_core::machine::MachinePhase as SeenPhase;
use symphony_core::place::Ledger;
use symphony_core::record;
use symphony_store::StoreExt as _;

use crate::harness::Harness;
use crate::machines::{MACHINES, machine};

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
