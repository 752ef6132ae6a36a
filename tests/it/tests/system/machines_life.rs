//! What machines go through when something dies: a guest, its QEMU, its libvirtd, the manager, the whole cloud.

use std::collections::BTreeSet;

use symphony_api::v1::{Exit, MachinePhase};
use symphony_tests::lab::{self, Abilities};
use symphony_tests::server::{self, Segment};
use symphony_tests::{Cloud, Guest, until};

use super::machines_story::{done, linux, logged, machine, network_id, options};

#[tokio::test(flavor = "multi_thread")]
async fn machines_come_back_from_whatever_dies() {
    if !Abilities::here().guests() || !Abilities::here().networks() {
        return;
    }
    let mut cloud = Cloud::start(options(1)).await;
    let disk = cloud.dir().join("tiny.raw");
    lab::tiny(&disk, "of a life").unwrap();
    done(&cloud, &format!("image create tiny --file {}", disk.display()));
    linux(&cloud, "");
    done(&cloud, "network create net1 --subnet 10.9.0.0/24");
    done(&cloud, "machine create one --image tiny --memory 16MiB");
    done(
        &cloud,
        "machine create web --image linux --memory 128MiB --network net1 --restart on-failure",
    );
    logged(&cloud, "one", "boots=1").await;
    logged(&cloud, "web", "up boots=1 address=10.9.0.2").await;

    a_qemu_that_dies_is_started_again(&cloud).await;
    a_guest_that_ends_itself_stays_off(&cloud).await;
    a_libvirtd_that_dies_takes_nothing_with_it(&cloud).await;
    a_manager_that_dies_finds_its_machines(&mut cloud).await;
    a_cloud_that_ends_comes_back(&mut cloud).await;

    // A manager that has just begun knows of no network that it is ready: nothing is taken from a machine for that.
    let story = done(&cloud, "events machine/web --limit 500");
    assert!(story.contains("start on node"), "{story}");
    assert!(
        !story.contains("-port on node") && !story.contains("-disk on node"),
        "{story}"
    );

    done(&cloud, "machine delete one web --volumes delete");
    done(&cloud, "network delete net1");
    assert!(server::processes(cloud.dir(), "qemu").is_empty());
}

/// The process of a machine's QEMU: there is one.
fn qemu(cloud: &Cloud, name: &str) -> u32 {
    let id = machine(cloud, name).meta.id.to_string();
    let its: Vec<u32> = server::processes(cloud.dir(), "qemu")
        .into_iter()
        .filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&id)))
        .collect();
    assert_eq!(its.len(), 1, "machine {name} has one process");
    its[0]
}

async fn phase(cloud: &Cloud, name: &str, wanted: MachinePhase) {
    until(&format!("{name} to be {}", wanted.as_str()), async || {
        let seen = cloud.client().machine(name).await.ok()?;
        let newest = seen.status.observed_generation == seen.meta.generation;
        (newest && seen.status.phase == wanted).then_some(())
    })
    .await;
}

async fn told(cloud: &Cloud, name: &str, reason: &str) -> usize {
    let events = cloud.events().await;
    let its = events.iter().filter(|event| event.subject.name == name);
    its.filter(|event| event.reason == reason).count()
}

async fn a_qemu_that_dies_is_started_again(cloud: &Cloud) {
    let first = qemu(cloud, "one");
    server::kill(first);
    logged(cloud, "one", "boots=2").await;
    phase(cloud, "one", MachinePhase::Running).await;
    assert_ne!(qemu(cloud, "one"), first);
    let seen = machine(cloud, "one");
    assert_eq!((seen.status.restarts, seen.spec.boots), (1, 1), "it was nobody's order");
    assert!(seen.status.running_since.is_some());
    assert_eq!(told(cloud, "one", "died").await, 1);
    let story = done(cloud, "events machine/one");
    assert!(story.contains("it crashed; it is started again at"), "{story}");
}

