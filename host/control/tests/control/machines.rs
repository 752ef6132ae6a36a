//! Machines with their volumes and networks, from the record to a simulated node and back to nothing.

use std::sync::Arc;
use std::time::Duration;

use symphony_control::clock;
use symphony_core::id::{MachineId, NetworkId, PortId, VolumeId};
use symphony_core::keys;
use symphony_core::labels::Labels;
use symphony_core::machine::{
    Attachment, FirstBoot, Machine, MachinePhase, MachineSize, MachineSpec, MachineStatus, Port, RestartPolicy, Wishes,
};
use symphony_core::meta::Meta;
use symphony_core::network::{Mac, Network, NetworkSpec, NetworkStatus, Subnet};
use symphony_core::place::Ledger;
use symphony_core::plan::machine::{CpuMode, Exit, Power, RunState};
use symphony_core::volume::{Holder, Volume, VolumeSpec, VolumeStatus};
use symphony_protocol::{Notice, ToManager};
use symphony_store::{Range, StoreExt as _};

use super::harness::{Loops, SimulatedAgent, name};

pub(super) const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn meta<Id>(id: Id, of: &str) -> Meta<Id> {
    Meta::new(id, name("default"), name(of), Labels::default(), clock::now())
}

/// A machine of one processor with a root volume and a port, as the server writes it.
pub(super) struct Asked {
    pub(super) machine: Machine,
    pub(super) volume: Volume,
}

pub(super) fn asked(of: &str, network: Option<&Network>) -> Asked {
    let id = MachineId::new(clock::new_uuid());
    let volume_id = VolumeId::new(clock::new_uuid());
    let root = format!("{of}-root");
    let port = |network: &Network| Port {
        id: PortId::new(clock::new_uuid()),
        network: network.meta.id,
        network_name: network.meta.name.clone(),
        mac: Mac::ours([1, 2, 3]),
        address: "10.1.0.2".parse().unwrap(),
        allow: Vec::new(),
        rate_bits: None,
    };
    let machine = Machine {
        meta: meta(id, of),
        spec: MachineSpec {
            size: MachineSize::new(1, 256 * MIB).unwrap(),
            cpu_mode: CpuMode::Automatic,
            hugepages: false,
            power: Power::On,
            boots: 1,
            restart: RestartPolicy::Always,
            volumes: vec![Attachment {
                id: volume_id,
                name: name(&root),
                delete_with_machine: true,
            }],
            ports: network.map(port).into_iter().collect(),
            first_boot: FirstBoot::default(),
            wishes: Wishes::default(),
        },
        placement: None,
        status: MachineStatus::pending(),
    };
    let volume = Volume {
        meta: meta(volume_id, &root),
        spec: VolumeSpec {
            size: GIB.try_into().unwrap(),
            pool: None,
            require: Labels::default(),
            source: None,
        },
        placement: None,
        machine: Some(Holder { id, name: name(of) }),
        status: VolumeStatus::pending(),
    };
    Asked { machine, volume }
}

pub(super) fn network() -> Network {
    Network {
        meta: meta(NetworkId::new(clock::new_uuid()), "net1"),
        spec: NetworkSpec {
            subnet: Subnet::of_network("10.1.0.0/24").unwrap(),
            nat: false,
            mtu: None,
        },
        status: NetworkStatus {
            vni: None,
            observed_generation: symphony_core::counter::Generation(0),
            conditions: symphony_core::condition::Conditions::default(),
        },
    }
}

pub(super) fn key(of: &str) -> String {
    keys::machine(&name("default"), &name(of))
}

impl Loops {
    pub(super) async fn ask(&self, asked: &Asked) {
        self.put(&asked.volume).await;
        for port in &asked.machine.spec.ports {
            let key = keys::address(port.network, port.address);
            self.store.put(key, port.id.to_string()).await.unwrap();
        }
        self.write(key(asked.machine.meta.name.as_str()), &asked.machine).await;
    }

    pub(super) async fn machine(&self, of: &str) -> Option<Machine> {
        self.read(key(of)).await
    }

