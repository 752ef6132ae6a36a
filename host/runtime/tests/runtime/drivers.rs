//! The drivers that come with symphony, in the sandbox: from intent and facts to steps that pass core's checks.

use symphony_core::digest::Digest;
use symphony_core::image::Format;
use symphony_core::plan::image::Images;
use symphony_core::plan::machine::Machines;
use symphony_core::plan::network::Networks;
use symphony_core::plan::volume::{Fact, ImageState, ObjectState, Probe, Step, Volumes};
use symphony_core::plan::{Goal, Kind as _, check, check_probes, image, machine, network, volume};
use symphony_core::volume::ImageSource;
use symphony_runtime::DriverPlugin;
use symphony_runtime::smoke::smoke;

use super::prepare;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

pub(crate) fn volume_intent(goal: Goal, source: Option<ImageSource>) -> volume::Intent {
    volume::Intent {
        object: ID.parse().unwrap(),
        pool: "default".parse().unwrap(),
        goal,
        size_bytes: 1 << 20,
        source,
    }
}

fn object(state: ObjectState) -> Fact {
    Fact::Object {
        object: ID.into(),
        state,
    }
}

async fn steps(driver: &DriverPlugin<Volumes>, intent: &volume::Intent, facts: &[Fact]) -> Vec<Step> {
    let steps = driver.plan(intent, facts).await.unwrap().unwrap();
    check::<Volumes>(intent, facts, steps).unwrap().steps().to_vec()
}

#[tokio::test]
async fn the_file_driver_makes_keeps_and_removes() {
    let compiled = prepare("file").await.unwrap();
    smoke(&compiled, "{}").await.unwrap();
    let driver = DriverPlugin::<Volumes>::start(&compiled, "{}").await.unwrap();
    let intent = volume_intent(Goal::Present, None);
    let probes = driver.probes(&intent).await.unwrap();
    assert!(probes.contains(&Probe::Object(ID.into())));
    check_probes::<Volumes>(&intent, probes).unwrap();

    let pool = Fact::Pool {
        reflink: false,
        free_bytes: 1 << 40,
    };
    let made = steps(&driver, &intent, &[object(ObjectState::Absent), pool.clone()]).await;
    assert!(
        matches!(made.first(), Some(Step::Allocate { size_bytes, .. }) if *size_bytes == 1 << 20),
        "{made:?}"
    );
    assert_eq!(made.last(), Some(&Step::Publish { object: ID.into() }));
    let present = [object(ObjectState::Present { size_bytes: 1 << 20 }), pool.clone()];
    assert!(
        steps(&driver, &intent, &present).await.is_empty(),
        "what is as it should be is left alone"
    );
    let gone = steps(&driver, &volume_intent(Goal::Absent, None), &present).await;
    assert_eq!(gone, [Step::Remove { object: ID.into() }]);
}

#[tokio::test]
async fn the_file_driver_writes_an_image() {
    let driver = DriverPlugin::<Volumes>::start(&prepare("file").await.unwrap(), "{}")
        .await
        .unwrap();
    let digest = Digest::new([7; 32]);
    let source = ImageSource {
        image: "tiny".parse().unwrap(),
        digest,
        format: Format::Qcow2,
        stored_bytes: 4096,
        virtual_bytes: 1 << 19,
    };
    let intent = volume_intent(Goal::Present, Some(source));
    check_probes::<Volumes>(&intent, driver.probes(&intent).await.unwrap()).unwrap();
    let facts = [
        object(ObjectState::Absent),
        Fact::Image {
            digest: digest.to_string(),
            state: ImageState::Absent,
        },
        Fact::Pool {
            reflink: false,
            free_bytes: 1 << 40,
        },
    ];
    let steps = steps(&driver, &intent, &facts).await;
    assert!(
        steps.contains(&Step::FetchImage {
            digest: digest.to_string()
        }),
        "{steps:?}"
    );
}

#[tokio::test]
async fn the_image_driver_checks_then_publishes() {
    let compiled = prepare("blob").await.unwrap();
    smoke(&compiled, "{}").await.unwrap();
    let driver = DriverPlugin::<Images>::start(&compiled, "{}").await.unwrap();
    let digest = Digest::new([7; 32]);
    let intent = image::Intent {
        upload: ID.parse().unwrap(),
        digest,
        goal: Goal::Present,
        shared: false,
    };
    check_probes::<Images>(&intent, driver.probes(&intent).await.unwrap()).unwrap();
    let facts = |integrity| {
        let header = image::Header {
            format: image::DetectedFormat::Qcow2,
            virtual_bytes: 1 << 20,
            refused: Vec::new(),
        };
        let found = Some(image::Upload {
            digest,
            stored_bytes: 4096,
            header,
            integrity,
        });
        [
            image::Fact::Upload {
                upload: ID.into(),
                found,
            },
            image::Fact::Blob {
                digest: digest.to_string(),
                present: false,
            },
        ]
    };
    let publish = image::Step::Publish {
        upload: ID.into(),
        digest: digest.to_string(),
    };
    for (integrity, published) in [(image::Integrity::Unchecked, false), (image::Integrity::Sound, true)] {
        let steps = driver.plan(&intent, &facts(integrity.clone())).await.unwrap().unwrap();
        let plan = check::<Images>(&intent, &facts(integrity.clone()), steps).unwrap();
        assert!(
            !plan.is_empty() && plan.steps().contains(&publish) == published,
            "{plan:?}"
        );
    }
    let corrupt = facts(image::Integrity::Corrupt("a loop".into()));
    assert!(
        driver.plan(&intent, &corrupt).await.unwrap().is_err(),
        "a corrupt upload is refused"
    );
}

