//! Machines: what a cloud adds to the start of one, how fast many are defined, and what they cost the agent.

mod many;
mod start;

use std::error::Error;

use symphony_api::client::Upload;
use symphony_api::v1::{CreateMachine, CreateMachineSpec, Labels, Size, WantedPort};
use symphony_tests::lab::{self, Abilities};
use symphony_tests::{Cloud, until};

use crate::figure::{Aim, Figure, Values, Wanted};

pub(crate) const FIGURES: [Figure; 7] = [
    Figure {
        name: "machine.create_ms",
        unit: "ms",
        aim: Aim::None,
        what: "API call to the guest's first byte on its console, image on the node; its volume made, no network; median",
    },
    Figure {
        name: "machine.virsh_ms",
        unit: "ms",
        aim: Aim::None,
        what: "… the same domain by `virsh create` alone on the same libvirtd, its disk made before",
    },
    Figure {
        name: "machine.overhead_ms",
        unit: "ms",
        aim: Aim::AtMost(300.0),
        what: "… the one less the other, each round by itself; median",
    },
    Figure {
        name: "machine.overhead_net_ms",
        unit: "ms",
        aim: Aim::None,
        what: "… with a port on a network that is on the node, against the domain without one",
    },
    Figure {
        name: "machine.define_per_s",
        unit: "1/s",
        aim: Aim::None,
        what: "50 machines asked for at once until all run on one node, with driver `test` on libvirt's test:///default",
    },
    Figure {
        name: "machine.agent_rss_mib",
        unit: "MiB",
        aim: Aim::None,
        what: "resident memory of that agent with its 50 machines, libvirt's simulation of them included",
    },
    Figure {
        name: "machine.agent_rss_each_kib",
        unit: "KiB",
        aim: Aim::None,
        what: "… less what it was with one, for each",
    },
];

/// What is in [`start`], and what in [`many`].
const SPLIT: usize = 4;

/// Measures what is asked for; the clouds that it was done with. Nothing where machines can't run.
pub(crate) async fn measure(wanted: &Wanted, values: &mut Values) -> Result<Vec<Cloud>, Box<dyn Error>> {
    let mut clouds = Vec::new();
    let (start, many) = FIGURES.split_at(SPLIT);
    if wanted.any(start) && Abilities::here().networks() {
        clouds.push(start::measure(values).await?);
    }
    if wanted.any(many) && Abilities::here().machines() {
        clouds.push(many::measure(values).await?);
    }
    Ok(clouds)
}

/// The smallest machine that boots the tiny image.
fn machine(name: &str, network: Option<&str>) -> CreateMachine {
    let port = |network: &str| WantedPort {
        network: network.to_owned(),
        ..WantedPort::default()
    };
    CreateMachine {
        name: name.to_owned(),
        labels: Labels::default(),
        spec: CreateMachineSpec {
            cpus: Some(1),
            memory: Some(Size::bytes(32 << 20)),
            image: Some("tiny".to_owned()),
            ports: network.map(port).into_iter().collect(),
            ..CreateMachineSpec::default()
        },
    }
}

/// Gives the cloud the tiny image.
async fn image(cloud: &Cloud) -> Result<(), Box<dyn Error>> {
    let disk = cloud.dir().join("tiny.raw");
    lab::tiny(&disk, "measured")?;
    let (file, length) = (tokio::fs::File::open(&disk).await?, disk.metadata()?.len());
    let upload = Upload::new(file, Some(length));
    cloud.client().create_image("tiny", None, upload).await?;
    until("the image to be ready", async || {
        let image = cloud.client().image("tiny").await.ok()?;
        (image.status.phase.as_str() == "Ready").then_some(())
    })
    .await;
    Ok(())
}