    pub(super) async fn machine_until(&self, of: &str, what: &str, holds: impl Fn(&Machine) -> bool) -> Machine {
        for _ in 0..3_000 {
            match self.machine(of).await {
                Some(machine) if holds(&machine) => return machine,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("{of} never came to be {what}: {:#?}", self.machine(of).await);
    }

    pub(super) async fn running(&self, of: &str) -> Machine {
        self.machine_until(of, "running", |machine| {
            machine.status.phase == MachinePhase::Running && machine.is_settled()
        })
        .await
    }

    async fn count(&self, prefix: &str) -> usize {
        let range = Range::prefix(prefix.to_owned());
        self.store.range(range).await.unwrap().kvs.len()
    }

    pub(super) async fn until_gone(&self, prefix: &str) {
        for _ in 0..3_000 {
            if self.count(prefix).await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something is left under {prefix}");
    }

    pub(super) async fn delete(&self, of: &str) {
        self.change::<Machine>(key(of), |machine| {
            machine.meta.deleting_since = Some(clock::now());
            machine.meta.generation = machine.meta.generation.next();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_with_all_its_parts_and_leaves_nothing() {
    let loops = Loops::start().await;
    let agent = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    let network = network();
    loops
        .write(keys::network(&name("default"), &name("net1")), &network)
        .await;
    loops.ask(&asked("web1", Some(&network))).await;
    let machine = loops.running("web1").await;
    assert_eq!(machine.placement.as_ref().unwrap().node, name("a"));
    let ledger: Ledger = loops.read(keys::ledger(&name("a"))).await.unwrap();
    assert_eq!(
        (ledger.machines().cpus, ledger.claimed_bytes(&name("default"))),
        (1, GIB)
    );
    {
        let node = agent.node();
        let domain = &node.domains[&machine.meta.id.to_string()];
        assert_eq!((domain.state, domain.boots), (RunState::Running, 1));
        assert_eq!((domain.live_volumes.len(), domain.live_ports.len()), (1, 1));
        assert_eq!(node.networks.len(), 1);
    }
    let steps = loops.store.range(Range::prefix(keys::EVENTS)).await.unwrap();
    let story: Vec<String> = steps
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
        .collect();
    for word in [
        "start on node a took 1 ms",
        "make-bridge on node a",
        "publish on node a",
        "runs on node a",
    ] {
        assert!(story.iter().any(|event| event.contains(word)), "{word}: {story:#?}");
    }

    loops.delete("web1").await;
    for prefix in [
        keys::MACHINES,
        keys::VOLUMES,
        keys::SEGMENTS,
        "v1/address/",
        "v1/machine-decision/",
    ] {
        loops.until_gone(prefix).await;
    }
    let ledger: Ledger = loops.read(keys::ledger(&name("a"))).await.unwrap();
    assert_eq!(ledger, Ledger::default());
    {
        let node = agent.node();
        assert!(node.domains.is_empty() && node.networks.is_empty() && node.volumes.is_empty());
    }
    loops
        .change::<Network>(keys::network(&name("default"), &name("net1")), |network| {
            network.meta.deleting_since = Some(clock::now());
        })
        .await;
    loops.until_gone(keys::NETWORKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_is_started_again_and_one_that_is_stopped_is_not() {
    let loops = Loops::start().await;
    let agent = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    loops.ask(&asked("web1", None)).await;
    let machine = loops.running("web1").await;
    let object = machine.meta.id.to_string();
    agent.node().domains.get_mut(&object).unwrap().state = RunState::Off(Exit::Crashed);
    agent.inbox.receive(ToManager::Noticed(Notice {
        object: format!("machine/{object}"),
    }));
    loops
        .machine_until("web1", "dead", |machine| machine.status.phase == MachinePhase::BackOff)
        .await;
    let again = loops.running("web1").await;
    assert_eq!((again.status.history.restarts, agent.node().starts), (1, 2));

    loops
        .change::<Machine>(key("web1"), |machine| {
            machine.spec.power = Power::Off;
            machine.meta.generation = machine.meta.generation.next();
        })
        .await;
    loops
        .machine_until("web1", "off", |machine| {
            machine.status.phase == MachinePhase::Stopped && machine.is_settled()
        })
        .await;
    assert_eq!(agent.node().starts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reboot_of_a_node_brings_its_machines_and_networks_back() {
    let loops = Loops::start().await;
    let agent = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    let network = network();
    loops
        .write(keys::network(&name("default"), &name("net1")), &network)
        .await;
    loops.ask(&asked("web1", Some(&network))).await;
    loops.running("web1").await;
    let node = Arc::clone(&agent.node);
    agent.ended.abort();
    node.lock().unwrap().reboot();
    let agent = SimulatedAgent::connect_to(&loops.control, "a", 10 * GIB, node).await;
    for _ in 0..3_000 {
        if agent.node().starts == 2 && agent.node().networks.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let machine = loops.running("web1").await;
    assert_eq!((agent.node().starts, machine.status.history.restarts), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_from_a_machine_because_its_agent_or_a_neighbour_came() {
    let loops = Loops::start().await;
    let agent = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    let network = network();
    loops
        .write(keys::network(&name("default"), &name("net1")), &network)
        .await;
    loops.ask(&asked("web1", Some(&network))).await;
    loops.running("web1").await;
    for round in 0..3 {
        let node = Arc::clone(&agent.node);
        let again = SimulatedAgent::connect_to(&loops.control, "a", 10 * GIB, node).await;
        let mut neighbour = asked(&format!("web{}", round + 2), Some(&network));
        neighbour.machine.spec.ports[0].address = format!("10.1.0.{}", round + 10).parse().unwrap();
        neighbour.machine.spec.size = MachineSize::new(1, 16 * MIB).unwrap();
        neighbour.machine.spec.power = Power::Off;
        neighbour.machine.spec.boots = 0;
        loops.ask(&neighbour).await;
        let name = format!("web{}", round + 2);
        loops
            .machine_until(&name, "made and off", |machine| {
                machine.status.phase == MachinePhase::Stopped && machine.is_settled()
            })
            .await;
        drop(again);
        loops.running("web1").await;
    }
    let node = agent.node();
    assert_eq!((node.starts, node.unplugged), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_a_disk_is_off_and_lets_its_disk_go() {
    let loops = Loops::start().await;
    let _agent = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    let web = asked("web1", None);
    loops.ask(&web).await;
    loops.running("web1").await;
    loops
        .change::<Machine>(key("web1"), |machine| {
            machine.spec.power = Power::Off;
            machine.meta.generation = machine.meta.generation.next();
            let root = machine.spec.volumes.pop().unwrap();
            machine.status.leaving.volumes.push(root);
        })
        .await;
    loops
        .until("web1-root", "free", |volume| volume.machine.is_none())
        .await;
    loops
        .machine_until("web1", "off", |machine| {
            machine.status.phase == MachinePhase::Stopped && machine.is_settled()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_apart_and_near_as_they_wish_whoever_said_so() {
    let loops = Loops::start().await;
    let _a = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    let _b = SimulatedAgent::connect(&loops.control, "b", 10 * GIB).await;
    let (mut first, second, mut third, mut fourth) = (
        asked("m1", None),
        asked("m2", None),
        asked("m3", None),
        asked("m4", None),
    );
    // The first says so, and the second is placed after it; the third has nowhere to go; the fourth goes where the second is.
    first.machine.spec.wishes.apart_from = vec![name("m2")];
    third.machine.spec.wishes.apart_from = vec![name("m1"), name("m2")];
    fourth.machine.spec.wishes.near = vec![name("m2")];
    for machine in [&first, &second, &third, &fourth] {
        loops.ask(machine).await;
    }
    let node = |machine: Machine| machine.placement.unwrap().node;
    let (m1, m2, m4) = (
        node(loops.running("m1").await),
        node(loops.running("m2").await),
        node(loops.running("m4").await),
    );
    assert_ne!(m1, m2);
    assert_eq!(m4, m2);
    let nowhere = |machine: &Machine| machine.status.phase == MachinePhase::Unplaceable;
    let third = loops.machine_until("m3", "without a place", nowhere).await;
    let why = &third.status.conditions.of("placed").unwrap().message;
    assert!(why.contains("2 by not-apart"), "{why}");
    loops.delete("m1").await;
    assert_eq!(
        node(loops.running("m3").await),
        m1,
        "there is room for it once the other is gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_on_processors_and_memory_hold_however_large_the_records_are() {
    let loops = Loops::start().await;
    let _agent = SimulatedAgent::connect(&loops.control, "a", 100 * GIB).await;
    // More than one transaction may have, together.
    for number in 1..=30 {
        let mut machine = asked(&format!("m{number}"), None);
        machine.machine.spec.first_boot.user_data = "x".repeat(60 << 10);
        loops.ask(&machine).await;
    }
    // Two processors at 200 % are four, and 1 GiB is four times 256 MiB.
    for number in 1..=4 {
        let machine = loops.running(&format!("m{number}")).await;
        let by = machine.placement.unwrap().decided_by;
        assert!(by.digest.is_some(), "the active policy sees processors: {by:?}");
    }
    let nowhere = |machine: &Machine| machine.status.phase == MachinePhase::Unplaceable;
    for number in 5..=30 {
        loops
            .machine_until(&format!("m{number}"), "without a place", nowhere)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_let_go_when_the_node_has_let_go_of_it_and_a_resize_claims() {
    let loops = Loops::start().await;
    let agent = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    let mut web = asked("web1", None);
    let data = asked("data", None).volume;
    let second = Attachment {
        id: data.meta.id,
        name: data.meta.name.clone(),
        delete_with_machine: false,
    };
    let mut data = data;
    data.machine = Some(Holder {
        id: web.machine.meta.id,
        name: name("web1"),
    });
    web.machine.spec.volumes.push(second.clone());
    loops.put(&data).await;
    loops.ask(&web).await;
    let machine = loops.running("web1").await;
    let object = machine.meta.id.to_string();
    assert_eq!(agent.node().domains[&object].live_volumes.len(), 2);
    loops
        .change::<Machine>(key("web1"), |machine| {
            machine.spec.volumes.pop();
            machine.status.leaving.volumes.push(second.clone());
            machine.meta.generation = machine.meta.generation.next();
        })
        .await;
    let free = |volume: &Volume| volume.machine.is_none();
    loops.until("data-root", "free", free).await;
    assert_eq!(agent.node().domains[&object].live_volumes.len(), 1);
    loops.running("web1").await;

    loops
        .change::<Machine>(key("web1"), |machine| {
            machine.spec.power = Power::Off;
            machine.spec.size = MachineSize::new(3, 512 * MIB).unwrap();
            machine.meta.generation = machine.meta.generation.next();
        })
        .await;
    loops
        .machine_until("web1", "off with its new size", |machine| {
            let claimed = machine.placement.as_ref().unwrap().claimed;
            machine.status.phase == MachinePhase::Stopped && claimed == machine.spec.size && machine.is_settled()
        })
        .await;
    let ledger: Ledger = loops.read(keys::ledger(&name("a"))).await.unwrap();
    assert_eq!((ledger.machines().cpus, ledger.machines().memory_bytes), (3, 512 * MIB));
}
