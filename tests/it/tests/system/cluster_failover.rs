//! The leader dies, or stands still and comes back: another leads, nothing acknowledged is lost, nothing is done twice.

use symphony_api::Client;
use symphony_tests::cluster::Leader;
use symphony_tests::writers::{self, Writers};
use symphony_tests::{Cluster, until};

use super::story::volume;

/// The clients of those that do not lead.
fn followers<'a>(cluster: &'a Cluster, leader: &Leader) -> Vec<&'a Client> {
    let others = cluster.clients().iter().enumerate();
    others
        .filter(|(number, _)| *number != leader.number())
        .map(|(_, client)| client)
        .collect()
}

/// Shows that the loops run: a new volume is placed, and made by an agent.
async fn works(client: &Client, name: &str) {
    until("a volume to be taken", async || {
        client.create_volume_once(&volume(name, "1MiB", None), name).await.ok()
    })
    .await;
    until("it to be ready", async || {
        client
            .volume(name)
            .await
            .ok()
            .filter(symphony_api::v1::Volume::is_ready)
    })
    .await;
    client.delete_volume(name, None).await.unwrap();
    until("it to be gone", async || client.volume(name).await.err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_and_another_is_frozen_while_volumes_are_made() {
    let cluster = Cluster::start(5).await;
    let first = cluster.leader_after(0).await;
    let writers = Writers::start(&followers(&cluster, &first), None, false);
    writers.more(6).await;
    cluster.kill(&cluster.manager(first.number())).await;
    let second = cluster.leader_after(first.epoch).await;
    writers.more(6).await;
    let mut acknowledged = writers.stop().await;
    // `dev` starts the killed one again: it serves what all serve.
    until("the killed manager to serve again", async || {
        cluster.clients()[first.number()].ready().await.ok()
    })
    .await;
    writers::check(&cluster, &acknowledged).await;

    let second = cluster
        .leader()
        .filter(|leader| leader.epoch > second.epoch)
        .unwrap_or(second);
    let others = followers(&cluster, &second);
    let writers = Writers::start(&others, None, false);
    writers.more(6).await;
    let frozen = cluster.freeze(&cluster.manager(second.number())).await;
    let third = cluster.leader_after(second.epoch).await;
    assert_ne!(third.manager, second.manager, "a frozen manager leads");
    writers.more(6).await;
    // The new leader's loops work while the old one stands still.
    works(others[0], "while-frozen").await;
    cluster.thaw(frozen);
    let back = &cluster.clients()[second.number()];
    until("the frozen manager to serve again", async || back.ready().await.ok()).await;
    writers.more(6).await;
    acknowledged.extend(writers.stop().await);
    until("the frozen manager to know that it leads no more", async || {
        let log = std::fs::read_to_string(cluster.manager(second.number()).join("manager.log")).ok()?;
        log.contains("leads no more").then_some(())
    })
    .await;
    let now = cluster.leader_after(second.epoch).await;
    assert!(now.epoch >= third.epoch, "epochs only grow: {now:?}, {third:?}");
    // As a follower it hands on what needs the loops.
    let name = acknowledged.keys().next().unwrap();
    until("the frozen manager to hand requests on", async || {
        back.explain_volume(name).await.ok()
    })
    .await;
    works(back, "through-the-frozen-one").await;
    writers::check(&cluster, &acknowledged).await;
}
