//! Volumes: made, changed, deleted, and refused.

use reqwest::Method;
use serde_json::{Value, json};
use symphony_api::Code;
use symphony_api::v1::{CreateVolume, CreateVolumeSpec, PatchVolume, PatchVolumeSpec, Size, VolumePhase};
use symphony_core::condition::Truth;
use symphony_core::counter::Revision;
use symphony_core::place::Ledger;
use symphony_core::volume::{Decider, Placement, Volume};
use symphony_core::{Timestamp, keys, record};
use symphony_store::{Range, StoreExt as _};

use crate::harness::{self, Harness};

const VOLUMES: &str = "/v1/projects/default/volumes";

pub(crate) fn volume(name: &str, size: &str) -> CreateVolume {
    let spec = CreateVolumeSpec {
        size: Some(Size::text(size)),
        ..CreateVolumeSpec::default()
    };
    CreateVolume {
        name: name.into(),
        labels: Default::default(),
        spec,
    }
}

#[tokio::test]
async fn a_volume_is_stored_with_its_event_and_found_by_name_and_id() {
    let harness = Harness::start().await;
    let before = harness.revision().await;
    let body = json!({"name": "v1", "labels": {"app": "db"}, "spec": {"size": "1.5MiB", "pool": "fast", "require": {"zone": "a"}}});
    let response = harness.post_volume(&body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["location"], "/v1/projects/default/volumes/v1");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    let made: Value = response.json().await.unwrap();
    assert_eq!(etag, format!("\"{}\"", made["revision"]));
    assert_eq!(made["kind"], "volume");
    assert_eq!(
        (&made["project"], &made["generation"], &made["spec"]["size"]),
        (&json!("default"), &json!(1), &json!(1_572_864))
    );
    assert_eq!(
        (&made["status"]["phase"], &made["status"]["observed_generation"]),
        (&json!("Pending"), &json!(0))
    );
    assert_eq!(harness.revision().await, before + 1, "one transaction");

    for name in ["v1", made["id"].as_str().unwrap()] {
        let (_, shown) = harness::json(harness.ask(Method::GET, &format!("{VOLUMES}/{name}"))).await;
        assert_eq!(shown, made);
    }
    let elsewhere = format!("/v1/projects/other/volumes/{}", made["id"].as_str().unwrap());
    harness
        .refused(harness.ask(Method::GET, &elsewhere))
        .await
        .is(Code::NotFound);
    let events = harness.client().events(&Default::default()).await.unwrap().items;
    assert_eq!(
        (events[0].reason.as_str(), events[0].subject.name.as_str()),
        ("created", "v1")
    );
    assert_eq!(
        events[0].revision,
        made["revision"].as_u64().unwrap(),
        "with the change that it tells of"
    );
    harness.stop().await;
}

#[tokio::test]
async fn bad_values_are_each_named_and_change_nothing() {
    let harness = Harness::start().await;
    let long = "x".repeat(300);
    let sizes: Vec<Value> = vec![
        json!(0),
        json!("0"),
        json!(-1),
        json!("-5GiB"),
        json!(1000),
        json!("1000"),
        json!("10XiB"),
        json!("lots"),
        json!(""),
        json!(1.5),
        json!("99999PiB"),
        json!(u64::MAX),
        json!("1e9"),
        json!("0x10"),
    ];
    for size in sizes {
        let body = json!({"name": "v", "spec": {"size": size}});
        harness
            .refused(harness.post_volume(&body))
            .await
            .at(Code::InvalidArgument, "/spec/size");
    }
    for name in [
        "",
        "a/b",
        "..",
        "../etc",
        "a\0b",
        &long,
        "0193a5c0-7e1a-7000-8000-000000000000",
        "Up",
        "-x",
        "ä",
        "a b",
        "a\n",
    ] {
        let body = json!({"name": name, "spec": {"size": "1MiB"}});
        harness
            .refused(harness.post_volume(&body))
            .await
            .at(Code::InvalidArgument, "/name");
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        // A client's URL library takes `..` away before anything is sent.
        if !name.is_empty() && name != ".." {
            harness
                .refused(harness.ask(Method::GET, &format!("{VOLUMES}/{encoded}")))
                .await
                .is(Code::NotFound);
            let project = format!("/v1/projects/{encoded}/volumes");
            harness
                .refused(harness.ask(Method::GET, &project))
                .await
                .at(Code::InvalidArgument, "project");
        }
    }
    let all = json!({"name": "A", "labels": {"": "x"}, "spec": {"size": "x", "pool": "/", "require": {"a": "ü"}}});
    let problem = harness
        .refused(harness.post_volume(&all))
        .await
        .is(Code::InvalidArgument);
    let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/name", "/labels", "/spec/require", "/spec/pool", "/spec/size"],
        "all at once"
    );
    harness
        .refused(harness.post_volume(&json!({"name": "v", "spec": {}})))
        .await
        .at(Code::InvalidArgument, "/spec/size");
    let unknown_image = json!({"name": "v", "spec": {"image": "nope"}});
    harness
        .refused(harness.post_volume(&unknown_image))
        .await
        .at(Code::NotFound, "/spec/image");
    let colour = json!({"name": "v", "spec": {"size": 512, "colour": "red"}});
    harness
        .refused(harness.post_volume(&colour))
        .await
        .at(Code::MalformedBody, "/spec/colour");
    harness.stop().await;
}

