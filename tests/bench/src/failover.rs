//! Three managers on three members of etcd: how long nobody leads after the leader has gone, what a follower answers, and
//! what etcd costs a placement.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use symphony_api::Client;
use symphony_tests::cluster::Leader;
use symphony_tests::{Cluster, process};

use crate::cloud::{PATIENCE, by_many, volume};
use crate::durable;
use crate::figure::{Aim, Figure, Values};
use crate::timing::{median, percentile};

/// Leaders that are killed.
const KILLS: usize = 20;
/// Leaders that are asked to end.
const ENDS: usize = 5;
/// Reads on each side; they take turns in [`ROUNDS`].
const READS: usize = 2_000;
const ROUNDS: usize = 5;
/// Between two looks at who leads.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(crate) const FIGURES: [Figure; 8] = [
    Figure {
        name: "cluster.leader_p50_s",
        unit: "s",
        aim: Aim::AtMost(6.5),
        what: "kill -9 of the leader to the next one's record in etcd, the median of 20; the lease is 5 s",
    },
    Figure {
        name: "cluster.leader_p99_s",
        unit: "s",
        aim: Aim::AtMost(10.0),
        what: "… the longest of 20",
    },
    Figure {
        name: "cluster.placed_p50_s",
        unit: "s",
        aim: Aim::AtMost(6.5),
        what: "… to a volume that was asked for right after the kill being placed, the median",
    },
    Figure {
        name: "cluster.placed_p99_s",
        unit: "s",
        aim: Aim::AtMost(10.0),
        what: "… the longest of 20",
    },
    Figure {
        name: "cluster.ended_p50_s",
        unit: "s",
        aim: Aim::AtMost(1.0),
        what: "SIGTERM of the leader to the next one's record, the median of 5",
    },
    Figure {
        name: "cluster.follower_reads_per_s",
        unit: "1/s",
        aim: Aim::None,
        what: "a volume by name at a follower, 32 at once over TLS",
    },
    Figure {
        name: "cluster.follower_reads_ratio",
        unit: "",
        aim: Aim::AtLeast(0.9),
        what: "… against the same at the leader, taking turns",
    },
    Figure {
        name: "cluster.durable_per_s",
        unit: "1/s",
        aim: Aim::None,
        what: "of 2,000 volumes that wait, from uncordoning 3 nodes to the last placement; against place.durable_per_s",
    },
];

/// Measures; the cluster that it was done with.
pub(crate) async fn measure(values: &mut Values) -> Result<Cluster, Box<dyn Error>> {
    let cluster = Cluster::start(3).await;
    reads(&cluster, values).await?;
    let (mut leads, mut placed) = (Vec::new(), Vec::new());
    for number in 0..KILLS {
        let (led, place) = gone(&cluster, "KILL", &format!("after-{number}")).await?;
        leads.push(led);
        placed.push(place);
    }
    values.put("cluster.leader_p50_s", median(leads.clone()));
    values.put("cluster.leader_p99_s", percentile(leads, 99));
    values.put("cluster.placed_p50_s", median(placed.clone()));
    values.put("cluster.placed_p99_s", percentile(placed, 99));
    let mut ended = Vec::new();
    for number in 0..ENDS {
        ended.push(gone(&cluster, "TERM", &format!("ended-{number}")).await?.0);
    }
    values.put("cluster.ended_p50_s", median(ended));
    values.put(
        "cluster.durable_per_s",
        durable::per_second(&cluster.clients()[0]).await?,
    );
    Ok(cluster)
}

/// The leader goes; seconds until another one leads, and until what was asked for meanwhile is placed.
async fn gone(cluster: &Cluster, signal: &str, name: &str) -> Result<(f64, f64), Box<dyn Error>> {
    let leader = cluster.leader_after(0).await;
    let left: Vec<&Client> = (0..3)
        .filter(|number| *number != leader.number())
        .map(|number| &cluster.clients()[number])
        .collect();
    let pid = cluster.pid(&cluster.manager(leader.number())).await;
    let start = Instant::now();
    assert!(process::signal(pid, signal), "the leader is there");
    let placed = async {
        left[0].create_volume(&volume(name, "1MiB", None)).await?;
        while left[1].volume(name).await?.node().is_none() {
            give_up(start)?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok::<f64, Box<dyn Error>>(start.elapsed().as_secs_f64())
    };
    let (led, placed) = tokio::join!(next(cluster, &leader, start), placed);
    let (led, placed) = (led?, placed?);
    // All are back before the next one goes.
    for client in cluster.clients() {
        while client.ready().await.is_err() {
            give_up(start)?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    Ok((led, placed))
}

async fn next(cluster: &Cluster, before: &Leader, start: Instant) -> Result<f64, Box<dyn Error>> {
    loop {
        if cluster.leader().is_some_and(|leader| leader.epoch > before.epoch) {
            return Ok(start.elapsed().as_secs_f64());
        }
        give_up(start)?;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn give_up(start: Instant) -> Result<(), Box<dyn Error>> {
    if start.elapsed() < PATIENCE {
        return Ok(());
    }
    Err("nobody leads, or the managers are not back".into())
}

async fn reads(cluster: &Cluster, values: &mut Values) -> Result<(), Box<dyn Error>> {
    let leader = cluster.leader_after(0).await.number();
    let (leader, follower) = (&cluster.clients()[leader], &cluster.clients()[(leader + 1) % 3]);
    leader.create_volume(&volume("read", "1MiB", None)).await?;
    let read = async |client: &Client, count: usize| -> Result<f64, Box<dyn Error>> {
        let client = Arc::new(client.clone());
        let start = Instant::now();
        by_many(count, |_| {
            let client = Arc::clone(&client);
            async move {
                client.volume("read").await?;
                Ok(())
            }
        })
        .await?;
        Ok(count as f64 / start.elapsed().as_secs_f64())
    };
    // Connections, and whatever is slow once.
    for client in [leader, follower] {
        read(client, READS / ROUNDS).await?;
    }
    let (mut at_leader, mut at_follower) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        at_leader.push(read(leader, READS / ROUNDS).await?);
        at_follower.push(read(follower, READS / ROUNDS).await?);
    }
    let (at_leader, at_follower) = (median(at_leader), median(at_follower));
    values.put("cluster.follower_reads_per_s", at_follower);
    values.put("cluster.follower_reads_ratio", at_follower / at_leader);
    Ok(())
}
