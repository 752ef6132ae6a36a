//! `kill -9` at every step of a machine's life: of the manager and of the agent, at each crash point that making, stopping,
//! starting and deleting a machine with a network passes. Afterwards it ran as often as it was ordered to, and nothing of
//! it is left.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::StreamExt as _;
use symphony_api::client::Upload;
use symphony_api::v1::{
    CreateMachine, CreateMachineSpec, CreateNetwork, CreateNetworkSpec, MachinePhase, Size, VolumesThen, WantedPort,
    WantedVolume,
};
use symphony_api::{Client, ClientError, Code};
use symphony_core::network::links;
use symphony_tests::lab::Abilities;
use symphony_tests::{Cloud, NotYet, Options, Steady, lab, until};

/// Clouds at once: there are two processors.
const AT_ONCE: usize = 3;
/// The rooms whose crash points are passed here; the others are those of images and volumes, which have a test of their own.
const ROOMS: [&str; 7] = [
    "api.machine.",
    "api.network.",
    "control.machine.",
    "control.segment.",
    "control.network.",
    "compute.",
    "network.",
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_a_machine_runs_once_and_leaves_nothing() {
    if !Abilities::here().guests() {
        return;
    }
    let notes = tempfile::tempdir().unwrap();
    let disk = notes.path().join("tiny.raw");
    lab::tiny(&disk, "of a crash").unwrap();
    let disk = std::fs::read(disk).unwrap();
    let log = notes.path().join("points");
    let mut undisturbed = Cloud::start(options(&[("SYMPHONY_CRASH_LOG", &log)], None)).await;
    flow(&mut undisturbed, &disk).await;
    drop(undisturbed);
    let passed = std::fs::read_to_string(&log).unwrap();
    let ours = |point: &&str| ROOMS.iter().any(|room| point.starts_with(room));
    let points: BTreeSet<&str> = passed.lines().filter(ours).collect();
    for room in ROOMS {
        let passes = points.iter().any(|point| point.starts_with(room));
        assert!(passes, "the flow passes crash points in {room}: {points:?}");
    }
    let missed: Vec<String> = futures_util::stream::iter(points.iter().enumerate())
        .map(|(number, point)| {
            let once = notes.path().join(format!("crashed-{number}"));
            let disk = &disk;
            async move { (!survives(point, &once, disk).await).then(|| (*point).to_owned()) }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(missed.is_empty(), "these crash points were never reached: {missed:?}");
    eprintln!("survived kill -9 at each of {} points", points.len());
}

/// Runs the flow with a crash at this point; whether it happened.
async fn survives(point: &str, once: &Path, disk: &[u8]) -> bool {
    let mut cloud = Cloud::start_doomed(options(&[("SYMPHONY_CRASH_ONCE", once)], Some(point))).await;
    eprintln!("kill -9 at {point}");
    flow(&mut cloud, disk).await;
    once.exists()
}

fn options(files: &[(&'static str, &Path)], point: Option<&str>) -> Options {
    let files = files
        .iter()
        .map(|(key, path)| (*key, path.to_string_lossy().into_owned()));
    let environment = files
        .chain(point.map(|point| ("SYMPHONY_CRASH_AT", point.to_owned())))
        .collect();
    Options {
        nodes: 2,
        capacities: "1GiB",
        machines: true,
        environment,
    }
}

fn network() -> CreateNetwork {
    CreateNetwork {
        name: "net1".to_owned(),
        labels: Default::default(),
        spec: CreateNetworkSpec {
            subnet: Some("10.42.0.0/24".to_owned()),
            nat: false,
            mtu: None,
        },
    }
}

fn machine() -> CreateMachine {
    CreateMachine {
        name: "web1".to_owned(),
        labels: Default::default(),
        spec: CreateMachineSpec {
            memory: Some(Size::text("16MiB")),
            image: Some("tiny".to_owned()),
            volumes: vec![WantedVolume {
                name: "data".to_owned(),
                size: Some(Size::text("4MiB")),
                delete_with_machine: false,
            }],
            ports: vec![WantedPort {
                network: "net1".to_owned(),
                ..WantedPort::default()
            }],
            ..CreateMachineSpec::default()
        },
    }
}

/// What is there already was made by an earlier attempt.
fn made<T>(answer: Result<T, ClientError>) -> Result<(), ClientError> {
    match answer {
        Err(error) if error.code() == Some(Code::AlreadyExists) => Ok(()),
        other => other.map(drop),
    }
}

/// What is not there was removed by an earlier attempt.
fn removed<T>(answer: Result<T, ClientError>) -> Result<(), NotYet> {
    match answer {
        Err(error) if error.code() == Some(Code::NotFound) => Ok(()),
        other => other.map(drop).map_err(NotYet::from),
    }
}

async fn phase(client: &Client, wanted: MachinePhase) -> Result<(), NotYet> {
    let machine = client.machine("web1").await?;
    let newest = machine.status.observed_generation == machine.meta.generation;
    if newest && machine.status.phase == wanted {
        Ok(())
    } else {
        Err(NotYet::Waiting)
    }
}

/// The life of a machine, by a client that tries again; then the checks.
async fn flow(cloud: &mut Cloud, disk: &[u8]) {
    let mut steady = Steady::of(cloud);
    steady
        .until_done("the image is uploaded", async |client| {
            made(client.create_image("tiny", None, Upload::bytes(disk.to_vec())).await)
        })
        .await;
    steady
        .until_done("the network is made", async |client| {
            made(client.create_network(&network()).await)
        })
        .await;
    steady
        .until_done("the machine is made", async |client| {
            made(client.create_machine(&machine()).await)
        })
        .await;
    for (order, then) in [
        ("", MachinePhase::Running),
        ("stop", MachinePhase::Stopped),
        ("start", MachinePhase::Running),
    ] {
        steady
            .until_done("the machine takes an order", async |client| match order {
                "stop" => client.stop_machine("web1").await.map(drop),
                "start" => client.start_machine("web1").await.map(drop),
                _ => Ok(()),
            })
            .await;
        let what = format!("the machine is {}", then.as_str());
        steady.until_done(&what, async |client| phase(client, then).await).await;
    }
    let network = steady.client().network("net1").await.expect("the network is there");
    steady
        .until_done("the guest says that it boots again, and no more", async |client| {
            // As often as it was ordered to: whatever was killed, no order is lost, and none is carried out twice.
            assert_eq!(client.machine("web1").await?.spec.boots, 2);
            let said = client.console_log("web1").await?;
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(!said.contains("boots=3"), "{said}");
            if said.contains("TINY of a crash boots=2") {
                Ok(())
            } else {
                Err(NotYet::Waiting)
            }
        })
        .await;
    for what in ["machine", "volume", "network", "image"] {
        steady
            .until_done("everything is deleted", async |client| match what {
                "machine" => removed(client.delete_machine("web1", VolumesThen::AsSaid, None).await),
                "volume" => removed(client.delete_volume("web1-data", None).await),
                "network" => removed(client.delete_network("net1", None).await),
                _ => removed(client.delete_image("tiny", None).await),
            })
            .await;
        steady
            .until_done("everything is gone", async |client| {
                let gone = match what {
                    "machine" => client.machine("web1").await.map(drop),
                    "volume" => client.volume("web1-data").await.map(drop),
                    "network" => client.network("net1").await.map(drop),
                    _ => Ok(()),
                };
                match gone {
                    Err(error) if error.code() == Some(Code::NotFound) => Ok(()),
                    Err(error) => Err(NotYet::from(error)),
                    Ok(()) if what == "image" => Ok(()),
                    Ok(()) => Err(NotYet::Waiting),
                }
            })
            .await;
    }
    nothing_is_left(cloud, network.meta.id.to_string().parse().unwrap()).await;
}

/// No record, no claim, no file, no link, no namespace.
async fn nothing_is_left(cloud: &Cloud, network: symphony_core::id::NetworkId) {
    until("claims and volumes to be gone", async || {
        let volumes = cloud.client().all_volumes(None).await.ok()?;
        let nodes = cloud.client().all_nodes(None).await.ok()?;
        let claimed: u64 = nodes
            .iter()
            .flat_map(|node| &node.status.pools)
            .map(|pool| pool.claimed_bytes)
            .sum();
        let machines: u64 = nodes
            .iter()
            .filter_map(|node| node.status.compute.as_ref())
            .map(|compute| compute.machines + compute.cpus_claimed + compute.memory_claimed_bytes)
            .sum();
        (volumes.is_empty() && claimed == 0 && machines == 0).then_some(())
    })
    .await;
    let made = ["root.raw", "console.log", "seed.img", "seed.raw"];
    let files = cloud.files_named(|name| made.contains(&name) || name.ends_with(".raw"));
    let files: Vec<_> = files
        .iter()
        .filter(|path| {
            !path
                .components()
                .any(|part| part.as_os_str().to_string_lossy().contains("image"))
        })
        .collect();
    assert!(files.is_empty(), "files are left: {files:?}");
    let links = output("ip", &["-o", "link"]);
    let namespaces = output("ip", &["netns", "list"]);
    for node in ["node-1", "node-2"] {
        let node = node.parse().unwrap();
        assert!(
            !links.contains(&links::bridge(&node, network)),
            "a bridge is left: {links}"
        );
        let namespace = links::namespace(&node, network);
        assert!(!namespaces.contains(&namespace), "a namespace is left: {namespaces}");
    }
}

fn output(program: &str, words: &[&str]) -> String {
    let output = std::process::Command::new(program).args(words).output();
    String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned()
}
