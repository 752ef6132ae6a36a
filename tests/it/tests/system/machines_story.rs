//! The main job: from an image to a machine that has booted, has its address, keeps its data, and is gone again.

use std::fs;
use std::path::Path;

use symphony_api::v1::Machine;
use symphony_core::network::links;
use symphony_tests::lab::{self, Abilities};
use symphony_tests::server::{self, Segment};
use symphony_tests::{Cloud, Guest, Options, until};

/// A cloud for guests.
pub(crate) fn options(nodes: u32) -> Options {
    Options {
        nodes,
        capacities: "1GiB",
        machines: true,
        environment: Vec::new(),
    }
}

/// Runs `symphony`, which must succeed, and gives its output.
pub(crate) fn done(cloud: &Cloud, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (code, out, err) = cloud.symphony(&words);
    assert_eq!(code, 0, "symphony {line}\n{out}\n{err}");
    out
}

/// Runs `symphony`, which must succeed, and gives what it told a person.
pub(crate) fn told(cloud: &Cloud, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (code, out, err) = cloud.symphony(&words);
    assert_eq!(code, 0, "symphony {line}\n{out}\n{err}");
    err
}

/// The machine by `machine show -o json`.
pub(crate) fn machine(cloud: &Cloud, name: &str) -> Machine {
    serde_json::from_str(&done(cloud, &format!("machine show {name} -o json"))).unwrap()
}

/// Makes an image of the small Linux.
pub(crate) fn linux(cloud: &Cloud, flags: &str) {
    let disk = lab::linux().unwrap();
    done(cloud, &format!("image create linux --file {} {flags}", disk.display()));
}

/// Waits until a machine's console has said this, ever since it was made.
pub(crate) async fn logged(cloud: &Cloud, name: &str, wanted: &str) -> String {
    until(&format!("{name} to say {wanted:?}"), async || {
        let log = cloud.client().console_log(name).await.ok()?;
        let log = String::from_utf8_lossy(&log).into_owned();
        log.contains(wanted).then_some(log)
    })
    .await
}

