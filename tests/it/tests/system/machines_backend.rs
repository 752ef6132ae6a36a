//! Backends are swapped while the cloud runs: libvirt's simulated hypervisor takes the place of QEMU with another driver.

use symphony_api::client::Upload;
use symphony_api::v1::{CreateMachine, CreateMachineSpec, MachinePhase, Size, VolumesThen};
use symphony_tests::lab::Abilities;
use symphony_tests::{Cloud, Options, disk, until};

use super::swap::activate;

#[tokio::test(flavor = "multi_thread")]
async fn another_backend_runs_machines_from_the_next_pass_on() {
    if !Abilities::here().machines() {
        return;
    }
    let mut cloud = Cloud::start(Options {
        nodes: 1,
        capacities: "1GiB",
        machines: true,
        environment: Vec::new(),
    })
    .await;
    cloud.stop();
    let config = cloud.dir().join("nodes/node-1/agent.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let simulated = "[compute]\nuri = \"test:///default\"\nhypervisor = \"test\"\n";
    assert!(text.contains("[compute]\n"), "{text}");
    std::fs::write(&config, text.replace("[compute]\n", simulated)).unwrap();
    cloud.restart().await;
    let client = cloud.client();
    let node = until("the node to come back", async || {
        let node = client.node("node-1").await.ok()?;
        node.status.schedulable.then_some(node)
    })
    .await;
    assert_eq!(node.status.compute.unwrap().hypervisor, "test");

    // The driver for QEMU is active meanwhile: whatever it makes of this node, the other one takes over what is there.
    let image = Upload::bytes(disk::raw(1, 1 << 20));
    client.create_image("any", None, image).await.unwrap();
    let wanted = CreateMachine {
        name: "web1".to_owned(),
        labels: Default::default(),
        spec: CreateMachineSpec {
            memory: Some(Size::text("16MiB")),
            image: Some("any".to_owned()),
            ..CreateMachineSpec::default()
        },
    };
    client.create_machine(&wanted).await.unwrap();
    until("the volume to be made", async || {
        let volume = client.volume("web1-root").await.ok()?;
        volume.is_ready().then_some(())
    })
    .await;
    client.activate("driver/machine", &activate("test")).await.unwrap();
    let phase = async |wanted: MachinePhase| {
        until(&format!("the machine to be {}", wanted.as_str()), async || {
            let machine = client.machine("web1").await.ok()?;
            (machine.status.phase == wanted && machine.is_settled()).then_some(())
        })
        .await;
    };
    phase(MachinePhase::Running).await;
    let machine = client.machine("web1").await.unwrap();
    assert_eq!(machine.status.hypervisor.as_deref(), Some("test"));
    client.stop_machine("web1").await.unwrap();
    phase(MachinePhase::Stopped).await;
    client.delete_machine("web1", VolumesThen::Delete, None).await.unwrap();
    until("nothing to be left", async || {
        let machines = client.all_machines(None).await.ok()?;
        let volumes = client.all_volumes(None).await.ok()?;
        (machines.is_empty() && volumes.is_empty()).then_some(())
    })
    .await;
    let slot = client.rollback("driver/machine").await.unwrap();
    assert!(
        slot.plugin.unwrap().starts_with("libvirt"),
        "the first driver serves again"
    );
}
