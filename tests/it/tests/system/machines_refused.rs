//! What is refused, each with its exit code and one sentence that says why; and where machines go before anything is made.

use std::fs;

use symphony_api::client::ListQuery;
use symphony_tests::Cloud;
use symphony_tests::lab::{self, Abilities};

use super::machines_story::{done, logged, machine, options};

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_is_refused_and_what_would_be_is_shown() {
    if !Abilities::here().guests() || !Abilities::here().networks() {
        return;
    }
    let cloud = Cloud::start(options(2)).await;
    let disk = cloud.dir().join("tiny.raw");
    lab::tiny(&disk, "of a refusal").unwrap();
    done(&cloud, &format!("image create tiny --file {}", disk.display()));
    done(&cloud, "network create small --subnet 10.8.0.0/30");
    a_dry_run_shows_everything_and_stores_nothing(&cloud).await;
    machines_go_where_they_may(&cloud).await;
    bad_machines_are_refused(&cloud).await;
    bad_parts_are_refused(&cloud).await;
    too_large_fits_nowhere(&cloud).await;
    done(&cloud, "machine delete one two three --volumes delete");
    assert_eq!(done(&cloud, "machine list -o name"), "");
    // The machines are gone before their volumes are.
    symphony_tests::until("the volumes to be gone", async || {
        (done(&cloud, "volume list -o name") == "free\n").then_some(())
    })
    .await;
}

/// Runs `symphony`, which must fail like this with one sentence that has these words.
fn refused(cloud: &Cloud, line: &str, code: i32, words: &[&str]) {
    let given: Vec<&str> = line.split_whitespace().collect();
    let (exit, out, err) = cloud.symphony(&given);
    assert_eq!(exit, code, "symphony {line}\n{out}\n{err}");
    let sentence = err.lines().find(|line| line.starts_with("error: "));
    let sentence = sentence.unwrap_or_else(|| panic!("symphony {line} says what is wrong: {err}"));
    for word in words {
        assert!(err.contains(word), "{word} in {err}");
    }
    assert!(!sentence.contains("error: error") && sentence.len() < 400, "{sentence}");
    assert!(!err.contains("panicked") && !err.contains("internal"), "{err}");
}

async fn a_dry_run_shows_everything_and_stores_nothing(cloud: &Cloud) {
    let revision = cloud.client().events(&ListQuery::default()).await.unwrap().revision;
    let shown = done(
        cloud,
        "machine create one --image tiny --memory 16MiB --volume data=4MiB --network small --prefer zone=b --dry-run",
    );
    for word in [
        "machine one would go to node-2",
        "score",
        "decided by spread@",
        "nothing was stored",
        "node-1",
        "one-root",
        "one-data",
        "small",
        "STEP",
        "volume/one-root",
        "machine/one",
        "network/small",
    ] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert_eq!(done(cloud, "machine list -o name"), "");
    assert_eq!(done(cloud, "volume list -o name"), "");
    let after = cloud.client().events(&ListQuery::default()).await.unwrap();
    assert_eq!(after.items.iter().filter(|event| event.revision > revision).count(), 0);
    for node in cloud.client().all_nodes(None).await.unwrap() {
        assert_eq!(node.status.compute.unwrap().machines, 0);
    }
}

async fn machines_go_where_they_may(cloud: &Cloud) {
    let tiny = "--image tiny --memory 16MiB";
    done(
        cloud,
        &format!("machine create one {tiny} --require zone=b --network small"),
    );
    done(
        cloud,
        &format!("machine create two {tiny} --prefer zone=b --restart never"),
    );
    done(
        cloud,
        &format!("machine create three {tiny} --apart-from one --volume data=4MiB"),
    );
    for (name, node) in [("one", "node-2"), ("two", "node-2"), ("three", "node-1")] {
        assert_eq!(machine(cloud, name).node(), Some(node), "{name}");
        logged(cloud, name, "boots=1").await;
    }
    let shown = done(
        cloud,
        &format!("machine create near {tiny} --near three --prefer zone=b --dry-run"),
    );
    assert!(
        shown.contains("near would go to node-1"),
        "what is hard goes before what is soft: {shown}"
    );
    let why = done(cloud, "explain machine one");
    assert!(
        why.contains("machine one is on node-2") && why.contains("removed"),
        "{why}"
    );
    refused(
        cloud,
        &format!("machine create nowhere {tiny} --require zone=z --dry-run"),
        5,
        &["none of 2 candidates takes", "node-1", "node-2", "labels"],
    );
    refused(
        cloud,
        &format!("machine create nowhere {tiny} --apart-from one --apart-from three --dry-run"),
        5,
        &["node-1", "node-2"],
    );
    refused(
        cloud,
        &format!("machine create nowhere {tiny} --apart-from nobody"),
        3,
        &["nobody"],
    );
}

