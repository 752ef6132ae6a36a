//! What fits nowhere waits, says why, and is placed as soon as there is room.

use symphony_api::v1::{PatchNode, PatchNodeSpec, PatchVolume, PatchVolumeSpec, Size};
use symphony_api::{Code, v1};
use symphony_tests::{Cloud, Options, until};

use super::story::volume;

async fn unplaceable(cloud: &Cloud, name: &str) -> v1::Volume {
    until(&format!("{name} to be unplaceable"), async || {
        let volume = cloud.client().volume(name).await.ok()?;
        (volume.status.phase == v1::VolumePhase::Unplaceable).then_some(volume)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_waits_for_room_and_gets_it() {
    let cloud = Cloud::start(Options {
        capacities: "1GiB,2GiB,3GiB",
        ..Options::default()
    })
    .await;
    let client = cloud.client();
    client.create_volume(&volume("first", "3GiB", None)).await.unwrap();
    cloud.ready("first").await;

    let preview = client
        .preview_volume(&volume("second", "3GiB", None))
        .await
        .unwrap_err();
    assert_eq!(preview.code(), Some(Code::Unplaceable));
    let verdicts = preview
        .problem()
        .map(|problem| problem.verdicts.clone())
        .unwrap_or_default();
    assert_eq!(verdicts.len(), 3, "every node is named: {preview:?}");
    assert!(client.volume("second").await.is_err(), "a dry run stores nothing");

    client.create_volume(&volume("second", "3GiB", None)).await.unwrap();
    unplaceable(&cloud, "second").await;
    let explained = client.explain_volume("second").await.unwrap();
    for verdict in &explained.verdicts {
        let free = if verdict.node == "node-3" {
            0
        } else {
            verdict.node[5..].parse::<u64>().unwrap() << 30
        };
        assert_eq!(
            (verdict.wanted, verdict.available),
            (Some(3 << 30), Some(free)),
            "{verdict:?}"
        );
    }
    let (code, _, messages) = cloud.symphony(&["volume", "create", "third", "--size", "3GiB", "--timeout", "5s"]);
    assert_eq!(code, 5, "{messages}");
    assert!(
        (1..=3).all(|node| messages.contains(&format!("node-{node}"))),
        "{messages}"
    );
    client.delete_volume("third", None).await.unwrap();

    client.delete_volume("first", None).await.unwrap();
    assert_eq!(cloud.ready("second").await.node(), Some("node-3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_gets_nothing_new() {
    let cloud = Cloud::start(Options {
        nodes: 2,
        capacities: "1GiB,9GiB",
        ..Options::default()
    })
    .await;
    let cordon = |cordoned| PatchNode {
        spec: Some(PatchNodeSpec {
            cordoned: Some(cordoned),
            ..PatchNodeSpec::default()
        }),
        ..PatchNode::default()
    };
    cloud.client().patch_node("node-2", &cordon(true), None).await.unwrap();
    cloud
        .client()
        .create_volume(&volume("small", "1MiB", None))
        .await
        .unwrap();
    assert_eq!(cloud.ready("small").await.node(), Some("node-1"));
    cloud
        .client()
        .create_volume(&volume("large", "8GiB", None))
        .await
        .unwrap();
    unplaceable(&cloud, "large").await;
    cloud.client().patch_node("node-2", &cordon(false), None).await.unwrap();
    assert_eq!(cloud.ready("large").await.node(), Some("node-2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_when_there_is_room_and_never_shrinks() {
    let cloud = Cloud::start(Options {
        nodes: 1,
        capacities: "4GiB",
        ..Options::default()
    })
    .await;
    let client = cloud.client();
    let resize = |size: &str| PatchVolume {
        spec: Some(PatchVolumeSpec {
            size: Some(Size::text(size)),
        }),
        ..PatchVolume::default()
    };
    client.create_volume(&volume("grows", "1GiB", None)).await.unwrap();
    let before = cloud.ready("grows").await;
    client.patch_volume("grows", &resize("2GiB"), None).await.unwrap();
    let after = cloud.ready("grows").await;
    assert_eq!(after.status.size_bytes, 2 << 30);
    assert_eq!(std::fs::metadata(&cloud.files(&after)[0]).unwrap().len(), 2 << 30);
    let stale = client
        .patch_volume("grows", &resize("3GiB"), Some(before.meta.revision))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Some(Code::PreconditionFailed));
    let shrink = client.patch_volume("grows", &resize("1GiB"), None).await.unwrap_err();
    assert_eq!(shrink.code(), Some(Code::ShrinkNotSupported));

    client.create_volume(&volume("other", "1GiB", None)).await.unwrap();
    cloud.ready("other").await;
    let full = client.patch_volume("grows", &resize("4GiB"), None).await.unwrap_err();
    assert_eq!(full.code(), Some(Code::Unplaceable), "{full}");
    assert_eq!(
        cloud.ready("grows").await.spec.size,
        2 << 30,
        "a refused request changes nothing"
    );
    client.delete_volume("other", None).await.unwrap();
    until("the other volume to be gone", async || {
        client.volume("other").await.err()
    })
    .await;
    client.patch_volume("grows", &resize("4GiB"), None).await.unwrap();
    assert_eq!(cloud.ready("grows").await.status.size_bytes, 4 << 30);
}
