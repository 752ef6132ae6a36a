//! Another policy while everything runs.

use std::collections::{BTreeMap, BTreeSet};

use symphony_api::v1::Activate;
use symphony_tests::{Cloud, Options, component, until};

use super::story::volume;

const VOLUMES: usize = 200;
const SWAPS: usize = 10;
const SLOT: &str = "scheduler/volume";

pub(crate) fn activate(plugin: &str) -> Activate {
    Activate {
        plugin: plugin.to_owned(),
        config: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_volumes_and_ten_swaps() {
    let cloud = Cloud::start(Options::default()).await;
    let client = cloud.client().clone();
    let hello = cloud.client().push_plugin(hello()).await.unwrap();

    let creating = {
        let client = client.clone();
        tokio::spawn(async move {
            for number in 0..VOLUMES {
                client
                    .create_volume(&volume(&format!("v{number}"), "1MiB", None))
                    .await
                    .unwrap();
            }
        })
    };
    let policies = ["binpack", hello.name.as_str(), "spread"];
    for swap in 0..SWAPS {
        // Spread over the creations: each swap waits for its share of them.
        let share = swap * VOLUMES / (SWAPS + 1);
        until("volumes to be created", async || {
            (client.all_volumes(None).await.ok()?.len() >= share).then_some(())
        })
        .await;
        client
            .activate(SLOT, &activate(policies[swap % policies.len()]))
            .await
            .unwrap();
    }
    creating.await.unwrap();
    let volumes = until("all volumes to be ready", async || {
        let volumes = client.all_volumes(None).await.ok()?;
        volumes
            .iter()
            .all(symphony_api::v1::Volume::is_ready)
            .then_some(volumes)
    })
    .await;

    assert_eq!(volumes.len(), VOLUMES);
    let known: BTreeSet<String> = client
        .all_plugins()
        .await
        .unwrap()
        .into_iter()
        .map(|plugin| plugin.digest)
        .collect();
    let mut deciders: BTreeMap<String, usize> = BTreeMap::new();
    for made in &volumes {
        let files = cloud.files(made);
        assert_eq!(files.len(), 1, "{} was made once: {files:?}", made.meta.name);
        let explained = client.explain_volume(&made.meta.name).await.unwrap();
        let digest = explained.decided_by.digest.expect("a plugin decided");
        assert!(known.contains(&digest) && explained.decided_by.instead_of.is_none());
        assert_eq!(explained.verdicts.len(), 3, "every node is named");
        *deciders.entry(explained.decided_by.name).or_default() += 1;
    }
    assert!(deciders.len() >= 2, "more than one policy decided: {deciders:?}");
    let claimed: u64 = client
        .all_nodes(None)
        .await
        .unwrap()
        .iter()
        .flat_map(|node| &node.status.pools)
        .map(|pool| pool.claimed_bytes)
        .sum();
    assert_eq!(claimed, (VOLUMES as u64) << 20, "claims are what was placed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_one_call() {
    let cloud = Cloud::start(Options::default()).await;
    let client = cloud.client();
    client.activate(SLOT, &activate("binpack")).await.unwrap();
    client.create_volume(&volume("packed", "1GiB", None)).await.unwrap();
    assert_eq!(
        cloud.ready("packed").await.node(),
        Some("node-1"),
        "the fullest that fits is the smallest, at first"
    );
    client.rollback(SLOT).await.unwrap();
    client.create_volume(&volume("spread", "1GiB", None)).await.unwrap();
    assert_eq!(cloud.ready("spread").await.node(), Some("node-3"), "most free space");
    let nothing = client.rollback(SLOT).await.unwrap_err();
    assert_eq!(nothing.code(), Some(symphony_api::Code::Conflict), "{nothing}");
}

/// The example of a third party's scheduler, built as its author would.
fn hello() -> Vec<u8> {
    let built = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    let example = symphony_tests::root().join("sdk/rust/examples/hello-scheduler");
    let status = std::process::Command::new(symphony_tests::program("symphony"))
        .args(["plugin", "build"])
        .arg(&example)
        .arg("--out")
        .arg(built.path())
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(built.path()).unwrap()
}

#[test]
fn the_first_party_policies_import_nothing_but_log() {
    for name in ["spread", "binpack", "file", "blob", "libvirt", "test", "bridge"] {
        let info = symphony_plugin_build::inspect(&component(name)).unwrap();
        let functions: Vec<String> = info
            .imports
            .iter()
            .filter(|import| !import.items.is_empty())
            .map(|import| import.name.clone())
            .collect();
        assert!(
            functions.iter().all(|import| import == "symphony:plugin/log@0.1.0"),
            "{name}: {functions:?}"
        );
    }
}
