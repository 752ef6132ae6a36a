//! What must be so in the end.

use std::collections::BTreeMap;

use symphony_api::v1::{Machine, Power, Volume};
use symphony_api::{Client, Code};
use symphony_tests::apart::NODES;
use symphony_tests::until;

use super::{World, guests, subject};

/// The length of an id.
const ID_LENGTH: usize = 36;

/// All nodes are ready; each acknowledged resource is there once, by each manager; nothing else is; claims are what is
/// placed, and what is placed is what runs.
pub(super) async fn all_is_well(world: &World) {
    for client in world.cluster.clients() {
        until("all nodes to be ready", async || {
            let nodes = client.all_nodes(None).await.ok()?;
            nodes.iter().all(|node| node.status.phase == "Ready").then_some(())
        })
        .await;
        until("everything to be settled", async || {
            let (volumes, machines) = (
                client.all_volumes(None).await.ok()?,
                client.all_machines(None).await.ok()?,
            );
            (volumes.iter().all(Volume::is_ready) && machines.iter().all(Machine::is_settled)).then_some(())
        })
        .await;
    }
    for client in world.cluster.clients() {
        acknowledged_is_there(world, client).await;
    }
    let client = &world.cluster.clients()[0];
    claims_are_placed(world, client).await;
    placed_is_run(world, client).await;
    for machine in client.all_machines(None).await.unwrap() {
        guests::tell(world, &machine).await;
    }
}

async fn acknowledged_is_there(world: &World, client: &Client) {
    let acknowledged = (world.history.volumes(), world.history.machines());
    // A follower may see a deletion a moment later than the leader.
    until(
        "what is there to be what was acknowledged, by each manager",
        async || {
            let (volumes, machines) = (
                client.all_volumes(None).await.ok()?,
                client.all_machines(None).await.ok()?,
            );
            let count = (volumes.len(), machines.len());
            let volumes = volumes
                .into_iter()
                .map(|volume| (volume.meta.name, volume.meta.id.to_string()));
            let machines = machines
                .into_iter()
                .map(|machine| (machine.meta.name, machine.meta.id.to_string()));
            let listed: (BTreeMap<_, _>, BTreeMap<_, _>) = (volumes.collect(), machines.collect());
            assert_eq!(count, (listed.0.len(), listed.1.len()), "no name is there twice");
            if listed != acknowledged {
                world
                    .story
                    .note(format!("{listed:?} is there, and {acknowledged:?} was acknowledged"));
            }
            (listed == acknowledged).then_some(())
        },
    )
    .await;
}

async fn claims_are_placed(world: &World, client: &Client) {
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    for volume in client.all_volumes(None).await.unwrap() {
        *bytes.entry(volume.node().unwrap().to_owned()).or_default() += volume.spec.size;
    }
    assert_eq!(world.cluster.ledgers(), Some(bytes), "bytes claimed are bytes placed");
    let machines = client.all_machines(None).await.unwrap();
    for node in client.all_nodes(None).await.unwrap() {
        let here: Vec<&Machine> = machines
            .iter()
            .filter(|machine| machine.node() == Some(&node.meta.name))
            .collect();
        let placed = (
            here.len() as u64,
            here.iter().map(|machine| u64::from(machine.spec.cpus)).sum(),
            here.iter().map(|machine| machine.spec.memory_bytes).sum(),
        );
        let compute = node.status.compute.unwrap();
        let claimed = (compute.machines, compute.cpus_claimed, compute.memory_claimed_bytes);
        assert_eq!(
            claimed, placed,
            "what is claimed on {} is what is placed there",
            node.meta.name
        );
    }
}

async fn placed_is_run(world: &World, client: &Client) {
    let machines = client.all_machines(None).await.unwrap();
    let on = machines.iter().filter(|machine| machine.spec.power == Power::On);
    let placed: BTreeMap<String, String> = on
        .map(|machine| (machine.meta.id.to_string(), machine.node().unwrap().to_owned()))
        .collect();
    until(
        "the machines that run to be those that should, where they should",
        async || {
            world.witness.fresh().await;
            (world.witness.running() == placed).then_some(())
        },
    )
    .await;
    let volumes = client.all_volumes(None).await.unwrap();
    let mut wanted: Vec<String> = volumes
        .iter()
        .map(|volume| format!("{}/{}.raw", volume.node().unwrap(), volume.meta.id))
        .collect();
    wanted.sort();
    until(
        "the files to be those of the volumes, each once and where it is placed",
        async || (files(world) == wanted).then_some(()),
    )
    .await;
}

/// The volumes' files: node and name.
fn files(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for node in NODES {
        let folder = world.cluster.folder(node);
        let is_volume = |path: &std::path::Path| {
            let stem = path.file_stem().is_some_and(|stem| stem.len() == ID_LENGTH);
            stem && path.extension().is_some_and(|ending| ending == "raw") && path.starts_with(&folder)
        };
        for path in world.cluster.files(is_volume) {
            found.push(format!("{}/{}", node.0, path.file_name().unwrap().to_string_lossy()));
        }
    }
    found.sort();
    found
}

/// Deletes what there still is; afterwards no node has anything of it: no process, no file, no claim.
pub(super) async fn nothing_is_left(world: &World) {
    assert_eq!(world.history.machines(), BTreeMap::new());
    for name in world.history.volumes().into_keys() {
        world.history.delete_volume(&name).await;
    }
    let client = &world.cluster.clients()[0];
    until("everything to be gone", async || {
        let (volumes, machines) = (
            client.all_volumes(None).await.ok()?,
            client.all_machines(None).await.ok()?,
        );
        (volumes.is_empty() && machines.is_empty()).then_some(())
    })
    .await;
    client.delete_network(subject::NETWORK, None).await.unwrap();
    until("the network to be gone", async || {
        client
            .network(subject::NETWORK)
            .await
            .is_err_and(|error| error.code() == Some(Code::NotFound))
            .then_some(())
    })
    .await;
    assert_eq!(world.cluster.ledgers(), Some(BTreeMap::new()), "nothing is claimed");
    for node in NODES {
        let links = node.links();
        assert_eq!(links, ["eth0", "lo"], "no link is left on {}", node.0);
    }
    until(
        "no volume, no machine and no server of a volume to be left on a node",
        async || {
            let programs = ["qemu-system-x86_64", "qemu-storage-daemon"];
            let processes = programs.iter().any(|program| {
                let nodes = world.cluster.dir().join("nodes");
                !symphony_tests::server::processes(&nodes, program).is_empty()
            });
            (!processes && files(world).is_empty()).then_some(())
        },
    )
    .await;
    let definitions = |path: &std::path::Path| {
        path.extension().is_some_and(|ending| ending == "xml") && path.to_string_lossy().contains("/etc/qemu/")
    };
    assert_eq!(
        world.cluster.files(definitions),
        Vec::<std::path::PathBuf>::new(),
        "no domain is defined"
    );
}
