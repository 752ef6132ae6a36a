//! Plugins that misbehave: each fault has its name in events and metrics, somebody else decides, the manager lives.

use symphony_api::Code;
use symphony_tests::{Cloud, Options, component, until};

use symphony_api::v1::Activate;

use super::story::volume;
use super::swap::activate;

const SCHEDULER: &str = "scheduler/volume";
const DRIVER: &str = "driver/volume";

/// Hostile schedulers, and the fault that each must be named with.
const SCHEDULERS: &[(&str, &str)] = &[
    ("unknown-node", "unknown-candidate"),
    ("overcommit", "over-commit"),
    ("too-few", "bad-answer"),
    ("too-many", "bad-answer"),
    ("endless-loop", "out-of-fuel"),
    ("memory-bomb", "memory"),
    ("huge-answer", "output-too-large"),
    ("trap", "trap"),
    ("nan-score", "bad-answer"),
    ("stale-forever", "stale"),
];
/// What is refused at the door, and a word that the refusal must have.
const REFUSED: &[(&str, &str)] = &[
    ("imports-wasi", "wasi:"),
    ("wrong-version", "0.2.0"),
    ("core-module", "core module"),
    ("text", "not WebAssembly"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_scheduler_is_named_and_somebody_else_decides() {
    // The first node by name is too small for the volumes, so that whoever names it over-commits it.
    let cloud = Cloud::start(Options {
        capacities: "1MiB,40GiB,80GiB",
        ..Options::default()
    })
    .await;
    let client = cloud.client();
    for (guest, fault) in SCHEDULERS {
        let plugin = client.push_plugin(component(&format!("guests/{guest}"))).await.unwrap();
        let turn = Activate {
            plugin: plugin.digest.clone(),
            config: Some(serde_json::json!({ "after": 0 })),
        };
        client.activate(SCHEDULER, &turn).await.unwrap();
        client.create_volume(&volume(guest, "1GiB", None)).await.unwrap();
        let made = cloud.ready(guest).await;
        let decider = made.status.placement.unwrap().decided_by;
        assert_eq!(decider.digest, None, "{guest}: the built-in policy decided");
        assert!(decider.instead_of.is_some_and(|text| text.contains(fault)), "{guest}");
        until(&format!("{guest}: an event that names {fault}"), async || {
            let named = |event: &symphony_api::v1::Event| {
                event.reason == "plugin-fault"
                    && event.details.get("fault").is_some_and(|named| named == fault)
                    && event
                        .details
                        .get("digest")
                        .is_some_and(|digest| *digest == plugin.digest)
            };
            cloud.events().await.iter().any(named).then_some(())
        })
        .await;
        let metrics = client.metrics().await.unwrap();
        let counted = metrics.lines().any(|line| {
            line.starts_with("symphony_plugin_faults_total") && line.contains(&format!("reason=\"{fault}\""))
        });
        assert!(counted, "{guest}: {fault} is counted");
        client.activate(SCHEDULER, &activate("spread")).await.unwrap();
    }
    client.create_volume(&volume("after", "1GiB", None)).await.unwrap();
    assert_eq!(
        cloud.ready("after").await.status.placement.unwrap().decided_by.name,
        "spread"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_refused_with_the_reason() {
    let cloud = Cloud::start(Options {
        nodes: 1,
        ..Options::default()
    })
    .await;
    let before = cloud.client().all_plugins().await.unwrap();
    for (guest, word) in REFUSED {
        let refused = cloud
            .client()
            .push_plugin(component(&format!("guests/{guest}")))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Some(Code::PluginRejected), "{guest}: {refused}");
        let told = refused
            .problem()
            .map(|problem| problem.detail.clone())
            .unwrap_or_default();
        assert!(told.contains(word), "{guest}: {told}");
    }
    let after = cloud.client().all_plugins().await.unwrap();
    assert_eq!(after.len(), before.len(), "only what came with symphony");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_with_a_step_on_somebody_elses_file_is_taken_out_of_service() {
    let cloud = Cloud::start(Options {
        nodes: 1,
        ..Options::default()
    })
    .await;
    let client = cloud.client();
    client.create_volume(&volume("victim", "1MiB", None)).await.unwrap();
    let victim = cloud.ready("victim").await;
    let plugin = client.push_plugin(component("guests/foreign-object")).await.unwrap();
    client.activate(DRIVER, &activate(&plugin.digest)).await.unwrap();
    client.create_volume(&volume("mine", "1MiB", None)).await.unwrap();
    cloud.ready("mine").await;
    let events = cloud.events().await;
    let named = events.iter().any(|event| {
        event
            .details
            .get("fault")
            .is_some_and(|fault| fault == "foreign-object")
    });
    assert!(named, "the fault has its name");
    assert!(
        events.iter().any(|event| event.reason == "plugin-taken-out"),
        "after repeated faults what served before serves again"
    );
    assert_eq!(cloud.files(&victim).len(), 1, "nobody touched the other volume");
}
