//! A machine through the agent: its volume from bytes, its network, its boot, its end. Real QEMU, real bridges.

use std::time::Duration;

use symphony_core::id::{MachineId, NetworkId, PortId};
use symphony_core::network::links;
use symphony_core::plan::machine::{
    Chipset, CpuMode, Description, DeviceModel, Disk, DiskDevice, DiskSource, Domain, Fact, Hypervisor, Intent,
    Machines, Port, PortDevice, Power, Probe, RunState, Step,
};
use symphony_core::plan::network::{
    self, BridgeSettings, DhcpHost, DhcpSettings, FilterSettings, GatewaySettings, Networks, PortFilter,
};
use symphony_core::plan::{Goal, Kind, Plan, check, check_probes};
use symphony_lab::Abilities;
use symphony_protocol::{Outcome, Task, Work};

use crate::manager::{Manager, Session};
use crate::process::{Folder, PATIENCE, Process};
use crate::work::Wanted;

/// Ends the private libvirtd with all that it runs, whatever happened.
pub(crate) struct Libvirtd<'a>(pub(crate) &'a Folder);

impl Drop for Libvirtd<'_> {
    fn drop(&mut self) {
        let folder = self.0.path().join("libvirt");
        if let Ok(Some(libvirtd)) = symphony_compute::Libvirtd::find(&folder) {
            let _ = libvirtd.stop();
        }
    }
}

fn steps<K: Kind>(intent: &K::Intent, facts: &[K::Fact], steps: Vec<K::Step>) -> Plan<K> {
    check::<K>(intent, facts, steps).unwrap()
}

