//! Networks: made apart from each other, shown, and kept while something has an address.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};
use symphony_api::Code;
use symphony_api::v1::{CreateNetwork, CreateNetworkSpec};
use symphony_core::keys;

use crate::harness::{self, Harness};

const NETWORKS: &str = "/v1/projects/default/networks";

pub(crate) fn network(name: &str, subnet: Option<&str>) -> CreateNetwork {
    CreateNetwork {
        name: name.into(),
        labels: Default::default(),
        spec: CreateNetworkSpec {
            subnet: subnet.map(str::to_owned),
            nat: true,
            mtu: None,
        },
    }
}

impl Harness {
    fn post_network(&self, body: &Value) -> reqwest::RequestBuilder {
        self.ask(Method::POST, NETWORKS).json(body)
    }
}

#[tokio::test]
async fn a_network_is_stored_with_its_event_and_found_by_name_and_id() {
    let harness = Harness::start().await;
    let before = harness.revision().await;
    let body = json!({"name": "net", "labels": {"app": "db"}, "spec": {"subnet": "192.168.7.0/24", "nat": true}});
    let response = harness.post_network(&body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["location"], "/v1/projects/default/networks/net");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    let made: Value = response.json().await.unwrap();
    assert_eq!(etag, format!("\"{}\"", made["revision"]));
    assert_eq!(made["kind"], "network");
    assert_eq!(
        made["spec"],
        json!({"subnet": "192.168.7.0/24", "nat": true, "mtu": 1_450})
    );
    assert_eq!(
        (&made["status"]["gateway"], &made["status"]["addresses_max"]),
        (&json!("192.168.7.1"), &json!(253))
    );
    assert_eq!(harness.revision().await, before + 1, "one transaction");
    for name in ["net", made["id"].as_str().unwrap()] {
        let (_, shown) = harness::json(harness.ask(Method::GET, &format!("{NETWORKS}/{name}"))).await;
        assert_eq!(shown, made);
    }
    let elsewhere = format!("/v1/projects/other/networks/{}", made["id"].as_str().unwrap());
    harness
        .refused(harness.ask(Method::GET, &elsewhere))
        .await
        .is(Code::NotFound);
    let client = harness.client();
    assert_eq!(client.all_networks(Some("app=db")).await.unwrap().len(), 1);
    assert!(client.all_networks(Some("app=web")).await.unwrap().is_empty());
    let events = client.events(&Default::default()).await.unwrap().items;
    assert_eq!(
        (events[0].reason.as_str(), events[0].subject.kind.as_str()),
        ("created", "network")
    );
    harness.stop().await;
}

#[tokio::test]
async fn bad_values_are_each_named_and_change_nothing() {
    let harness = Harness::start().await;
    for subnet in [
        "",
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.1/24",
        "10.0.0.0/31",
        "10.0.0.0/7",
        "127.0.0.0/24",
        "224.0.0.0/24",
        "169.254.0.0/16",
        "fd00::/64",
        "10.0.0.0/24; rm -rf /",
    ] {
        let body = json!({"name": "n", "spec": {"subnet": subnet}});
        harness
            .refused(harness.post_network(&body))
            .await
            .at(Code::InvalidArgument, "/spec/subnet");
    }
    for mtu in [0, 575, 8_951] {
        let body = json!({"name": "n", "spec": {"mtu": mtu}});
        harness
            .refused(harness.post_network(&body))
            .await
            .at(Code::InvalidArgument, "/spec/mtu");
    }
    let all = json!({"name": "A", "labels": {"": "x"}, "spec": {"subnet": "x"}});
    let problem = harness
        .refused(harness.post_network(&all))
        .await
        .is(Code::InvalidArgument);
    let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/name", "/labels", "/spec/subnet"], "all at once");
    let colour = json!({"name": "n", "spec": {"colour": "red"}});
    harness
        .refused(harness.post_network(&colour))
        .await
        .at(Code::MalformedBody, "/spec/colour");
    harness.stop().await;
}

#[tokio::test]
async fn each_network_has_its_own_number_and_packets_of_a_length() {
    let harness = Harness::start().await;
    let mut numbers = HashSet::new();
    for (at, mtu) in [None, Some(576), Some(8_950), Some(1_500)].into_iter().enumerate() {
        let body = json!({"name": format!("n{at}"), "spec": {"mtu": mtu}});
        let made: Value = harness.post_network(&body).send().await.unwrap().json().await.unwrap();
        assert_eq!(made["spec"]["mtu"], mtu.unwrap_or(1_450), "{made}");
        let vni = made["status"]["vni"].as_u64().unwrap();
        assert!((1..1 << 24).contains(&vni) && numbers.insert(vni));
        let kept = harness
            .store
            .get(&format!("v1/vni/{vni}").as_str().into(), None)
            .await
            .unwrap();
        assert_eq!(kept.unwrap().value, made["id"].as_str().unwrap().as_bytes());
    }
    harness.stop().await;
}