async fn bad_machines_are_refused(cloud: &Cloud) {
    let big = cloud.dir().join("big-data");
    fs::write(&big, vec![b'#'; 10 << 20]).unwrap();
    refused(cloud, "machine create bad --image tiny --cpus 0", 2, &["--cpus", "0"]);
    refused(
        cloud,
        "machine create bad --image tiny --cpus 100000",
        2,
        &["--cpus", "512"],
    );
    refused(
        cloud,
        "machine create bad --image tiny --memory 64TiB",
        2,
        &["--memory", "16TiB"],
    );
    refused(
        cloud,
        "machine create bad --image tiny --memory 1MiB",
        2,
        &["--memory", "16MiB"],
    );
    refused(
        cloud,
        &format!("machine create bad --image tiny --user-data {}", big.display()),
        2,
        &["big-data", "64KiB"],
    );
    refused(cloud, "machine create Bad_Name --image tiny", 2, &["Bad_Name"]);
    refused(cloud, "machine create one --image tiny", 4, &["one", "another name"]);
    refused(cloud, "machine create bad --image nope", 3, &["nope"]);
    refused(cloud, "machine create bad --image tiny --network nope", 3, &["nope"]);
    refused(cloud, "machine create bad --image tiny --volume nope", 3, &["nope"]);
    refused(
        cloud,
        "machine resize three --cpus 2",
        4,
        &["three", "machine stop three"],
    );
    done(cloud, "machine stop two");
    refused(cloud, "machine console two", 4, &["two", "off", "machine start two"]);
    refused(cloud, "machine reboot two", 4, &["two"]);
    done(cloud, "machine resize two --memory 32MiB --cpus 2");
    done(cloud, "machine start two");
    logged(cloud, "two", "boots=2").await;
    let nodes = cloud.client().all_nodes(None).await.unwrap();
    let claimed = nodes.iter().filter_map(|node| node.status.compute.as_ref());
    let claimed: (u64, u64) = claimed.fold((0, 0), |(cpus, bytes), compute| {
        (cpus + compute.cpus_claimed, bytes + compute.memory_claimed_bytes)
    });
    assert_eq!(
        claimed,
        (1 + 2 + 1, (16 + 32 + 16) << 20),
        "claimed is what they have now"
    );
    refused(
        cloud,
        "machine resize two --memory 64MiB",
        4,
        &["two", "machine stop two"],
    );
    refused(cloud, "machine console nobody", 3, &["nobody"]);
    // The same by other clients than ours: the manager checks on its own.
    let client = cloud.client();
    let mut wanted: symphony_api::v1::CreateMachine =
        serde_json::from_value(serde_json::json!({"name": "bad", "spec": {"image": "tiny", "cpus": 0}})).unwrap();
    let refusal = client.create_machine(&wanted).await.unwrap_err().to_string();
    assert!(refusal.contains("cpus") || refusal.contains("processor"), "{refusal}");
    wanted.spec.cpus = None;
    wanted.spec.user_data = "#".repeat(10 << 20);
    assert!(client.create_machine(&wanted).await.is_err());
    wanted.spec.user_data.truncate((64 << 10) + 1);
    let refusal = client.create_machine(&wanted).await.unwrap_err().to_string();
    assert!(refusal.contains("user") && refusal.contains("64"), "{refusal}");
}

async fn bad_parts_are_refused(cloud: &Cloud) {
    let text = cloud.dir().join("text");
    fs::write(&text, "this is no disk\n").unwrap();
    refused(
        cloud,
        &format!("image create text --file {}", text.display()),
        1,
        &["text", "512"],
    );
    done(cloud, "volume create free --size 4MiB");
    refused(
        cloud,
        "machine attach one --volume three-data",
        4,
        &["three-data", "three"],
    );
    refused(
        cloud,
        "machine create bad --image tiny --volume three-data",
        4,
        &["three-data", "three"],
    );
    refused(cloud, "volume delete three-data", 4, &["three"]);
    refused(
        cloud,
        "machine detach three --volume three-root",
        4,
        &["three-root", "boot"],
    );
    refused(cloud, "machine detach three --volume free", 3, &["free"]);
    refused(
        cloud,
        "machine create bad --image tiny --network small",
        4,
        &["small", "given out", "another network"],
    );
    refused(cloud, "network delete small", 4, &["small", "one"]);
    for subnet in ["10.8.0.0/16", "10.8.0.0/30", "10.8.0.2/31"] {
        let code = if subnet.ends_with("31") { 2 } else { 4 };
        refused(
            cloud,
            &format!("network create other --subnet {subnet}"),
            code,
            &[subnet],
        );
    }
    done(cloud, "network create other --subnet 10.8.0.4/30");
    refused(
        cloud,
        "machine create bad --image tiny --network other,address=10.8.0.2",
        1,
        &["10.8.0.2", "10.8.0.4/30"],
    );
    done(cloud, "network delete other");
}

async fn too_large_fits_nowhere(cloud: &Cloud) {
    for (size, word) in [("--memory 15TiB", "15TiB"), ("--memory 16MiB --cpus 500", "500")] {
        refused(
            cloud,
            &format!("machine create large --image tiny {size}"),
            5,
            &["the largest node", word],
        );
    }
    // What some node could have, if it had nothing else, is kept and waits.
    let nodes = cloud.client().all_nodes(None).await.unwrap();
    let all = nodes.iter().filter_map(|node| node.status.compute.as_ref());
    let most = all.map(|compute| compute.memory_bytes >> 20).max().unwrap();
    refused(
        cloud,
        &format!("machine create large --image tiny --memory {most}MiB"),
        5,
        &[
            "no node takes machine large",
            "node-1",
            "node-2",
            "memory",
            "machine delete large",
        ],
    );
    assert!(done(cloud, "machine list").contains("Unplaceable"));
    let why = done(cloud, "explain machine large");
    assert!(
        why.contains("no node takes machine large") && why.contains("memory"),
        "{why}"
    );
    done(cloud, "machine delete large --volumes delete");
}
