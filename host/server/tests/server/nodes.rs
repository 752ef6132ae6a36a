//! Nodes and services.

use reqwest::Method;
use serde_json::json;
use symphony_api::Code;
use symphony_api::v1::{DrainNode, FenceNode, PatchNode, PatchNodeSpec, ServiceStatus};
use symphony_core::condition::Truth;
use symphony_core::place::Ledger;
use symphony_core::{keys, record};
use symphony_store::StoreExt as _;

use crate::harness::{Harness, json as answer};

fn cordon(cordoned: bool) -> PatchNode {
    PatchNode {
        labels: None,
        spec: Some(PatchNodeSpec {
            cordoned: Some(cordoned),
            ..PatchNodeSpec::default()
        }),
    }
}

#[tokio::test]
async fn a_node_is_shown_with_its_claims_and_can_be_cordoned() {
    let harness = Harness::start().await;
    let client = harness.client();
    let record_of = harness.add_node("n1", Truth::True).await;
    claim(&harness, "n1", 4 << 30).await;
    let node = client.node("n1").await.unwrap();
    assert_eq!(
        (node.status.pools[0].claimed_bytes, node.status.pools[0].free_bytes),
        (4 << 30, 6 << 30)
    );
    assert!(node.status.schedulable);
    assert_eq!(client.node(&record_of.meta.id.to_string()).await.unwrap(), node);
    assert_eq!(
        client.all_nodes(Some("zone=a")).await.unwrap(),
        std::slice::from_ref(&node)
    );
    assert!(client.all_nodes(Some("zone=b")).await.unwrap().is_empty());

    let cordoned = client
        .patch_node("n1", &cordon(true), Some(node.meta.revision))
        .await
        .unwrap();
    assert!(cordoned.spec.cordoned && !cordoned.status.schedulable);
    let stale = client
        .patch_node("n1", &cordon(false), Some(node.meta.revision))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Some(Code::PreconditionFailed));
    assert_eq!(
        client.patch_node("n1", &cordon(true), None).await.unwrap(),
        cordoned,
        "nothing to change"
    );
    assert_eq!(
        client.events(&Default::default()).await.unwrap().items[0].reason,
        "cordoned"
    );
    client.patch_node("n1", &cordon(false), None).await.unwrap();
    for body in [
        json!({"spec": {"drained": true}}),
        json!({"name": "x"}),
        json!({"spec": {"cordoned": "yes"}}),
    ] {
        harness
            .refused(harness.ask(Method::PATCH, "/v1/nodes/n1").json(&body))
            .await
            .is(Code::MalformedBody);
    }
    let label = json!({"labels": {"a": "ä"}});
    harness
        .refused(harness.ask(Method::PATCH, "/v1/nodes/n1").json(&label))
        .await
        .at(Code::InvalidArgument, "/labels");
    harness
        .refused(harness.ask(Method::GET, "/v1/nodes/n2"))
        .await
        .is(Code::NotFound);
    harness.stop().await;
}

