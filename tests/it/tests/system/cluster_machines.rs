//! Machines of a cluster: asked for at one manager, seen and used through another, whoever leads.

use symphony_api::client::Upload;
use symphony_api::v1::{CreateMachine, CreateMachineSpec, MachinePhase, Size};
use symphony_tests::lab::{self, Abilities};
use symphony_tests::{Cluster, Guest, until};

fn machine(name: &str, image: &str) -> CreateMachine {
    CreateMachine {
        name: name.to_owned(),
        labels: symphony_api::v1::Labels::default(),
        spec: CreateMachineSpec {
            image: Some(image.to_owned()),
            memory: Some(Size::text("16MiB")),
            ..CreateMachineSpec::default()
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_through_a_follower_outlives_the_leader() {
    if !Abilities::here().machines() || !Abilities::here().networks() {
        return;
    }
    let mut cluster = Cluster::start_with_machines(2).await;
    let leader = cluster.leader_after(0).await;
    let followers: Vec<usize> = (0..3).filter(|number| *number != leader.number()).collect();
    let (asked, seen_by) = (
        cluster.clients()[followers[0]].clone(),
        cluster.clients()[followers[1]].clone(),
    );

    let disk = cluster.dir().join("tiny.raw");
    lab::tiny(&disk, "of a cluster").unwrap();
    let bytes = std::fs::read(&disk).unwrap();
    asked.create_image("tiny", None, Upload::bytes(bytes)).await.unwrap();
    asked.create_machine(&machine("web", "tiny")).await.unwrap();
    until("it to run, as another manager sees it", async || {
        let machine = seen_by.machine("web").await.ok()?;
        (machine.status.phase == MachinePhase::Running).then_some(())
    })
    .await;
    let mut guest = Guest::attach(&seen_by, "web").await;
    guest.says("TINY of a cluster boots=1").await;
    guest.tell("before").await;
    guest.says("before").await;

    cluster.kill(&cluster.manager(leader.number())).await;
    guest.tell("while nobody leads").await;
    guest.says("while nobody leads").await;
    cluster.leader_after(leader.epoch).await;
    guest.tell("after").await;
    guest.says("after").await;

    // The next leader takes orders for it, and it is the same machine on the same disk.
    until("the machine to be rebooted", async || {
        seen_by.reboot_machine("web").await.ok()
    })
    .await;
    until("it to have booted again", async || {
        let log = seen_by.console_log("web").await.ok()?;
        String::from_utf8_lossy(&log)
            .contains("TINY of a cluster boots=2")
            .then_some(())
    })
    .await;
    assert_eq!(cluster.stop(), Some(0));
}
