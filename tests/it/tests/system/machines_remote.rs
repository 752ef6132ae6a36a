//! Machines on one node with volumes of another: they boot, write, and what they wrote is in the volume's own file.

use std::path::Path;

use symphony_tests::lab::{self, Abilities};
use symphony_tests::{Cloud, Options, until};

use super::machines_story::{done, logged, machine};

/// Where the tiny guest counts its boots.
const COUNT: usize = 1024;

/// Servers of volumes and tunnels to them: their process ids and command lines.
fn storage_daemons(cloud: &Path) -> Vec<(i32, String)> {
    let folder = format!("{}/", cloud.display());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).into_owned()))
    });
    lines
        .filter(|(_, line)| line.starts_with("qemu-storage-daemon") && line.contains(&folder))
        .collect()
}

fn node_of(cloud: &Cloud, name: &str) -> String {
    machine(cloud, name).node().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_uses_the_volume_of_another_node() {
    if !Abilities::here().machines() || !Abilities::here().networks() {
        return;
    }
    let options = Options {
        nodes: 2,
        capacities: "1GiB",
        machines: true,
        environment: Vec::new(),
    };
    let mut cloud = Cloud::start(options).await;
    let dir = cloud.dir().to_owned();
    let disk = dir.join("tiny.raw");
    lab::tiny(&disk, "of another node").unwrap();
    done(&cloud, &format!("image create tiny --file {}", disk.display()));
    done(&cloud, "volume create vol1 --image tiny --require zone=a");
    let volume = cloud.ready("vol1").await;
    let file = cloud.files(&volume).remove(0);
    assert!(file.starts_with(dir.join("nodes/node-1")), "{}", file.display());
    let count = || std::fs::read(&file).unwrap()[COUNT];

    // A machine that may not leave its volume, and must not be where it is, has no place.
    let create = |name: &str, flags: &str| format!("machine create {name} --memory 16MiB --volume vol1 {flags}");
    let (code, _, why) = cloud.symphony(
        &create("stuck", "--require zone=b --timeout 5s")
            .split_whitespace()
            .collect::<Vec<_>>(),
    );
    assert_ne!(code, 0, "{why}");
    assert!(storage_daemons(&dir).is_empty());
    done(&cloud, "machine delete stuck");

    done(&cloud, &create("far", "--require zone=b --remote-volumes"));
    assert_eq!(node_of(&cloud, "far"), "node-2");
    logged(&cloud, "far", "TINY of another node boots=1").await;
    assert_eq!((count(), storage_daemons(&dir).len()), (1, 2));
    let name = |generation: u32| format!("{}.{generation}", volume.meta.id);
    assert!(storage_daemons(&dir).iter().any(|(_, line)| line.contains(&name(1))));

    // All that serves is killed, with the manager: what is wanted comes back, and the guest writes at its next boot.
    for (pid, _) in storage_daemons(&dir) {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    cloud.restart().await;
    until("the volume to be served again", async || {
        (storage_daemons(&dir).len() == 2).then_some(())
    })
    .await;
    done(&cloud, "machine reboot far");
    logged(&cloud, "far", "TINY of another node boots=2").await;
    assert_eq!(count(), 2);

    // At home again, then away once more: in another generation.
    done(&cloud, "machine delete far");
    done(&cloud, &create("near", "--require zone=a"));
    assert_eq!(node_of(&cloud, "near"), "node-1");
    logged(&cloud, "near", "TINY of another node boots=3").await;
    assert!(storage_daemons(&dir).is_empty());
    done(&cloud, "machine delete near");
    done(&cloud, &create("again", "--require zone=b --remote-volumes"));
    logged(&cloud, "again", "TINY of another node boots=4").await;
    assert_eq!(count(), 4);
    assert!(storage_daemons(&dir).iter().any(|(_, line)| line.contains(&name(2))));

    assert_eq!(cloud.stop(), Some(0));
    assert!(storage_daemons(&dir).is_empty(), "{:?}", storage_daemons(&dir));
}