/// Nothing is left of one call for the next: each has an instance of its own.
#[tokio::test]
async fn each_call_has_its_own_instance() {
    let compiled = prepare("blob").await.unwrap();
    let driver = DriverPlugin::<Images>::start(&compiled, "{}").await.unwrap();
    let before = compiled.stats().instances;
    let intent = image::Intent {
        upload: ID.parse().unwrap(),
        digest: Digest::new([1; 32]),
        goal: Goal::Absent,
        shared: false,
    };
    for _ in 0..5 {
        driver.probes(&intent).await.unwrap();
    }
    assert_eq!(compiled.stats().instances - before, 5);
}

fn machine(goal: Goal) -> machine::Intent {
    let disk = machine::Disk {
        volume: ID.to_owned(),
        source: machine::DiskSource::Local {
            pool: "default".to_owned(),
        },
        boot: true,
    };
    let port = machine::Port {
        id: "port-1".to_owned(),
        link: "syt1".to_owned(),
        bridge: "syb1".to_owned(),
        mac: "52:54:00:00:00:01".to_owned(),
        address: "10.0.0.5".to_owned(),
        prefix: 24,
        gateway: "10.0.0.1".to_owned(),
        rate_bits: 0,
    };
    machine::Intent {
        object: ID.to_owned(),
        name: "web".to_owned(),
        goal,
        power: machine::Power::On,
        boots: 1,
        cpus: 2,
        memory_bytes: 512 << 20,
        cpu_mode: machine::CpuMode::Automatic,
        hugepages: false,
        disks: vec![disk],
        ports: vec![port],
        first_boot: Some(machine::FirstBoot {
            hostname: "web".to_owned(),
            instance: ID.to_owned(),
            user_data: "#!/bin/sh\n".to_owned(),
            ssh_keys: vec!["ssh-ed25519 AAAA".to_owned()],
        }),
        shutdown_ms: 60_000,
    }
}

/// Through the sandbox and past core's checks: made and started, left alone once it runs, cut off and forgotten.
async fn makes_a_machine(component: &str, hypervisor: machine::Hypervisor, has_seed: bool) {
    let compiled = prepare(component).await.unwrap();
    smoke(&compiled, "{}").await.unwrap();
    let driver = DriverPlugin::<Machines>::start(&compiled, "{}").await.unwrap();
    let (intent, gone) = (machine(Goal::Present), machine(Goal::Absent));
    let probes = driver.probes(&intent).await.unwrap();
    assert!(probes.contains(&machine::Probe::Node));
    check_probes::<Machines>(&intent, probes).unwrap();
    let facts = |found: Option<machine::Domain>| {
        let domain = machine::DomainFact {
            object: ID.to_owned(),
            found,
            remains: false,
        };
        let node = machine::Fact::Node {
            hypervisor,
            hugepages: false,
        };
        vec![machine::Fact::Domain(domain), node]
    };
    let steps = driver.plan(&intent, &facts(None)).await.unwrap().unwrap();
    let plan = check::<Machines>(&intent, &facts(None), steps).unwrap();
    let Some(machine::Step::Define(description)) = plan.steps().first() else {
        panic!("{plan:?}");
    };
    assert!(
        matches!(plan.steps().last(), Some(machine::Step::Start { boots: 1, .. })),
        "{plan:?}"
    );
    let seed_digest = plan.steps().iter().find_map(|step| match step {
        machine::Step::WriteSeed { digest, .. } => Some(digest.clone()),
        _ => None,
    });
    assert_eq!(seed_digest.is_some(), has_seed);
    let running = facts(Some(machine::Domain {
        description: (**description).clone(),
        state: machine::RunState::Running,
        boots: 1,
        live_volumes: vec![ID.to_owned()],
        live_ports: description.ports.iter().map(|device| device.port.id.clone()).collect(),
        seed_digest: seed_digest.unwrap_or_default(),
    }));
    assert!(driver.plan(&intent, &running).await.unwrap().unwrap().is_empty());
    assert!(Machines::met(&intent, &running).is_some());
    let steps = driver.plan(&gone, &running).await.unwrap().unwrap();
    let plan = check::<Machines>(&gone, &running, steps).unwrap();
    assert_eq!(
        plan.steps().last(),
        Some(&machine::Step::Undefine { object: ID.to_owned() })
    );
}

