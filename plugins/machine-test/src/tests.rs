//! The driver against a simulated node: from every state that a kill or an accident can leave.

use symphony_sdk::MachineDriver;
use symphony_sdk::driver::machine::{
    CpuMode, Disk, DiskSource, DomainFact, Exit, Fact, FirstBoot, Hypervisor, Intent, NodeFact, Port, Power, RunState,
    Step,
};
use symphony_sdk::driver::{Goal, Refusal};

use crate::Test;
use crate::simulated::Node;

fn disk(volume: &str) -> Disk {
    Disk {
        volume: volume.to_owned(),
        source: DiskSource::Local("default".to_owned()),
        boot: volume == "root",
    }
}

/// With everything that the simulated hypervisor does not have.
fn on() -> Intent {
    let port = Port {
        id: "p1".to_owned(),
        link: "syt1".to_owned(),
        bridge: "syb1".to_owned(),
        mac: "52:54:00:00:00:01".to_owned(),
        address: "10.0.0.5".to_owned(),
        prefix: 24,
        gateway: "10.0.0.1".to_owned(),
        rate_bits: 0,
    };
    let first_boot = FirstBoot {
        hostname: "web".to_owned(),
        instance: "m1".to_owned(),
        user_data: String::new(),
        ssh_keys: Vec::new(),
    };
    Intent {
        object: "m1".to_owned(),
        name: "web".to_owned(),
        goal: Goal::Present,
        power: Power::On,
        boots: 1,
        cpus: 2,
        memory_bytes: 512 << 20,
        cpu_mode: CpuMode::Automatic,
        hugepages: true,
        disks: vec![disk("root")],
        ports: vec![port],
        first_boot: Some(first_boot),
        shutdown_ms: 60_000,
    }
}

fn off() -> Intent {
    Intent {
        power: Power::Off,
        ..on()
    }
}

fn rebooted() -> Intent {
    Intent { boots: 2, ..on() }
}

fn grown() -> Intent {
    Intent {
        disks: vec![disk("root"), disk("data")],
        boots: 3,
        ..on()
    }
}

fn gone() -> Intent {
    Intent {
        goal: Goal::Absent,
        ..on()
    }
}

fn plan(intent: &Intent, node: &Node) -> Result<Vec<Step>, Refusal> {
    Test.plan(intent, &node.facts(&Test.probes(intent)))
}

/// Runs plans until there is none left; nothing when the driver waits for somebody.
fn settled(intent: &Intent, mut node: Node) -> Option<Node> {
    for _ in 0..3 {
        let steps = match plan(intent, &node) {
            Ok(steps) => steps,
            Err(Refusal::Unavailable(_)) => return None,
            Err(other) => panic!("{other:?}"),
        };
        if steps.is_empty() {
            check_goal(intent, &node);
            return Some(node);
        }
        for step in &steps {
            node.run(step, false)
                .unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
    }
    panic!("the plan never ends: {node:?}");
}

fn check_goal(intent: &Intent, node: &Node) {
    if intent.goal == Goal::Absent {
        assert_eq!(*node, Node::empty());
        return;
    }
    let known = node.known.as_ref().expect("it is there");
    assert_eq!(known.description.disks.len(), intent.disks.len());
    match intent.power {
        Power::Off => assert!(matches!(known.state, RunState::Off(_))),
        Power::On => {
            assert_eq!(
                (known.state, known.live_volumes.len()),
                (RunState::Running, intent.disks.len())
            );
            assert!(known.boots >= intent.boots);
        }
    }
}

#[test]
fn every_state_leads_to_the_goal_or_waits_for_a_boot() {
    let intents = [on(), off(), rebooted(), grown(), gone()];
    let mut states = vec![Node::empty()];
    let mut next = 0;
    while next < states.len() {
        let state = states[next].clone();
        next += 1;
        let accidents = [
            RunState::Off(Exit::Guest),
            RunState::Off(Exit::Crashed),
            RunState::Paused,
        ];
        let mut reached: Vec<Node> = accidents
            .into_iter()
            .filter_map(|accident| state.with_state(accident))
            .collect();
        for intent in &intents {
            let Some(end) = settled(intent, state.clone()) else {
                let known = state.known.as_ref().expect("only a running machine's disks wait");
                assert!(known.live_volumes.len() != intent.disks.len() && known.boots >= intent.boots);
                continue;
            };
            assert_eq!(plan(intent, &end), Ok(Vec::new()));
            let mut node = state.clone();
            for step in &plan(intent, &state).unwrap() {
                let mut cut = node.clone();
                cut.run(step, true).unwrap();
                node.run(step, false).unwrap();
                let mut twice = node.clone();
                twice.run(step, false).unwrap();
                assert_eq!(twice, node, "{step:?} is not safe to repeat");
                reached.extend([cut, node.clone()]);
            }
        }
        for node in reached {
            if !states.contains(&node) {
                states.push(node);
            }
        }
    }
    assert!(states.len() > 20, "only {} states were reached", states.len());
}

#[test]
fn a_disk_waits_for_a_boot() {
    let running = settled(&on(), Node::empty()).unwrap();
    let with_disk = Intent { boots: 1, ..grown() };
    assert!(matches!(plan(&with_disk, &running), Err(Refusal::Unavailable(_))));
    let node = settled(&grown(), running).unwrap();
    assert_eq!(node.known.unwrap().live_volumes, ["root", "data"]);
}

#[test]
fn only_what_the_simulated_hypervisor_has_is_described() {
    let Step::Define(description) = &plan(&on(), &Node::empty()).unwrap()[0] else {
        panic!("it is made known first");
    };
    assert!(!description.seed && !description.console && !description.screen && !description.hugepages);
    assert_eq!((description.hypervisor, description.ports.len()), (Hypervisor::Test, 0));
}

#[test]
fn real_nodes_and_missing_facts_are_waited_for() {
    let domain = |object: &str| {
        Fact::Domain(DomainFact {
            object: object.to_owned(),
            found: None,
            remains: false,
        })
    };
    let kvm = Fact::Node(NodeFact {
        hypervisor: Hypervisor::Kvm,
        hugepages: false,
    });
    for facts in [vec![], vec![domain("m2")], vec![domain("m1")], vec![domain("m1"), kvm]] {
        let answer = Test.plan(&on(), &facts);
        assert!(matches!(answer, Err(Refusal::Unavailable(_))), "{facts:?}: {answer:?}");
    }
    let none = Intent { cpus: 0, ..on() };
    assert!(matches!(plan(&none, &Node::empty()), Err(Refusal::Invalid(_))));
}