pub(crate) async fn machine(
    session: &mut Session,
    intent: &Intent,
    generation: u64,
    doing: Vec<Step>,
    seen: &[Fact],
) -> Vec<Fact> {
    let then = check_probes::<Machines>(intent, vec![Probe::Domain(intent.object.clone())]).unwrap();
    let plan = steps::<Machines>(intent, seen, doing);
    let work = Work::Machine {
        exports: Vec::new(),
        task: Task::Steps { plan, then },
    };
    let object = format!("machine/{}", intent.object);
    match session.call(&object, generation, work).await.unwrap().unwrap() {
        Outcome::Machine(seen) => seen.facts,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn domain(facts: &[Fact]) -> Option<Domain> {
    facts.iter().find_map(|fact| match fact {
        Fact::Domain(fact) => Some(fact.found.clone()),
        Fact::Node { .. } => None,
    })?
}

fn intent(id: MachineId, disk: Disk, port: Port) -> Intent {
    Intent {
        object: id.to_string(),
        name: "web1".to_owned(),
        goal: Goal::Present,
        power: Power::On,
        boots: 1,
        cpus: 1,
        memory_bytes: 64 << 20,
        cpu_mode: CpuMode::Automatic,
        hugepages: false,
        disks: vec![disk],
        ports: vec![port],
        first_boot: None,
        shutdown_ms: 20_000,
    }
}

fn description(intent: &Intent) -> Description {
    let model = DeviceModel::Virtio;
    Description {
        object: intent.object.clone(),
        title: intent.name.clone(),
        hypervisor: Hypervisor::Qemu,
        chipset: Chipset::Q35,
        cpus: intent.cpus,
        memory_bytes: intent.memory_bytes,
        cpu_mode: intent.cpu_mode,
        hugepages: false,
        disks: intent
            .disks
            .iter()
            .cloned()
            .map(|disk| DiskDevice { disk, model })
            .collect(),
        ports: intent
            .ports
            .iter()
            .cloned()
            .map(|port| PortDevice { port, model })
            .collect(),
        seed: false,
        console: true,
        screen: false,
    }
}

fn net(id: NetworkId, port: &Port) -> network::Intent {
    let node = "n1".parse().unwrap();
    network::Intent {
        object: id.to_string(),
        name: "net1".to_owned(),
        goal: Goal::Present,
        bridge: links::bridge(&node, id),
        namespace: links::namespace(&node, id),
        subnet: "10.7.0.0/24".to_owned(),
        gateway: "10.7.0.1".to_owned(),
        gateway_mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1450,
        nat: false,
        ports: vec![network::Port {
            id: port.id.clone(),
            link: port.link.clone(),
            mac: port.mac.clone(),
            address: port.address.clone(),
            hostname: "web1".to_owned(),
            allow: Vec::new(),
            rate_bits: 0,
        }],
        tunnel: None,
        peers: Vec::new(),
    }
}

pub(crate) fn network_steps(intent: &network::Intent) -> Vec<network::Step> {
    let object = || intent.object.clone();
    let port = &intent.ports[0];
    vec![
        network::Step::MakeBridge(BridgeSettings {
            object: object(),
            bridge: intent.bridge.clone(),
            mtu: 1450,
        }),
        network::Step::SetFilter(FilterSettings {
            object: object(),
            bridge: intent.bridge.clone(),
            gateway: intent.gateway.clone(),
            ports: vec![PortFilter {
                link: port.link.clone(),
                mac: port.mac.clone(),
                address: port.address.clone(),
                allow: Vec::new(),
            }],
            tunnel: None,
            peers: Vec::new(),
        }),
        network::Step::MakeGateway(GatewaySettings {
            object: object(),
            bridge: intent.bridge.clone(),
            namespace: intent.namespace.clone(),
            address: intent.gateway.clone(),
            prefix: 24,
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: 1450,
        }),
        network::Step::ServeDhcp(DhcpSettings {
            object: object(),
            namespace: intent.namespace.clone(),
            subnet: intent.subnet.clone(),
            gateway: intent.gateway.clone(),
            domain: intent.name.clone(),
            forward: false,
            mtu: 1450,
            names: Vec::new(),
            hosts: vec![DhcpHost {
                mac: port.mac.clone(),
                address: port.address.clone(),
                hostname: "web1".to_owned(),
            }],
        }),
    ]
}

pub(crate) async fn network(
    session: &mut Session,
    intent: &network::Intent,
    generation: u64,
    doing: Vec<network::Step>,
) {
    let then = check_probes::<Networks>(intent, Vec::new()).unwrap();
    let plan = steps::<Networks>(intent, &[], doing);
    let object = format!("network/{}", intent.object);
    let work = Work::Network {
        task: Task::Steps { plan, then },
    };
    match session.call(&object, generation, work).await.unwrap().unwrap() {
        Outcome::Network(seen) => assert!(Networks::met(intent, &seen.facts).is_some(), "{:?}", seen.facts),
        other => panic!("{other:?}"),
    }
}

/// What the machine has said on its console so far; the agent keeps it.
pub(crate) async fn console_says(folder: &Folder, machine: &str, wanted: &str) {
    let log = folder.path().join("machines").join(machine);
    let said = || {
        let files = std::fs::read_dir(&log).into_iter().flatten().flatten();
        let texts = files.filter(|file| file.file_name().to_string_lossy().contains("log"));
        texts
            .filter_map(|file| std::fs::read(file.path()).ok())
            .any(|text| String::from_utf8_lossy(&text).contains(wanted))
    };
    let wait = async {
        while !said() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{wanted:?} was not said: {}", folder.log()));
}

/// What the data port tells of a machine's console.
async fn log_of(hello: &symphony_protocol::Hello, machine: &str) -> String {
    let client = crate::work::client();
    let path = symphony_protocol::data::MACHINES_PATH;
    let get = client.get(format!("{}{path}{machine}/console/log", hello.data_url));
    let answer = get.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

pub(crate) async fn start(manager: &Manager, folder: &Folder) -> (Process, Session) {
    let process = folder.start();
    (process, manager.session().await)
}

/// A machine that runs, and what it took.
pub(crate) struct Guest {
    pub(crate) wanted: Intent,
    pub(crate) net: network::Intent,
    /// Defines and starts it.
    pub(crate) doing: Vec<Step>,
}

/// Makes a volume with a tiny system on it, a network, and a machine of both that runs; it says the word when it boots.
pub(crate) async fn boot(session: &mut Session, folder: &Folder, word: &str) -> Guest {
    let volume = Wanted::empty(symphony_lab::TINY_BYTES as u64);
    volume.make(session).await.unwrap().unwrap();
    symphony_lab::tiny(&volume.file(folder), word).unwrap();
    let (id, net_id, port_id) = (
        MachineId::new(uuid::Uuid::now_v7()),
        NetworkId::new(uuid::Uuid::now_v7()),
        PortId::new(uuid::Uuid::now_v7()),
    );
    let node = "n1".parse().unwrap();
    let port = Port {
        id: port_id.to_string(),
        link: links::port(&node, port_id),
        bridge: links::bridge(&node, net_id),
        mac: "52:54:00:00:07:05".to_owned(),
        address: "10.7.0.5".to_owned(),
        prefix: 24,
        gateway: "10.7.0.1".to_owned(),
        rate_bits: 0,
    };
    let disk = Disk {
        volume: volume.id.to_string(),
        source: DiskSource::Local {
            pool: "default".to_owned(),
        },
        boot: true,
    };
    let net = net(net_id, &port);
    network(session, &net, 1, network_steps(&net)).await;
    let wanted = intent(id, disk, port);
    let doing = vec![
        Step::Define(Box::new(description(&wanted))),
        Step::Start {
            object: wanted.object.clone(),
            boots: 1,
        },
    ];
    let facts = machine(session, &wanted, 1, doing.clone(), &[]).await;
    assert!(Machines::met(&wanted, &facts).is_some(), "{facts:?}");
    console_says(folder, &wanted.object, &format!("TINY {word} boots=1")).await;
    Guest { wanted, net, doing }
}

#[tokio::test]
async fn a_machine_boots_from_its_volume_on_its_network_and_outlives_the_agent() {
    if !Abilities::here().machines() || !Abilities::here().networks() {
        return;
    }
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address).with_machines();
    let _end = Libvirtd(&folder);
    let (agent, mut session) = start(&manager, &folder).await;
    let compute = session.hello.compute.clone().expect("it runs machines");
    assert_eq!((compute.hypervisor, compute.memory_bytes), (Hypervisor::Qemu, 1 << 30));
    assert_eq!(compute.cpus_claimable(), u64::from(compute.cpus) * 2);

    let Guest { mut wanted, net, doing } = boot(&mut session, &folder, "through the agent").await;
    // The link that the host named hangs on the network's bridge.
    let upper = format!("/sys/class/net/{}/master", wanted.ports[0].link);
    let bridge = std::fs::read_link(upper).unwrap();
    assert!(bridge.ends_with(&wanted.ports[0].bridge), "{bridge:?}");
    let of = format!("machine/{}", wanted.object);
    // Again: it is done already.
    let again = machine(&mut session, &wanted, 1, doing, &[]).await;
    assert_eq!(domain(&again).unwrap().boots, 1);

    // A power cut of the agent is none of its machines.
    agent.kill();
    let (agent, mut session) = start(&manager, &folder).await;
    let facts = machine(&mut session, &wanted, 1, Vec::new(), &[]).await;
    assert_eq!(domain(&facts).unwrap().state, RunState::Running);

    // An ordered boot, through the power button: the count on its disk shows that it was the same disk.
    wanted.boots = 2;
    let reboot = vec![Step::Reboot {
        object: wanted.object.clone(),
        boots: 2,
        timeout_ms: 20_000,
    }];
    let facts = machine(&mut session, &wanted, 2, reboot, &facts).await;
    assert!(Machines::met(&wanted, &facts).is_some(), "{facts:?}");
    console_says(&folder, &wanted.object, "boots=2").await;
    let kept = log_of(&session.hello, &wanted.object).await;
    assert!(kept.contains("boots=1") && kept.contains("boots=2"), "{kept}");

    is_gone_when_asked(&mut session, &folder, wanted, &net, &facts).await;
    assert!(
        !session.noticed.is_empty() && session.noticed.iter().all(|object| *object == of),
        "{:?}",
        session.noticed
    );
    agent.end();
}

/// Ends the machine and its network: nothing is left.
async fn is_gone_when_asked(
    session: &mut Session,
    folder: &Folder,
    mut wanted: Intent,
    net: &network::Intent,
    facts: &[Fact],
) {
    wanted.goal = Goal::Absent;
    let object = || wanted.object.clone();
    let ends = vec![Step::Destroy { object: object() }, Step::Undefine { object: object() }];
    let facts = machine(session, &wanted, 3, ends, facts).await;
    assert_eq!(Machines::met(&wanted, &facts), Some(None), "{facts:?}");
    let gone = network::Intent {
        goal: Goal::Absent,
        ..net.clone()
    };
    let object = gone.object.clone();
    network(session, &gone, 2, vec![network::Step::Remove { object }]).await;
    for link in [&net.bridge, &wanted.ports[0].link] {
        let path = std::path::Path::new("/sys/class/net").join(link);
        assert!(!path.exists(), "{link} is left");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("machines")).unwrap().count(), 0);
}
