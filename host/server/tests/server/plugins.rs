//! Plugins and slots.

use reqwest::Method;
use serde_json::json;
use symphony_api::Code;
use symphony_api::v1::Activate;

use crate::harness::Harness;

#[tokio::test]
async fn a_plugin_is_found_by_name_version_and_digest() {
    let harness = Harness::start().await;
    let client = harness.client();
    let first = client.push_plugin(b"spread@1".to_vec()).await.unwrap();
    let second = client.push_plugin(b"spread@2".to_vec()).await.unwrap();
    let digits = second.digest.trim_start_matches("sha256:");
    for reference in [
        "spread",
        "spread@2",
        digits,
        &second.digest,
        &digits[..8],
        &digits[..12].to_uppercase(),
    ] {
        assert_eq!(client.plugin(reference).await.unwrap().version, "2", "{reference}");
    }
    assert_eq!(client.plugin("spread@1").await.unwrap(), first);
    for reference in ["spread@3", "binpack", &digits[..7], "0000000000", "sha256:", "..%2F"] {
        let path = format!("/v1/plugins/{reference}");
        harness
            .refused(harness.ask(Method::GET, &path))
            .await
            .is(Code::NotFound);
    }
    assert_eq!(client.all_plugins().await.unwrap().len(), 2);
    harness.stop().await;
}

#[tokio::test]
async fn bad_components_are_refused() {
    let harness = Harness::start().await;
    let post = |kind: &str, body: &'static [u8]| {
        harness
            .ask(Method::POST, "/v1/plugins")
            .header("content-type", kind)
            .body(body)
    };
    harness
        .refused(post("application/octet-stream", b"a@1"))
        .await
        .is(Code::UnsupportedMediaType);
    harness
        .refused(post("application/wasm", b"\xff\xfe"))
        .await
        .is(Code::PluginRejected);
    harness
        .refused(post("application/wasm", b""))
        .await
        .is(Code::PluginRejected);
    harness.stop().await;
}

#[tokio::test]
async fn a_slot_shows_what_serves_in_it() {
    let harness = Harness::start().await;
    let client = harness.client();
    let slots = client.slots().await.unwrap().items;
    let names: Vec<_> = slots
        .iter()
        .map(|slot| (slot.name.as_str(), slot.active.is_none()))
        .collect();
    assert_eq!(
        names,
        [
            ("scheduler/volume", true),
            ("driver/volume", true),
            ("driver/image", true),
            ("driver/machine", true),
            ("driver/network", true),
            ("driver/export", true),
            ("driver/fence", true)
        ]
    );
    let plugin = client.push_plugin(b"binpack@1".to_vec()).await.unwrap();
    let activate = Activate {
        plugin: "binpack".into(),
        config: Some(json!({"weight": 2})),
    };
    let slot = client.activate("scheduler/volume", &activate).await.unwrap();
    assert_eq!(
        (slot.active.as_ref(), slot.plugin.as_deref()),
        (Some(&plugin.digest), Some("binpack@1"))
    );
    assert_eq!(slot.config, json!({"weight": 2}));
    assert_eq!(client.slot("scheduler/volume").await.unwrap(), slot);
    assert_eq!(client.plugin("binpack").await.unwrap().active_in, ["scheduler/volume"]);
    assert_eq!(
        client.rollback("scheduler/volume").await.unwrap_err().code(),
        Some(Code::Conflict)
    );

    let path = "/v1/slots/scheduler/volume/activate";
    let post = |body: serde_json::Value| harness.ask(Method::POST, path).json(&body);
    harness
        .refused(post(json!({"plugin": "nope"})))
        .await
        .is(Code::NotFound);
    harness
        .refused(post(json!({"plugin": "binpack", "config": [1]})))
        .await
        .at(Code::InvalidArgument, "/config");
    let large = json!({"plugin": "binpack", "config": {"x": "y".repeat(70_000)}});
    harness.refused(post(large)).await.at(Code::InvalidArgument, "/config");
    harness.refused(post(json!({}))).await.is(Code::MalformedBody);
    harness
        .refused(harness.ask(Method::POST, "/v1/slots/driver/tape/rollback"))
        .await
        .is(Code::NotFound);
    harness.stop().await;
}
