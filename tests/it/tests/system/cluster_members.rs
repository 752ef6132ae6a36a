//! Members of etcd and agents die or stand still, one after the other, while volumes are made from an image.

use symphony_api::client::Upload;
use symphony_api::v1::Condition;
use symphony_tests::cluster::MEMBERS;
use symphony_tests::writers::{self, Writers};
use symphony_tests::{Cluster, disk, until};

const IMAGE: &str = "base";

async fn image(cluster: &Cluster) -> Vec<u8> {
    let raw = disk::raw(11, 2 << 20);
    let client = &cluster.clients()[0];
    client
        .create_image(IMAGE, None, Upload::bytes(raw.clone()))
        .await
        .unwrap();
    until("the image to be ready", async || {
        let image = client.image(IMAGE).await.ok()?;
        (image.status.phase.as_str() == "Ready").then_some(())
    })
    .await;
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_of_etcd_is_killed_and_frozen_while_volumes_are_made() {
    let cluster = Cluster::start(3).await;
    image(&cluster).await;
    let all: Vec<_> = cluster.clients().iter().collect();
    let writers = Writers::start(&all, Some(IMAGE), true);
    writers.more(3).await;
    for number in 0..MEMBERS {
        eprintln!("etcd{} is killed", number + 1);
        cluster.kill(&cluster.member(number)).await;
        writers.more(3).await;
        until("it to serve again", async || {
            cluster.member_is_healthy(number).then_some(())
        })
        .await;
        eprintln!("etcd{} is frozen", number + 1);
        let frozen = cluster.freeze(&cluster.member(number)).await;
        // Two of three are enough.
        writers.more(3).await;
        cluster.thaw(frozen);
        until("it to serve again", async || {
            cluster.member_is_healthy(number).then_some(())
        })
        .await;
    }
    let acknowledged = writers.stop().await;
    writers::check(&cluster, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_killed_and_frozen_in_the_middle_of_making_volumes() {
    let cluster = Cluster::start(3).await;
    let raw = image(&cluster).await;
    let client = &cluster.clients()[1];
    let all: Vec<_> = cluster.clients().iter().collect();
    let writers = Writers::start(&all, Some(IMAGE), true);
    for number in 0..3 {
        writers.more(3).await;
        cluster.kill(&cluster.node(number)).await;
    }
    writers.more(3).await;
    let frozen = cluster.freeze(&cluster.node(1)).await;
    // Unknown, and no more than that: nothing of its is made elsewhere.
    until("the frozen node to be unknown", async || {
        (client.node("node-2").await.ok()?.status.phase == "Unknown").then_some(())
    })
    .await;
    cluster.thaw(frozen);
    writers.more(3).await;
    let acknowledged = writers.stop().await;
    writers::check(&cluster, &acknowledged).await;
    for id in acknowledged.values() {
        let bytes = std::fs::read(cluster.volume_file(id)).unwrap();
        assert_eq!(bytes.len(), 4 << 20);
        assert!(bytes[..raw.len()] == raw[..], "volume {id} begins as the image does");
        assert!(bytes[raw.len()..].iter().all(|byte| *byte == 0), "the rest is zeros");
    }
    let failed = |condition: &Condition| condition.kind == "ready" && condition.reason == "failed";
    let volumes = client.all_volumes(None).await.unwrap();
    assert!(
        volumes
            .iter()
            .all(|volume| !volume.status.conditions.iter().any(failed))
    );
}