#[tokio::test]
async fn the_machine_drivers_make_and_remove() {
    makes_a_machine("libvirt", machine::Hypervisor::Qemu, true).await;
    makes_a_machine("test", machine::Hypervisor::Test, false).await;
}

fn port(number: usize) -> network::Port {
    network::Port {
        id: format!("port-{number}"),
        link: format!("syt{number:012x}"),
        mac: format!("52:54:00:00:{:02x}:{:02x}", number / 256, number % 256),
        address: format!("10.0.{}.{}", number / 256, number % 256),
        hostname: format!("a-machine-with-a-name-{number}"),
        allow: vec![network::Rule {
            protocol: network::Protocol::Tcp,
            first: 22,
            last: 22,
            source: "0.0.0.0/0".to_owned(),
        }],
        rate_bits: 1_000_000,
    }
}

fn peer(number: usize) -> network::Peer {
    network::Peer {
        mac: format!("52:54:00:01:{:02x}:{:02x}", number / 256, number % 256),
        address: format!("10.1.{}.{}", number / 256, number % 256),
        hostname: format!("a-machine-with-a-name-{number}"),
        remote: "10.9.255.255:4789".to_owned(),
    }
}

fn a_network(ports: usize, peers: usize) -> network::Intent {
    network::Intent {
        object: ID.to_owned(),
        name: "net1".to_owned(),
        goal: Goal::Present,
        bridge: "syb1".to_owned(),
        namespace: "sy-1".to_owned(),
        subnet: "10.0.0.0/8".to_owned(),
        gateway: "10.0.0.1".to_owned(),
        gateway_mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1_450,
        nat: true,
        ports: (2..2 + ports).map(port).collect(),
        tunnel: (peers > 0).then(|| network::Tunnel {
            link: "syv1".to_owned(),
            vni: 77,
            local: "10.9.0.1:4789".to_owned(),
        }),
        peers: (0..peers).map(peer).collect(),
    }
}

#[tokio::test]
async fn the_network_driver_makes_what_core_takes_for_done() {
    makes_a_network(a_network(1, 0)).await;
    makes_a_network(a_network(2, 3)).await;
}

/// As large as a network may be, all of it passes the borders of the sandbox and its limits.
#[tokio::test]
async fn the_largest_network_is_planned() {
    makes_a_network(a_network(network::PORTS_MAX, network::PEERS_MAX)).await;
}

async fn makes_a_network(intent: network::Intent) {
    let compiled = prepare("bridge").await.unwrap();
    smoke(&compiled, "{}").await.unwrap();
    let driver = DriverPlugin::<Networks>::start(&compiled, "{}").await.unwrap();
    check_probes::<Networks>(&intent, driver.probes(&intent).await.unwrap()).unwrap();
    let facts = |found| {
        [network::Fact::Network(network::NetworkFact {
            object: ID.to_owned(),
            found,
        })]
    };
    let steps = driver.plan(&intent, &facts(None)).await.unwrap().unwrap();
    let plan = check::<Networks>(&intent, &facts(None), steps).unwrap();
    let mut found = network::FoundNetwork::default();
    for step in plan.steps().iter().cloned() {
        match step {
            network::Step::MakeBridge(settings) => found.bridge = Some(settings),
            network::Step::MakeGateway(settings) => found.gateway = Some(settings),
            network::Step::ServeDhcp(settings) => found.dhcp = Some(settings),
            network::Step::SetNat(settings) => found.nat = Some(settings),
            network::Step::SetFilter(settings) => found.filter = Some(settings),
            network::Step::SetRates(settings) => found.rates = Some(settings),
            network::Step::MakeTunnel(settings) => found.tunnel = Some(settings),
            network::Step::SetPeers(settings) => found.peers = Some(settings),
            network::Step::DropTunnel { .. } | network::Step::Remove { .. } => panic!("{plan:?}"),
        }
    }
    let made = facts(Some(found));
    assert!(Networks::met(&intent, &made).is_some());
    assert!(driver.plan(&intent, &made).await.unwrap().unwrap().is_empty());
    let gone = network::Intent {
        goal: Goal::Absent,
        ..intent
    };
    let steps = driver.plan(&gone, &made).await.unwrap().unwrap();
    let plan = check::<Networks>(&gone, &made, steps).unwrap();
    assert_eq!(plan.steps(), [network::Step::Remove { object: ID.to_owned() }]);
}
