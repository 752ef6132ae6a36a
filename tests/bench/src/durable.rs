//! Placements that are on disk: many volumes wait because every node is cordoned, then all may be placed at once.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use symphony_api::Client;
use symphony_api::v1::{PatchNode, PatchNodeSpec};
use symphony_tests::{Cloud, Options};

use crate::cloud::{Lookout, by_many, volume};
use crate::figure::{Aim, Figure, Values};

const VOLUMES: usize = 2_000;

pub(crate) const FIGURES: [Figure; 1] = [Figure {
    name: "place.durable_per_s",
    unit: "1/s",
    aim: Aim::None,
    what: "of 2,000 volumes that wait, from uncordoning 3 nodes to the last placement in a watch; agents begin making them",
}];

/// Measures; the cloud that it was done with.
pub(crate) async fn measure(values: &mut Values) -> Result<Cloud, Box<dyn Error>> {
    let cloud = Cloud::start(Options::default()).await;
    values.put("place.durable_per_s", per_second(cloud.client()).await?);
    Ok(cloud)
}

/// Placements per second, of volumes that all wait until they may be placed.
pub(crate) async fn per_second(client: &Client) -> Result<f64, Box<dyn Error>> {
    cordon(client, true).await?;
    let lookout = Arc::new(Lookout::start(client, |volume| volume.node().is_some()).await?);
    let expected = by_many(VOLUMES, |number| {
        let (client, lookout) = (client.clone(), Arc::clone(&lookout));
        async move {
            let name = format!("v-{number}");
            let expected = lookout.expect(&name);
            client.create_volume(&volume(&name, "1MiB", None)).await?;
            Ok(expected)
        }
    })
    .await?;
    let start = Instant::now();
    cordon(client, false).await?;
    let mut last = start;
    for expected in expected {
        last = last.max(expected.seen().await.map_err(|error| error.to_string())?);
    }
    Ok(VOLUMES as f64 / last.duration_since(start).as_secs_f64())
}

/// Keeps new work from all nodes, or no longer.
async fn cordon(client: &Client, cordoned: bool) -> Result<(), Box<dyn Error>> {
    let patch = PatchNode {
        spec: Some(PatchNodeSpec {
            cordoned: Some(cordoned),
            ..PatchNodeSpec::default()
        }),
        ..PatchNode::default()
    };
    for node in client.all_nodes(None).await? {
        client.patch_node(&node.meta.name, &patch, None).await?;
    }
    Ok(())
}
