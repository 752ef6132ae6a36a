//! An image written to a volume, against `qemu-img convert` of the same file to the same disk.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use symphony_api::client::Upload;
use symphony_api::v1::Volume;
use symphony_api::{Client, Code};
use symphony_tests::{Cloud, Options, disk, until};

use crate::cloud::{Lookout, volume};
use crate::figure::{Aim, Figure, Values};
use crate::timing::median;

const DISK_BYTES: u64 = 1 << 30;
const ROUNDS: usize = 7;

pub(crate) const FIGURES: [Figure; 1] = [Figure {
    name: "image.write.ratio",
    unit: "x",
    aim: Aim::AtLeast(0.9),
    what: "1 GiB qcow2, half of it data, already on the node: throughput, API call to Ready / qemu-img convert and fsync",
}];

/// Measures; the cloud that it was done with.
pub(crate) async fn measure(values: &mut Values) -> Result<Cloud, Box<dyn Error>> {
    let cloud = Cloud::start(Options {
        nodes: 1,
        capacities: "40GiB",
        ..Options::default()
    })
    .await;
    let client = cloud.client();
    let image = half_full(cloud.dir())?;
    let (file, length) = (tokio::fs::File::open(&image).await?, image.metadata()?.len());
    client
        .create_image("disk", None, Upload::new(file, Some(length)))
        .await?;
    until("the image to be ready", async || {
        let image = client.image("disk").await.ok()?;
        (image.status.phase.as_str() == "Ready").then_some(())
    })
    .await;
    let lookout = Lookout::start(client, Volume::is_ready).await?;
    // The first brings the image to the node, and both sides' files into memory.
    by_symphony(client, &lookout, "first").await?;
    by_qemu(&image, &cloud.dir().join("first.raw"))?;
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("v-{round}");
        let ours = by_symphony(client, &lookout, &name).await?;
        let theirs = by_qemu(&image, &cloud.dir().join("theirs.raw"))?;
        eprintln!("  symphony {ours:.2?}, qemu-img {theirs:.2?}");
        ratios.push(theirs.as_secs_f64() / ours.as_secs_f64());
    }
    values.put("image.write.ratio", median(ratios));
    Ok(cloud)
}

/// A gibibyte of disk: eight times 64 MiB of bytes that no one can press, and as much of nothing.
fn half_full(dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    const PIECE: usize = 64 << 20;
    let (raw, qcow2) = (dir.join("half.raw"), dir.join("half.qcow2"));
    let file = File::create_new(&raw)?;
    file.set_len(DISK_BYTES)?;
    for piece in 0..DISK_BYTES / PIECE as u64 / 2 {
        file.write_all_at(&disk::pattern(piece + 1, PIECE), piece * 2 * PIECE as u64)?;
    }
    convert(&raw, &qcow2, "qcow2")?;
    std::fs::remove_file(raw)?;
    Ok(qcow2)
}

/// Makes a volume from the image and removes it; how long the making took.
async fn by_symphony(client: &Client, lookout: &Lookout, name: &str) -> Result<Duration, Box<dyn Error>> {
    let expected = lookout.expect(name);
    let start = Instant::now();
    client.create_volume(&volume(name, "1GiB", Some("disk"))).await?;
    let ready = expected.seen().await.map_err(|error| error.to_string())?;
    client.delete_volume(name, None).await?;
    until("the volume to be gone", async || {
        client
            .volume(name)
            .await
            .err()
            .filter(|error| error.code() == Some(Code::NotFound))
    })
    .await;
    Ok(ready.duration_since(start))
}

/// The same with qemu-img alone.
fn by_qemu(image: &Path, to: &Path) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    convert(image, to, "raw")?;
    File::open(to)?.sync_all()?;
    let took = start.elapsed();
    std::fs::remove_file(to)?;
    Ok(took)
}

fn convert(from: &Path, to: &Path, format: &str) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new("qemu-img");
    command
        .args(["convert", "-O", format])
        .arg(from)
        .arg(to)
        .stdin(Stdio::null());
    if command.status()?.success() {
        Ok(())
    } else {
        Err("qemu-img failed".into())
    }
}
