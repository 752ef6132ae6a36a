//! Many machines on one node whose hypervisor is libvirt's simulation: what remains is symphony's own work.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use symphony_api::Client;
use symphony_api::v1::{Activate, MachinePhase};
use symphony_tests::{Cloud, Options, until};

use super::{image, machine};
use crate::cloud::by_many;
use crate::figure::Values;
use crate::memory::{SETTLED, agents, resident_mib};

const MACHINES: usize = 50;

/// Measures; the cloud that it was done with.
pub(super) async fn measure(values: &mut Values) -> Result<Cloud, Box<dyn Error>> {
    let mut cloud = Cloud::start(Options {
        nodes: 1,
        capacities: "40GiB",
        machines: true,
        ..Options::default()
    })
    .await;
    cloud.stop();
    simulate(&cloud.dir().join("nodes/node-1/agent.toml"))?;
    cloud.restart().await;
    let driver = Activate {
        plugin: "test".to_owned(),
        config: None,
    };
    cloud.client().activate("driver/machine", &driver).await?;
    image(&cloud).await?;
    // It brings the image to the node.
    let client = cloud.client();
    client.create_machine(&machine("first", None)).await?;
    running(client, 1).await;
    let before = settled(&cloud).await?;
    let start = Instant::now();
    by_many(MACHINES, |number| {
        let client = client.clone();
        async move {
            client.create_machine(&machine(&format!("m-{number}"), None)).await?;
            Ok(())
        }
    })
    .await?;
    running(client, MACHINES + 1).await;
    values.put("machine.define_per_s", MACHINES as f64 / start.elapsed().as_secs_f64());
    let with = settled(&cloud).await?;
    values.put("machine.agent_rss_mib", with);
    values.put("machine.agent_rss_each_kib", (with - before) * 1024.0 / MACHINES as f64);
    Ok(cloud)
}

/// Has a node's machines simulated, with as many processors as are asked for.
fn simulate(config: &Path) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(config)?;
    let mut table: toml::Table = text.parse()?;
    let compute = toml::toml! {
        uri = "test:///default"
        hypervisor = "test"
        cpu_overcommit_percent = 6_400
        memory = "16GiB"
    };
    table.insert("compute".to_owned(), compute.into());
    std::fs::write(config, table.to_string())?;
    Ok(())
}

async fn running(client: &Client, count: usize) {
    until("the machines to run", async || {
        let machines = client.all_machines(None).await.ok()?;
        let run = machines
            .iter()
            .filter(|machine| machine.status.phase == MachinePhase::Running);
        (run.count() == count).then_some(())
    })
    .await;
}

/// The agent's memory when nothing is under way.
async fn settled(cloud: &Cloud) -> Result<f64, Box<dyn Error>> {
    tokio::time::sleep(SETTLED).await;
    match agents(cloud.pid())?.as_slice() {
        [agent] => resident_mib(agent),
        other => Err(format!("the cloud has {} agents, not one", other.len()).into()),
    }
}