async fn claim(harness: &Harness, node: &str, bytes: u64) {
    let mut ledger = Ledger::default();
    ledger.claim(&"fast".parse().unwrap(), bytes, 10 << 30).unwrap();
    harness
        .store
        .put(keys::ledger(&node.parse().unwrap()), record::encode(&ledger).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_service_goes_when_nothing_needs_it() {
    let harness = Harness::start().await;
    let client = harness.client();
    harness.add_node("n1", Truth::True).await;
    harness.add_node("n2", Truth::Unknown).await;
    let services = client.services().await.unwrap().items;
    let roles: Vec<_> = services
        .iter()
        .map(|service| format!("{} {}", service.node, service.role))
        .collect();
    assert_eq!(roles, ["m1 manager", "n1 block", "n1 image", "n2 block", "n2 image"]);
    assert_eq!(
        (services[1].status, services[3].status),
        (ServiceStatus::Up, ServiceStatus::Unknown)
    );
    assert_eq!(
        client.services().await.unwrap().items[0].id,
        services[0].id,
        "the manager keeps its id"
    );

    let remove =
        |n: usize, query: &str| harness.ask(Method::DELETE, &format!("/v1/services/{}{query}", services[n].id));
    harness.refused(remove(0, "?force=true")).await.is(Code::Conflict);
    harness.refused(remove(1, "")).await.is(Code::Conflict);
    claim(&harness, "n2", 1 << 30).await;
    harness.refused(remove(3, "")).await.is(Code::HasResources);
    for id in ["nope", "0193a5c0-7e1a-7000-8000-000000000000"] {
        harness
            .refused(harness.ask(Method::DELETE, &format!("/v1/services/{id}")))
            .await
            .is(Code::NotFound);
    }
    // By force the service goes, and what is claimed stays claimed.
    let id = services[3].id.to_string();
    assert_eq!(client.remove_service(&id, true).await.unwrap().role, "block");
    assert!(
        client.node("n2").await.unwrap().status.pools.is_empty(),
        "nothing is placed there any more"
    );
    client.remove_service(&services[4].id.to_string(), false).await.unwrap();
    assert!(
        client.node("n2").await.unwrap().status.services.is_empty(),
        "claims keep the node"
    );
    // Without claims the node goes with its last service.
    harness.add_node("n3", Truth::False).await;
    for service in client
        .services()
        .await
        .unwrap()
        .items
        .iter()
        .filter(|service| service.node == "n3")
    {
        client.remove_service(&service.id.to_string(), false).await.unwrap();
    }
    assert_eq!(client.node("n3").await.unwrap_err().code(), Some(Code::NotFound));
    harness.stop().await;
}

#[tokio::test]
async fn what_cuts_a_nodes_power_is_described_and_looked_at() {
    let harness = Harness::start().await;
    let client = harness.client();
    harness.add_node("n1", Truth::Unknown).await;
    let described = |option: &str, value: &str| json!({"spec": {"power": {"devices": [{"program": "fence_x", "options": {option: value}}], "after_s": 60}}});
    for (option, value) in [
        ("password", "hunter2"),
        ("ipmitool_path", "/bin/sh"),
        ("ip", "1\naction=on"),
    ] {
        let body = described(option, value);
        let refused = harness
            .refused(harness.ask(Method::PATCH, "/v1/nodes/n1").json(&body))
            .await;
        refused.at(Code::InvalidArgument, "/spec/power");
    }
    let unknown = json!({"spec": {"power": {"devices": [], "colour": 1}}});
    let refused = harness.refused(harness.ask(Method::PATCH, "/v1/nodes/n1").json(&unknown));
    refused.await.at(Code::MalformedBody, "/spec/power/colour");
    let (status, node) = answer(
        harness
            .ask(Method::PATCH, "/v1/nodes/n1")
            .json(&described("password", "@ipmi")),
    )
    .await;
    assert_eq!(status, 200);
    let device = &node["spec"]["power"]["devices"][0];
    assert_eq!(
        (&device["level"], &device["options"]["password"]),
        (&json!(1), &json!("@ipmi"))
    );
    // Then nobody's word is needed: the loops are asked.
    assert!(client.fence_node("n1", &FenceNode::default()).await.is_ok());
    let nobody = client.node_power("n1").await.unwrap_err();
    assert_eq!(nobody.code(), Some(Code::Conflict), "{nobody}");
    let none = json!({"spec": {"power": {"devices": []}}});
    let (_, node) = answer(harness.ask(Method::PATCH, "/v1/nodes/n1").json(&none)).await;
    assert!(node["spec"]["power"].is_null(), "{node}");
    harness.stop().await;
}

#[tokio::test]
async fn a_fence_is_somebodys_word_and_says_what_it_means() {
    let harness = Harness::start().await;
    let client = harness.client();
    harness.add_node("n1", Truth::Unknown).await;
    for body in [json!({}), json!({"confirm": false})] {
        let refused = harness.refused(harness.ask(Method::POST, "/v1/nodes/n1/fence").json(&body));
        refused.await.at(Code::Unprocessable, "/confirm");
    }
    let unconfirmed = client.fence_node("n1", &FenceNode::default()).await.unwrap_err();
    assert!(unconfirmed.to_string().contains("run twice"), "{unconfirmed}");
    let confirmed = FenceNode { confirm: true };
    assert_eq!(client.fence_node("n1", &confirmed).await.unwrap().meta.name, "n1");
    let missing = client.fence_node("n9", &confirmed).await.unwrap_err();
    assert_eq!(missing.code(), Some(Code::NotFound));
    let drained = client.drain_node("n1", &DrainNode { stop: true }).await.unwrap();
    assert_eq!((drained.node.meta.name.as_str(), drained.leaving.len()), ("n1", 0));
    let missing = client.drain_node("n9", &DrainNode::default()).await.unwrap_err();
    assert_eq!(missing.code(), Some(Code::NotFound));
}

#[tokio::test]
async fn the_store_says_how_it_is() {
    let harness = Harness::start().await;
    let (status, health) = answer(harness.ask(Method::GET, "/v1/store")).await;
    assert_eq!(status, 200);
    assert!(health["revision"].as_u64().unwrap() > 0, "{health}");
    let members = health["members"].as_array().unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["endpoint"], "embedded");
    assert!(members[0]["leads"].as_bool().unwrap() && members[0]["size_bytes"].as_u64().unwrap() > 0);
}
