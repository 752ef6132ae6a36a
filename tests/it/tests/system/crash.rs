//! `kill -9` at every step: of the manager, of an agent, at each crash point of the whole flow. Afterwards everything
//! that was acknowledged is there, once, whole; what was under way is finished; nothing half-made is left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use symphony_api::client::Upload;
use symphony_api::v1::{self, PatchVolume, PatchVolumeSpec, Size};
use symphony_api::{Client, Code};
use symphony_tests::{Cloud, NotYet, Options, Steady, disk, until};

use super::story::volume;
use super::swap::activate;

/// Clouds at once: there are two processors.
const AT_ONCE: usize = 3;
const IMAGE_BYTES: usize = 2 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_nothing_is_lost_and_nothing_is_made_twice() {
    let notes = tempfile::tempdir().unwrap();
    let log = notes.path().join("points");
    let mut undisturbed = Cloud::start(options(&[("SYMPHONY_CRASH_LOG", &log)], None)).await;
    flow(&mut undisturbed).await;
    drop(undisturbed);
    let points: BTreeSet<String> = std::fs::read_to_string(&log)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    for room in ["api.", "control.", "store.", "storage.", "image.", "agent."] {
        assert!(
            points.iter().any(|point| point.starts_with(room)),
            "the flow passes crash points in {room}: {points:?}"
        );
    }
    let missed: Vec<String> = futures_util::stream::iter(points.iter().enumerate())
        .map(|(number, point)| {
            let once = notes.path().join(format!("crashed-{number}"));
            async move { (!survives(point, &once).await).then(|| point.clone()) }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(missed.is_empty(), "these crash points were never reached: {missed:?}");
    eprintln!("survived kill -9 at each of {} points", points.len());
}

/// Runs the flow with a crash at this point; whether it happened.
async fn survives(point: &str, once: &Path) -> bool {
    let mut cloud = Cloud::start_doomed(options(&[("SYMPHONY_CRASH_ONCE", once)], Some(point))).await;
    eprintln!("kill -9 at {point}");
    flow(&mut cloud).await;
    once.exists()
}

fn options(files: &[(&'static str, &Path)], point: Option<&str>) -> Options {
    let files = files
        .iter()
        .map(|(key, path)| (*key, path.to_string_lossy().into_owned()));
    let environment = files
        .chain(point.map(|point| ("SYMPHONY_CRASH_AT", point.to_owned())))
        .collect();
    Options {
        nodes: 2,
        capacities: "1GiB,2GiB",
        environment,
        ..Options::default()
    }
}

/// The life of an image, volumes and a policy, by a client that tries again; then the checks.
async fn flow(cloud: &mut Cloud) {
    let raw = disk::raw(3, IMAGE_BYTES);
    let mut steady = Steady::of(cloud);
    steady
        .until_done("the image is uploaded", async |client| {
            match client.create_image("base", None, Upload::bytes(raw.clone())).await {
                Err(error) if error.code() == Some(Code::AlreadyExists) => Ok(()),
                other => other.map(drop),
            }
        })
        .await;
    for name in ["kept", "dropped"] {
        let image = (name == "kept").then_some("base");
        steady
            .until_done("a volume is created", async |client| {
                client
                    .create_volume_once(&volume(name, "8MiB", image), name)
                    .await
                    .map(drop)
            })
            .await;
    }
    steady
        .until_done("the volumes are ready", async |client| both_ready(client).await)
        .await;
    steady
        .until_done("another policy serves", async |client| {
            client
                .activate("scheduler/volume", &activate("binpack"))
                .await
                .map(drop)
        })
        .await;
    let larger = PatchVolume {
        spec: Some(PatchVolumeSpec {
            size: Some(Size::text("16MiB")),
        }),
        ..PatchVolume::default()
    };
    steady
        .until_done("the volume is made larger", async |client| {
            client.patch_volume("kept", &larger, None).await.map(drop)
        })
        .await;
    steady
        .until_done("a volume is deleted", async |client| {
            match client.delete_volume("dropped", None).await {
                Err(error) if error.code() == Some(Code::NotFound) => Ok(()),
                other => other.map(drop),
            }
        })
        .await;
    steady.until_done("it is gone", async |client| gone(client).await).await;
    steady
        .until_done("the volume is larger", async |client| {
            ready(client, "kept").await.map(drop)
        })
        .await;
    check(cloud, &raw).await;
}

async fn ready(client: &Client, name: &str) -> Result<v1::Volume, NotYet> {
    let volume = client.volume(name).await?;
    if volume.is_ready() {
        Ok(volume)
    } else {
        Err(NotYet::Waiting)
    }
}

async fn both_ready(client: &Client) -> Result<(), NotYet> {
    ready(client, "kept").await?;
    ready(client, "dropped").await.map(drop)
}

async fn gone(client: &Client) -> Result<(), NotYet> {
    match client.volume("dropped").await {
        Err(error) if error.code() == Some(Code::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(NotYet::Waiting),
    }
}

/// What must be so in the end, whatever happened on the way.
async fn check(cloud: &Cloud, raw: &[u8]) {
    let kept = cloud.ready("kept").await;
    let files = cloud
        .files_named(|name| name.ends_with(".raw") && name.len() == "01890a5d-ac96-774b-bcce-b302099a8057.raw".len());
    assert_eq!(
        files,
        cloud.files(&kept),
        "the volume is there, once, and nothing else is"
    );
    assert_eq!(files.len(), 1);
    let bytes = std::fs::read(&files[0]).unwrap();
    assert_eq!(bytes.len(), 16 << 20);
    assert!(bytes[..raw.len()] == *raw, "its first bytes are the image's");
    assert!(bytes[raw.len()..].iter().all(|byte| *byte == 0), "the rest is zeros");
    until("claims to be what is placed", async || {
        let nodes = cloud.client().all_nodes(None).await.ok()?;
        let claimed: u64 = nodes
            .iter()
            .flat_map(|node| &node.status.pools)
            .map(|pool| pool.claimed_bytes)
            .sum();
        (claimed == 16 << 20).then_some(())
    })
    .await;
    let half_made = || -> Vec<PathBuf> { cloud.files_named(|name| name.ends_with(".partial") && name.len() > 40) };
    let volumes: Vec<PathBuf> = half_made()
        .into_iter()
        .filter(|path| path.parent().is_some_and(|dir| dir.ends_with("volumes")))
        .collect();
    assert_eq!(volumes, Vec::<PathBuf>::new(), "nothing half-made is left");
}