async fn a_guest_that_ends_itself_stays_off(cloud: &Cloud) {
    let mut guest = Guest::attach(cloud.client(), "web").await;
    guest.run("sync").await;
    guest.tell("poweroff").await;
    phase(cloud, "web", MachinePhase::Stopped).await;
    let seen = machine(cloud, "web");
    assert_eq!((seen.status.exit, seen.status.restarts), (Some(Exit::Guest), 0));
    // A pass later it is still off: its wish is that it runs, its policy that it stays so.
    done(cloud, "machine create other --image tiny --memory 16MiB");
    done(cloud, "machine delete other --volumes delete");
    phase(cloud, "web", MachinePhase::Stopped).await;
    assert_eq!(told(cloud, "web", "died").await, 0);
    done(cloud, "machine start web");
    logged(cloud, "web", "up boots=2 address=10.9.0.2").await;
}

async fn a_libvirtd_that_dies_takes_nothing_with_it(cloud: &Cloud) {
    let before = qemu(cloud, "one");
    let daemons: BTreeSet<u32> = server::processes(cloud.dir(), "libvirtd");
    assert_eq!(daemons.len(), 1, "one for the node");
    daemons.iter().copied().for_each(server::kill);
    let mut guest = Guest::attach(cloud.client(), "web").await;
    assert_eq!(guest.run("hostname").await, "web", "its console goes on");
    // Only a libvirtd can do this: there is another one.
    done(cloud, "machine stop one");
    assert!(!server::processes(cloud.dir(), "qemu").contains(&before));
    // Two starts at once start one.
    let client = cloud.client();
    let (first, second) = tokio::join!(client.start_machine("one"), client.start_machine("one"));
    assert_eq!((first.unwrap().spec.boots, second.unwrap().spec.boots), (2, 2));
    logged(cloud, "one", "boots=3").await;
    phase(cloud, "one", MachinePhase::Running).await;
    assert_eq!(told(cloud, "one", "died").await, 1, "not this time");
}

async fn a_manager_that_dies_finds_its_machines(cloud: &mut Cloud) {
    let before = [qemu(cloud, "one"), qemu(cloud, "web")];
    cloud.restart().await;
    until("the node to be back", async || {
        let nodes = cloud.client().all_nodes(None).await.ok()?;
        nodes[0].status.schedulable.then_some(())
    })
    .await;
    for name in ["one", "web"] {
        phase(cloud, name, MachinePhase::Running).await;
    }
    assert_eq!([qemu(cloud, "one"), qemu(cloud, "web")], before, "they never stopped");
    let segment = Segment::of("node-1", &network_id(cloud, "net1"));
    assert_eq!(segment.http("10.9.0.2", 80).as_deref(), Some("web"));
    // Its console is taken up again, and what it has said is kept.
    let mut guest = Guest::attach(cloud.client(), "web").await;
    assert_eq!(guest.run("cat /root/bootcount").await, "2");
    logged(cloud, "web", "up boots=1").await;
    assert_eq!(told(cloud, "web", "died").await, 0);
}

async fn a_cloud_that_ends_comes_back(cloud: &mut Cloud) {
    let segment = Segment::of("node-1", &network_id(cloud, "net1"));
    assert!(server::parts().contains(&segment.bridge));
    assert_eq!(cloud.stop(), Some(0));
    assert!(server::processes(cloud.dir(), "").is_empty(), "nothing runs on");
    let parts = server::parts();
    assert!(
        !parts.contains(&segment.bridge) && !parts.contains(&segment.namespace),
        "nor a link"
    );
    cloud.restart().await;
    logged(cloud, "one", "boots=4").await;
    logged(cloud, "web", "up boots=3 address=10.9.0.2").await;
    for name in ["one", "web"] {
        phase(cloud, name, MachinePhase::Running).await;
        assert_eq!(
            told(cloud, name, "died").await,
            usize::from(name == "one"),
            "{name}: an end in order is no death"
        );
    }
    assert_eq!(segment.http("10.9.0.2", 80).as_deref(), Some("web"));
}
