//! One write, and all who watch: how long until the last of a thousand clients has it, and what each costs the manager.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use symphony_api::client::WatchQuery;
use symphony_api::v1::{Kind, Object};
use symphony_tests::{Cloud, Options};
use tokio::sync::mpsc;

use crate::cloud::{PATIENCE, volume};
use crate::figure::{Aim, Figure, Values};
use crate::memory::{SETTLED, resident_mib};
use crate::timing::{median, percentile};

const CLIENTS: usize = 1_000;
const WRITES: usize = 20;

pub(crate) const FIGURES: [Figure; 4] = [
    Figure {
        name: "watch.fanout_p50_ms",
        unit: "ms",
        aim: Aim::None,
        what: "a write's acknowledgement to the last of 1,000 watching clients having it (clients on the same server), of 20",
    },
    Figure {
        name: "watch.fanout_p99_ms",
        unit: "ms",
        aim: Aim::AtMost(1_000.0),
        what: "… the longest of 20",
    },
    Figure {
        name: "watch.events_per_s",
        unit: "1/s",
        aim: Aim::None,
        what: "… events delivered, all clients together, from the first to the last",
    },
    Figure {
        name: "watch.client_kib",
        unit: "KiB",
        aim: Aim::None,
        what: "resident memory of the manager for each client that watches",
    },
];

/// Measures; the cloud that it was done with.
pub(crate) async fn measure(values: &mut Values) -> Result<Cloud, Box<dyn Error>> {
    let cloud = Cloud::start(Options::default()).await;
    let process = format!("/proc/{}", cloud.pid());
    tokio::time::sleep(SETTLED).await;
    let before = resident_mib(Path::new(&process))?;
    let (seen, mut told) = mpsc::unbounded_channel::<(String, Instant)>();
    for _ in 0..CLIENTS {
        let query = WatchQuery {
            kinds: vec![Kind::Volume],
            from: None,
        };
        let mut watch = cloud.client().watch(&query).await?;
        let seen = seen.clone();
        tokio::spawn(async move {
            // A volume has many events; the first of each is the one that counts.
            let mut last = String::new();
            while let Ok(event) = watch.next().await {
                if let Some(Object::Volume(volume)) = event.object
                    && volume.meta.name != last
                {
                    last.clone_from(&volume.meta.name);
                    let _ = seen.send((volume.meta.name, Instant::now()));
                }
            }
        });
    }
    let each = (resident_mib(Path::new(&process))? - before) * 1024.0 / CLIENTS as f64;
    values.put("watch.client_kib", each);
    let (mut last, mut rates) = (Vec::new(), Vec::new());
    for number in 0..WRITES {
        let name = format!("v-{number}");
        cloud.client().create_volume(&volume(&name, "1MiB", None)).await?;
        let written = Instant::now();
        let (mut first, mut latest, mut count) = (None, written, 0);
        while count < CLIENTS {
            let heard = tokio::time::timeout(PATIENCE, told.recv()).await?;
            let (of, at) = heard.ok_or("the watches ended")?;
            if of == name {
                first.get_or_insert(at);
                latest = latest.max(at);
                count += 1;
            }
        }
        last.push(latest.duration_since(written).as_secs_f64() * 1e3);
        let spread = latest.duration_since(first.unwrap_or(latest)).as_secs_f64();
        rates.push(CLIENTS as f64 / spread.max(1e-6));
    }
    values.put("watch.fanout_p50_ms", median(last.clone()));
    values.put("watch.fanout_p99_ms", percentile(last, 99));
    values.put("watch.events_per_s", median(rates));
    Ok(cloud)
}