#[tokio::test]
async fn a_name_is_taken_once_also_when_many_want_it() {
    let harness = Harness::start().await;
    let client = harness.client();
    let wanted = volume("v", "1MiB");
    let answers = futures_util::future::join_all((0..8).map(|_| client.create_volume(&wanted))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code(), Some(Code::AlreadyExists));
        assert_eq!(refused.exit_code(), 4);
    }
    harness
        .refused(harness.post_volume(&json!({"name": "v", "spec": {"size": 512}})))
        .await
        .at(Code::AlreadyExists, "/name");
    assert!(client.create_volume(&volume("w", "1MiB")).await.is_ok());
    harness.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_one() {
    let harness = Harness::start().await;
    let client = harness.client();
    let first = client.create_volume_once(&volume("v", "1MiB"), "key-1").await.unwrap();
    let again = client.create_volume_once(&volume("v", "1MiB"), "key-1").await.unwrap();
    assert_eq!(again, first);
    let other = client
        .create_volume_once(&volume("v", "2MiB"), "key-1")
        .await
        .unwrap_err();
    assert_eq!(other.code(), Some(Code::IdempotencyMismatch));
    // Also after the volume has changed, and when the same request comes many times at once.
    client.delete_volume("v", None).await.unwrap();
    assert_eq!(
        client.create_volume_once(&volume("v", "1MiB"), "key-1").await.unwrap(),
        first
    );
    let wanted = volume("w", "1MiB");
    let answers = futures_util::future::join_all((0..8).map(|_| client.create_volume_once(&wanted, "key-2"))).await;
    let ids: std::collections::HashSet<_> = answers.into_iter().map(|answer| answer.unwrap().meta.id).collect();
    assert_eq!(ids.len(), 1);
    for key in ["", &"k".repeat(256)] {
        let request = harness
            .post_volume(&json!({"name": "x", "spec": {"size": 512}}))
            .header("Idempotency-Key", key);
        harness
            .refused(request)
            .await
            .at(Code::InvalidArgument, "Idempotency-Key");
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_kept_answer_is_forgotten_after_a_day() {
    let harness = Harness::start().await;
    let client = harness.client();
    client.create_volume_once(&volume("v", "1MiB"), "key").await.unwrap();
    let kept = harness
        .store
        .range(Range::prefix(keys::IDEMPOTENCY))
        .await
        .unwrap()
        .kvs
        .remove(0);
    let mut old: Value = serde_json::from_slice(&kept.value).unwrap();
    assert!(old["created_at"].is_string(), "what the loops go by");
    old["created_at"] = json!("2020-01-01T00:00:00Z");
    harness
        .store
        .put(kept.key, serde_json::to_vec(&old).unwrap())
        .await
        .unwrap();
    client.create_volume_once(&volume("w", "1MiB"), "key").await.unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn a_dry_run_schedules_and_stores_nothing() {
    let harness = Harness::start().await;
    let client = harness.client();
    let before = harness.revision().await;
    let preview = client.preview_volume(&volume("v", "1GiB")).await.unwrap();
    assert_eq!(
        (preview.node.as_str(), preview.pool.as_str(), preview.verdicts.len()),
        ("n1", "fast", 1)
    );
    let refused = client.preview_volume(&volume("v", "11GiB")).await.unwrap_err();
    assert_eq!((refused.code(), refused.exit_code()), (Some(Code::Unplaceable), 5));
    let verdict = &refused.problem().unwrap().verdicts[0];
    assert_eq!(
        (verdict.node.as_str(), verdict.wanted, verdict.available),
        ("n1", Some(11 << 30), Some(10 << 30))
    );
    assert!(client.preview_volume(&volume("v", "nonsense")).await.is_err());
    assert_eq!(harness.revision().await, before);
    // What fits nowhere is taken all the same: it waits.
    assert_eq!(
        client.create_volume(&volume("v", "11GiB")).await.unwrap().status.phase,
        VolumePhase::Pending
    );
    assert_eq!(
        client.preview_volume(&volume("v", "1GiB")).await.unwrap_err().code(),
        Some(Code::AlreadyExists)
    );
    assert!(client.explain_volume("v").await.unwrap().node.is_none());
    harness.stop().await;
}

#[tokio::test]
async fn a_change_is_for_the_revision_that_was_seen() {
    let harness = Harness::start().await;
    let client = harness.client();
    let made = client.create_volume(&volume("v", "1MiB")).await.unwrap();
    let labelled = PatchVolume {
        labels: Some([("a".into(), "1".into())].into()),
        spec: None,
    };
    let changed = client
        .patch_volume("v", &labelled, Some(made.meta.revision))
        .await
        .unwrap();
    assert_eq!(
        (changed.meta.generation, changed.meta.labels["a"].as_str()),
        (1, "1"),
        "labels are no spec"
    );
    let stale = client
        .patch_volume("v", &PatchVolume::default(), Some(made.meta.revision))
        .await
        .unwrap_err();
    assert_eq!((stale.code(), stale.exit_code()), (Some(Code::PreconditionFailed), 4));
    let stale = client.delete_volume("v", Some(made.meta.revision)).await.unwrap_err();
    assert_eq!(stale.code(), Some(Code::PreconditionFailed));
    let path = format!("{VOLUMES}/v");
    let odd = harness.ask(Method::DELETE, &path).header("If-Match", "W/\"1\"");
    harness.refused(odd).await.at(Code::InvalidArgument, "If-Match");
    let before = harness.revision().await;
    assert_eq!(
        client.patch_volume("v", &labelled, None).await.unwrap(),
        changed,
        "nothing to change"
    );
    assert_eq!(harness.revision().await, before);
    client.delete_volume("v", Some(changed.meta.revision)).await.unwrap();
    harness.stop().await;
}

fn resize(size: &str) -> PatchVolume {
    PatchVolume {
        labels: None,
        spec: Some(PatchVolumeSpec {
            size: Some(Size::text(size)),
        }),
    }
}

#[tokio::test]
async fn a_volume_only_grows_and_only_as_far_as_its_pool() {
    let harness = Harness::start().await;
    let client = harness.client();
    client.create_volume(&volume("v", "1GiB")).await.unwrap();
    let grown = client.patch_volume("v", &resize("2GiB"), None).await.unwrap();
    assert_eq!((grown.spec.size, grown.meta.generation), (2 << 30, 2));
    for (size, code) in [
        ("1GiB", Code::ShrinkNotSupported),
        ("0", Code::InvalidArgument),
        ("3GiBB", Code::InvalidArgument),
    ] {
        let body = json!({"spec": {"size": size}});
        harness
            .refused(harness.ask(Method::PATCH, &format!("{VOLUMES}/v")).json(&body))
            .await
            .at(code, "/spec/size");
    }
    place(&harness, "v", 9 << 30).await;
    assert!(
        client.patch_volume("v", &resize("3GiB"), None).await.is_ok(),
        "1 GiB more of 1 GiB that is free"
    );
    let body = json!({"spec": {"size": "4GiB"}});
    let problem = harness
        .refused(harness.ask(Method::PATCH, &format!("{VOLUMES}/v")).json(&body))
        .await
        .at(Code::Unplaceable, "/spec/size");
    assert!(
        problem.detail.contains("1GiB free") && problem.detail.contains("2GiB more"),
        "{}",
        problem.detail
    );
    harness.stop().await;
}

/// Places a volume on `n1`, as the place loop does, on which `claimed` bytes of 10 GiB are claimed.
async fn place(harness: &Harness, name: &str, claimed: u64) {
    let node = harness.add_node("n1", Truth::True).await;
    let pool = node.status.pools[0].name.clone();
    let mut ledger = Ledger::default();
    ledger.claim(&pool, claimed, 10 << 30).unwrap();
    harness
        .store
        .put(keys::ledger(&node.meta.name), record::encode(&ledger).unwrap())
        .await
        .unwrap();
    let key = keys::volume(&"default".parse().unwrap(), &name.parse().unwrap());
    let kv = harness.store.get(&key.as_str().into(), None).await.unwrap().unwrap();
    let mut volume: Volume = record::decode(&kv.value).unwrap();
    volume.placement = Some(Placement {
        node: node.meta.name,
        pool,
        claimed_bytes: volume.spec.size.bytes(),
        decided_by: Decider {
            name: "p".into(),
            version: "1".into(),
            digest: None,
            instead_of: None,
        },
        score: 1.0,
        revision: Revision(1),
        decided_at: Timestamp::from_second(1).unwrap(),
    });
    harness.store.put(key, record::encode(&volume).unwrap()).await.unwrap();
}

#[tokio::test]
async fn deleting_is_asked_for_once_in_any_phase() {
    let harness = Harness::start().await;
    let client = harness.client();
    client.create_volume(&volume("v", "1MiB")).await.unwrap();
    let response = harness
        .ask(Method::DELETE, &format!("{VOLUMES}/v"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let first: Value = response.json().await.unwrap();
    assert_eq!(
        (&first["status"]["phase"], &first["generation"]),
        (&json!("Deleting"), &json!(2))
    );
    assert!(first["deleting_since"].is_string());
    let before = harness.revision().await;
    let again = client.delete_volume("v", None).await.unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), first);
    assert_eq!(harness.revision().await, before, "doing so again changes nothing");
    let late = harness
        .ask(Method::PATCH, &format!("{VOLUMES}/v"))
        .json(&json!({"spec": {"size": "2MiB"}}));
    harness.refused(late).await.is(Code::Conflict);
    harness
        .refused(harness.post_volume(&json!({"name": "v", "spec": {"size": 512}})))
        .await
        .is(Code::AlreadyExists);
    harness
        .refused(harness.ask(Method::DELETE, &format!("{VOLUMES}/nope")))
        .await
        .is(Code::NotFound);
    harness.stop().await;
}