/// The id of a network.
pub(crate) fn network_id(cloud: &Cloud, line: &str) -> String {
    let shown: serde_json::Value = serde_json::from_str(&done(cloud, &format!("network show {line} -o json"))).unwrap();
    shown["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_boots_serves_keeps_its_data_and_leaves_nothing() {
    if !Abilities::here().guests() || !Abilities::here().networks() {
        return;
    }
    let cloud = Cloud::start(options(1)).await;
    let [data, key] = ["user-data", "key.pub"].map(|name| cloud.dir().join(name));
    fs::write(&data, "#!/bin/sh\necho told-at-first-boot > /dev/console\n").unwrap();
    fs::write(&key, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFiY2RlZg me\n").unwrap();
    linux(&cloud, "");
    let images = cloud.files_named(|_| true);
    done(&cloud, "network create net1 --subnet 10.9.0.0/24");
    let said = told(
        &cloud,
        &format!(
            "machine create web1 --image linux --memory 128MiB --volume data=16MiB --network net1 --user-data {} \
             --ssh-key {} --wait",
            data.display(),
            key.display()
        ),
    );
    let made = machine(&cloud, "web1");
    let address = made.spec.ports[0].address.clone();
    assert!(said.contains("web1") && said.contains(&address), "{said}");
    assert_eq!(address, "10.9.0.2", "the first after the gateway's");
    let banner = |boots: u32| format!("symphony-linux up boots={boots} address={address}");
    let log = logged(&cloud, "web1", &banner(1)).await;
    assert!(log.contains("told-at-first-boot"), "its script ran: {log}");
    let printed = done(&cloud, "machine console web1 --log");
    assert!(printed.contains(&banner(1)));

    let network = network_id(&cloud, "net1");
    let node = made.node().unwrap().to_owned();
    let segment = Segment::of(&node, &network);
    let its = [
        segment.namespace.clone(),
        segment.bridge.clone(),
        links::port(
            &node.parse().unwrap(),
            made.spec.ports[0].id.to_string().parse().unwrap(),
        ),
    ];
    let parts = server::parts();
    assert!(its.iter().all(|name| parts.contains(name)), "{its:?} in {parts}");
    assert!(segment.pings(&address));
    assert_eq!(segment.http(&address, 80).as_deref(), Some("web1"));
    assert_eq!(segment.resolves("10.9.0.1", "web1.net1").unwrap().to_string(), address);

    a_disk_comes_and_goes(&cloud).await;
    a_network_comes_and_goes(&cloud, &node).await;
    it_stops_starts_and_reboots(&cloud, &banner).await;
    assert_eq!(segment.http(&address, 80).as_deref(), Some("web1"));
    its_story_is_told(&cloud);

    done(&cloud, "machine delete web1 --volumes delete --wait");
    done(&cloud, "volume delete extra --wait");
    // The machine is gone before its volumes are.
    until("the volumes to be gone", async || {
        done(&cloud, "volume list -o name").is_empty().then_some(())
    })
    .await;
    done(&cloud, "network delete net1 --wait");
    let id = made.meta.id.to_string();
    // libvirt keeps what it noted of a domain.
    let left = cloud.files_named(|name| name.contains(&id));
    let left: Vec<_> = left
        .iter()
        .filter(|path| !path.to_string_lossy().contains("/log/qemu/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    nothing_is_left(&cloud, &its, &images).await;
    let dir = cloud.dir().to_owned();
    drop(cloud);
    assert!(
        server::processes(&dir, "").is_empty(),
        "everything ended with the cloud"
    );
}

/// Two viewers at the console; a volume is plugged in, written to and taken away while the machine runs.
async fn a_disk_comes_and_goes(cloud: &Cloud) {
    let client = cloud.client();
    let (mut guest, mut other) = (Guest::attach(client, "web1").await, Guest::attach(client, "web1").await);
    assert_eq!(guest.run("hostname").await, "web1");
    other.says("\nweb1\r").await;
    let seed = guest.run("grep -h AAAAC3 /run/seed/*").await;
    assert!(
        seed.contains("AAAAC3NzaC1lZDI1NTE5AAAAIGFiY2RlZg"),
        "the key is in its seed: {seed}"
    );
    let before = guest.run("cat /proc/partitions").await;
    assert!(before.contains("vdb"), "root and data are there: {before}");
    guest
        .run("echo kept-for-good | dd of=/dev/vdb bs=512 seek=8 conv=sync,fsync 2>/dev/null; sync")
        .await;
    done(cloud, "volume create extra --size 8MiB");
    done(cloud, "machine attach web1 --volume extra");
    let disk =
        "b=$(ls /sys/class/block | while read d; do [ $(cat /sys/class/block/$d/size) = 16384 ] && echo $d; done)";
    let name = appears(&mut guest, disk, true).await;
    let written = guest
        .run(&format!(
            "echo on-extra | dd of=/dev/{name} bs=512 conv=sync,fsync 2>&1"
        ))
        .await;
    assert!(written.contains("1+0 records out"), "{written}");
    let volume = client.volume("extra").await.unwrap();
    assert_eq!(volume.status.machine.as_deref(), Some("web1"));
    let files = cloud.files(&volume);
    assert!(
        fs::read(&files[0]).unwrap().starts_with(b"on-extra"),
        "the bytes are the volume's"
    );
    let (code, _, why) = cloud.symphony(&["volume", "delete", "extra"]);
    assert!(code == 4 && why.contains("web1"), "{code} {why}");
    done(cloud, "machine detach web1 --volume extra");
    appears(&mut guest, disk, false).await;
    until("the volume to be free", async || {
        client
            .volume("extra")
            .await
            .ok()?
            .status
            .machine
            .is_none()
            .then_some(())
    })
    .await;
    other.says("on-extra").await;
}

/// A second network is plugged in while the machine runs; the guest asks there, too.
async fn a_network_comes_and_goes(cloud: &Cloud, node: &str) {
    done(cloud, "network create net2 --subnet 10.10.0.0/24");
    done(
        cloud,
        "machine attach web1 --network net2,address=10.10.0.7 --rate 100Mbit",
    );
    logged(cloud, "web1", "symphony-linux eth1 address=10.10.0.7").await;
    let segment = Segment::of(node, &network_id(cloud, "net2"));
    assert_eq!(segment.http("10.10.0.7", 80).as_deref(), Some("web1"));
    let (code, _, why) = cloud.symphony(&["network", "delete", "net2"]);
    assert!(code == 4 && why.contains("web1"), "{code} {why}");
    done(cloud, "machine detach web1 --network net2");
    let mut guest = Guest::attach(cloud.client(), "web1").await;
    let links = guest.run("sleep 0.5; ls /sys/class/net").await;
    assert!(links.contains("eth0") && !links.contains("eth1"), "{links}");
    done(cloud, "network delete net2");
    let parts = server::parts();
    assert!(
        !parts.contains(&segment.bridge) && !parts.contains(&segment.namespace),
        "{parts}"
    );
}

/// Waits until the guest sees a disk of 8 MiB, or none.
async fn appears(guest: &mut Guest, line: &str, wanted: bool) -> String {
    for _ in 0..200 {
        let seen = guest.run(&format!("{line}; echo disk=$b; sleep 0.1")).await;
        let name = seen.rsplit("disk=").next().unwrap_or_default().trim().to_owned();
        if name.is_empty() != wanted {
            return name;
        }
    }
    panic!("the guest's disks did not change");
}

async fn it_stops_starts_and_reboots(cloud: &Cloud, banner: &impl Fn(u32) -> String) {
    let said = told(cloud, "machine stop web1 --wait");
    assert!(said.contains("off"), "{said}");
    let (code, _, why) = cloud.symphony(&["machine", "console", "web1"]);
    assert!(code == 4 && why.contains("off"), "{code} {why}");
    done(cloud, "machine start web1 --wait");
    logged(cloud, "web1", &banner(2)).await;
    let mut guest = Guest::attach(cloud.client(), "web1").await;
    guest.says(&banner(2)).await;
    let kept = guest
        .run("dd if=/dev/vdb bs=512 skip=8 count=1 2>/dev/null | head -n 1")
        .await;
    assert!(kept.contains("kept-for-good"), "{kept}");
    done(cloud, "machine reboot web1");
    let log = logged(cloud, "web1", &banner(3)).await;
    assert!(!log.contains("boots=4"));
    assert_eq!(log.matches("told-at-first-boot").count(), 1, "at the first boot only");
    until("the machine to run", async || {
        machine(cloud, "web1").is_settled().then_some(())
    })
    .await;
    assert_eq!(machine(cloud, "web1").spec.boots, 3);
}

fn its_story_is_told(cloud: &Cloud) {
    let why = done(cloud, "explain machine web1");
    for word in [
        "web1 is on node-1",
        "decided by spread@",
        "web1-root",
        "web1-data",
        "net1",
    ] {
        assert!(why.contains(word), "{word} in {why}");
    }
    let story = done(cloud, "events machine/web1");
    for word in [
        "TOOK",
        "placed",
        "volume/web1-root",
        "write-image",
        "start on node node-1 took",
        "attach-disk",
        "reboot",
    ] {
        assert!(story.contains(word), "{word} in {story}");
    }
}

async fn nothing_is_left(cloud: &Cloud, its: &[String], images: &[std::path::PathBuf]) {
    let parts = server::parts();
    for name in its {
        assert!(!parts.contains(name), "{name} is left in {parts}");
    }
    assert!(server::processes(cloud.dir(), "qemu").is_empty(), "no guest is left");
    assert!(
        server::processes(cloud.dir(), "dnsmasq").is_empty(),
        "no name server is left"
    );
    let is_new = |path: &&std::path::PathBuf| {
        let within = |folder: &str| path.components().any(|part| part.as_os_str() == folder);
        let is_log = within("qemu") && path.extension().is_some_and(|ending| ending == "log");
        !images.contains(path) && (is_log || !within("libvirt")) && !within("cache")
    };
    let left: Vec<_> = cloud.files_named(|_| true);
    let left: Vec<_> = left.iter().filter(is_new).collect();
    assert!(left.iter().all(|path| is_of_the_agent(path)), "{left:?}");
    for node in cloud.client().all_nodes(None).await.unwrap() {
        let compute = node.status.compute.unwrap();
        assert_eq!(
            (compute.machines, compute.cpus_claimed, compute.memory_claimed_bytes),
            (0, 0, 0)
        );
        assert!(node.status.pools.iter().all(|pool| pool.claimed_bytes == 0));
    }
}

/// What an agent keeps for itself: its ledger, its identity, its socket.
fn is_of_the_agent(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.parent()
        .is_some_and(|dir| dir.parent().is_some_and(|dir| dir.ends_with("nodes")))
        && !name.ends_with(".raw")
}
