//! The main job, from an image file to bytes on a node's disk and back to nothing.

use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use symphony_api::Code;
use symphony_api::client::Upload;
use symphony_api::v1::{CreateVolume, CreateVolumeSpec, Size};
use symphony_tests::{Cloud, Options, disk, until};

pub(crate) fn volume(name: &str, size: &str, image: Option<&str>) -> CreateVolume {
    CreateVolume {
        name: name.to_owned(),
        labels: symphony_api::v1::Labels::default(),
        spec: CreateVolumeSpec {
            size: Some(Size::text(size)),
            image: image.map(str::to_owned),
            ..CreateVolumeSpec::default()
        },
    }
}

/// Waits until an image can be used.
pub(crate) async fn image_ready(cloud: &Cloud, name: &str) {
    until(&format!("image {name} to be ready"), async || {
        let image = cloud.client().image(name).await.ok()?;
        (image.status.phase.as_str() == "Ready").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_becomes_volumes_and_volumes_become_nothing() {
    let cloud = Cloud::start(Options::default()).await;
    let raw = disk::raw(7, 8 << 20);
    let qcow2 = std::fs::read(disk::qcow2(cloud.dir(), &raw)).unwrap();
    cloud
        .client()
        .create_image("from-raw", None, Upload::bytes(raw.clone()))
        .await
        .unwrap();
    cloud
        .client()
        .create_image("from-qcow2", None, Upload::bytes(qcow2))
        .await
        .unwrap();
    image_ready(&cloud, "from-raw").await;
    image_ready(&cloud, "from-qcow2").await;

    for image in ["from-raw", "from-qcow2"] {
        cloud
            .client()
            .create_volume(&volume(image, "1GiB", Some(image)))
            .await
            .unwrap();
        let made = cloud.ready(image).await;
        let files = cloud.files(&made);
        assert_eq!(files.len(), 1, "a volume is in one place: {files:?}");
        let file = std::fs::File::open(&files[0]).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 30);
        assert!(file.metadata().unwrap().blocks() * 512 < 64 << 20, "zeros take no room");
        let mut bytes = vec![0; raw.len()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == raw, "the image's bytes are on the volume");
    }

    let used = cloud.client().delete_image("from-raw", None).await.unwrap_err();
    assert_eq!(used.code(), Some(Code::ImageInUse), "{used}");

    for name in ["from-raw", "from-qcow2"] {
        cloud.client().delete_volume(name, None).await.unwrap();
        until("the volume to be gone", async || {
            cloud
                .client()
                .volume(name)
                .await
                .err()
                .filter(|e| e.code() == Some(Code::NotFound))
        })
        .await;
        cloud.client().delete_image(name, None).await.unwrap();
        until("the image to be gone", async || {
            cloud
                .client()
                .image(name)
                .await
                .err()
                .filter(|e| e.code() == Some(Code::NotFound))
        })
        .await;
    }
    let left = cloud.files_named(|name| name.ends_with(".partial") || name.ends_with(".written"));
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    for node in cloud.client().all_nodes(None).await.unwrap() {
        assert!(
            node.status.pools.iter().all(|pool| pool.claimed_bytes == 0),
            "no claim is left: {node:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_are_stored_once_and_stay_while_one_image_names_them() {
    let cloud = Cloud::start(Options {
        nodes: 1,
        ..Options::default()
    })
    .await;
    let raw = disk::raw(8, 1 << 20);
    for name in ["one", "two"] {
        cloud
            .client()
            .create_image(name, None, Upload::bytes(raw.clone()))
            .await
            .unwrap();
        image_ready(&cloud, name).await;
    }
    let digest = cloud.client().image("one").await.unwrap().spec.digest;
    let hex = digest.trim_start_matches("sha256:").to_owned();
    let blobs = || cloud.files_named(|name| name == hex);
    assert_eq!(blobs().len(), 1);
    cloud.client().delete_image("one", None).await.unwrap();
    until("the image to be gone", async || cloud.client().image("one").await.err()).await;
    assert_eq!(blobs().len(), 1, "the other image still names it");
    cloud
        .client()
        .create_volume(&volume("v", "1MiB", Some("two")))
        .await
        .unwrap();
    cloud.ready("v").await;
    let wrong = "0".repeat(64);
    let refused = cloud
        .client()
        .create_image("three", Some(&wrong), Upload::bytes(raw))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some(Code::DigestMismatch), "{refused}");
    assert!(cloud.client().image("three").await.is_err());
}
