//! smoke
use symphony_tests::apart::*;

#[test]
fn smoke() {
    apart("system::chaos::smoke", async {
        let story = Story::default();
        let cluster = Apart::start(&story).await;
        eprintln!("{}", story.told());
        let (leader, _) = cluster.leads().await;
        cluster.kill(leader).await;
        cluster.power_cut(NODES[2]).await;
        cluster.power_on(NODES[2]);
        let l2 = cluster.leads().await;
        eprintln!("{}", story.told());
        eprintln!("{l2:?}");
    });
}
