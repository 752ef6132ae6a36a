//! Volumes from the request to `Ready`: through server, scheduler, driver and agents, on real disks.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use symphony_api::v1::Volume;
use symphony_tests::{Cloud, Options};

use crate::cloud::{ASKERS, Lookout, by_many, volume};
use crate::figure::{Aim, Figure, Values};
use crate::timing::{median, percentile};

const VOLUMES: usize = 2_000;

pub(crate) const FIGURES: [Figure; 3] = [
    Figure {
        name: "volume.create_per_s",
        unit: "1/s",
        aim: Aim::None,
        what: "1 MiB volumes, API call to Ready in a watch; 3 agents, 32 clients that each wait for theirs",
    },
    Figure {
        name: "volume.create_p50_ms",
        unit: "ms",
        aim: Aim::None,
        what: "… one of them, the median",
    },
    Figure {
        name: "volume.create_p99_ms",
        unit: "ms",
        aim: Aim::None,
        what: "… one of them, the 99th percentile",
    },
];

/// Measures; the cloud that it was done with.
pub(crate) async fn measure(values: &mut Values) -> Result<Cloud, Box<dyn Error>> {
    let cloud = Cloud::start(Options::default()).await;
    let lookout = Arc::new(Lookout::start(cloud.client(), Volume::is_ready).await?);
    let create = |kind: &'static str| {
        let (client, lookout) = (cloud.client().clone(), Arc::clone(&lookout));
        move |number: usize| {
            let (client, lookout, name) = (client.clone(), Arc::clone(&lookout), format!("{kind}-{number}"));
            async move {
                let expected = lookout.expect(&name);
                let start = Instant::now();
                client.create_volume(&volume(&name, "1MiB", None)).await?;
                let ready = expected.seen().await?;
                Ok(ready.duration_since(start).as_secs_f64() * 1e3)
            }
        }
    };
    by_many(ASKERS, create("warm")).await?;
    let start = Instant::now();
    let times = by_many(VOLUMES, create("v")).await?;
    values.put("volume.create_per_s", VOLUMES as f64 / start.elapsed().as_secs_f64());
    values.put("volume.create_p50_ms", median(times.clone()));
    values.put("volume.create_p99_ms", percentile(times, 99));
    Ok(cloud)
}
