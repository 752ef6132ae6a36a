//! Clouds whose nodes run machines: what of them is on this server, and that nothing stays when they end, in whatever way.

use std::path::{Path, PathBuf};

use symphony_tests::lab::Abilities;
use symphony_tests::{Cloud, Options};

const OPTIONS: Options = Options {
    nodes: 2,
    capacities: "20GiB",
    machines: true,
    environment: Vec::new(),
};

/// The private libvirtds of a cloud.
fn libvirtds(cloud: &Path) -> usize {
    let folder = format!("{}/", cloud.display());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.starts_with("unshare") && line.contains(&folder))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clouds_on_one_server_run_machines_and_leave_nothing() {
    if !Abilities::here().machines() || !Abilities::here().networks() {
        return;
    }
    let (one, other) = tokio::join!(Cloud::start(OPTIONS), Cloud::start(OPTIONS));
    let dirs: Vec<PathBuf> = [&one, &other].map(|cloud| cloud.dir().to_owned()).into();
    for cloud in [&one, &other] {
        for node in cloud.client().all_nodes(None).await.unwrap() {
            let compute = node.status.compute.expect("it runs machines");
            assert!(compute.cpus_claimable == u64::from(compute.cpus) * 4 && compute.memory_bytes > 0);
            for role in ["compute", "network"] {
                assert!(
                    node.status.services.iter().any(|service| service.role == role),
                    "{role}"
                );
            }
        }
        assert_eq!(libvirtds(cloud.dir()), 2);
    }
    // One ends in good order, the other is killed first: its libvirtds go on until somebody ends them.
    let mut killed = other;
    killed.kill();
    assert_eq!(libvirtds(&dirs[1]), 2);
    drop(killed);
    assert_eq!((libvirtds(&dirs[0]), libvirtds(&dirs[1])), (2, 0));
    let mut stopped = one;
    assert_eq!(stopped.stop(), Some(0));
    assert_eq!(libvirtds(&dirs[0]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_fails_leaves_nothing() {
    if !Abilities::here().machines() {
        return;
    }
    let cloud = Cloud::start(OPTIONS).await;
    let dir = cloud.dir().to_owned();
    assert_eq!(libvirtds(&dir), 2);
    let failed = tokio::task::spawn_blocking(move || {
        let _cloud = cloud;
        panic!("as a test that fails does");
    });
    assert!(failed.await.unwrap_err().is_panic());
    assert_eq!(libvirtds(&dir), 0);
}