#[tokio::test]
async fn subnets_of_a_project_never_overlap() {
    let harness = Harness::start().await;
    let client = harness.client();
    client
        .create_network(&network("first", Some("10.0.0.0/16")))
        .await
        .unwrap();
    for subnet in ["10.0.0.0/16", "10.0.7.0/24", "10.0.0.0/8"] {
        let body = json!({"name": "second", "spec": {"subnet": subnet}});
        let problem = harness
            .refused(harness.post_network(&body))
            .await
            .at(Code::SubnetOverlaps, "/spec/subnet");
        assert!(
            problem.detail.contains("first") && problem.detail.contains("10.0.0.0/16"),
            "{}",
            problem.detail
        );
    }
    let free = client.create_network(&network("second", None)).await.unwrap();
    assert_eq!(free.spec.subnet, "10.1.0.0/24", "the first that is free");
    harness
        .refused(harness.post_network(&json!({"name": "second", "spec": {}})))
        .await
        .at(Code::AlreadyExists, "/name");
    // Another project has its own.
    harness.add_project("other").await;
    let other = "/v1/projects/other/networks";
    let body = json!({"name": "first", "spec": {"subnet": "10.0.0.0/16"}});
    harness::json(harness.ask(Method::POST, other).json(&body)).await;
    harness.stop().await;
}

#[tokio::test]
async fn of_many_that_overlap_at_the_same_time_one_is_made() {
    let harness = Harness::start().await;
    let client = harness.client();
    // Of different sizes, so that no two are the same.
    let wanted: Vec<_> = (0..8)
        .map(|n| network(&format!("n{n}"), Some(&format!("10.0.0.0/{}", 16 + n))))
        .collect();
    let answers = futures_util::future::join_all(wanted.iter().map(|wanted| client.create_network(wanted))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code(), Some(Code::SubnetOverlaps));
        assert_eq!(refused.exit_code(), 4);
    }
    // Those that leave it to the manager get one each.
    let wanted: Vec<_> = (0..8).map(|n| network(&format!("free{n}"), None)).collect();
    let answers = futures_util::future::join_all(wanted.iter().map(|wanted| client.create_network(wanted))).await;
    let subnets: HashSet<_> = answers.into_iter().map(|answer| answer.unwrap().spec.subnet).collect();
    assert_eq!(subnets.len(), 8);
    harness.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_one() {
    let harness = Harness::start().await;
    let client = harness.client();
    let wanted = network("net", Some("10.0.0.0/24"));
    let answers = futures_util::future::join_all((0..6).map(|_| client.create_network_once(&wanted, "key"))).await;
    let ids: HashSet<_> = answers.into_iter().map(|answer| answer.unwrap().meta.id).collect();
    assert_eq!(ids.len(), 1);
    let other = client
        .create_network_once(&network("net", None), "key")
        .await
        .unwrap_err();
    assert_eq!(other.code(), Some(Code::IdempotencyMismatch));
    // A key belongs to one request, whatever the request is for.
    let volume = crate::volumes::volume("net", "1MiB");
    let other = client.create_volume_once(&volume, "key").await.unwrap_err();
    assert_eq!(other.code(), Some(Code::IdempotencyMismatch));
    harness.stop().await;
}

#[tokio::test]
async fn a_network_goes_when_nothing_has_an_address_of_it() {
    let harness = Harness::start().await;
    let client = harness.client();
    let made = client.create_network(&network("net", None)).await.unwrap();
    let machine = crate::machines::machine(&harness, "m", json!({"ports": [{"network": "net"}]})).await;
    let path = format!("{NETWORKS}/net");
    let problem = harness
        .refused(harness.ask(Method::DELETE, &path))
        .await
        .is(Code::NetworkInUse);
    assert!(problem.detail.contains("by m;"), "{}", problem.detail);
    // No place, so its address is given back at once.
    client.remove_port("m", "net").await.unwrap();
    let stale = client
        .delete_network("net", Some(made.meta.revision + 1))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Some(Code::PreconditionFailed));
    let gone = client.delete_network("net", Some(made.meta.revision)).await.unwrap();
    assert!(gone.meta.deleting_since.is_some());
    assert_eq!(gone.meta.generation, 2);
    assert_eq!(
        client.delete_network("net", None).await.unwrap(),
        gone,
        "doing so again changes nothing"
    );
    let late = client
        .add_port("m", &serde_json::from_value(json!({"network": "net"})).unwrap())
        .await
        .unwrap_err();
    assert_eq!(late.code(), Some(Code::Conflict));
    assert!(machine.spec.ports.len() == 1);
    // Nodes may still have parts of it: its addresses are not given to another network yet.
    let body = json!({"name": "next", "spec": {"subnet": gone.spec.subnet}});
    harness
        .refused(harness.post_network(&body))
        .await
        .is(Code::SubnetOverlaps);
    let key = keys::addresses_of(symphony_core::id::NetworkId::new(made.meta.id));
    let left = harness.store.range(symphony_store::Range::prefix(key)).await.unwrap();
    assert!(left.kvs.is_empty());
    harness.stop().await;
}

#[tokio::test]
async fn a_network_never_goes_while_a_machine_comes() {
    let harness = Harness::start().await;
    let client = harness.client();
    for round in 0..8 {
        let net = format!("net{round}");
        client.create_network(&network(&net, None)).await.unwrap();
        let wanted =
            crate::machines::wanted(&harness, &format!("m{round}"), json!({"ports": [{"network": net}]})).await;
        let (made, deleted) = tokio::join!(client.create_machine(&wanted), client.delete_network(&net, None));
        match (made, deleted) {
            (Ok(_), Err(refused)) => assert_eq!(refused.code(), Some(Code::NetworkInUse)),
            (Err(refused), Ok(_)) => assert_eq!(refused.code(), Some(Code::Conflict)),
            both => panic!("{both:?}"),
        }
    }
    harness.stop().await;
}
