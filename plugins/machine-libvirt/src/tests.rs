//! The driver against a simulated node: from every state that a kill or an accident can leave.

use symphony_sdk::MachineDriver;
use symphony_sdk::driver::machine::{
    CpuMode, Disk, DiskSource, DomainFact, Fact, FirstBoot, Hypervisor, Intent, NodeFact, Port, Power, RemoteVolume,
    RunState, Step,
};
use symphony_sdk::driver::{Goal, Refusal};

use crate::Libvirt;
use crate::simulated::Node;

const MIB: u64 = 1 << 20;

fn disk(volume: &str) -> Disk {
    Disk {
        volume: volume.to_owned(),
        source: DiskSource::Local("default".to_owned()),
        boot: volume == "root",
    }
}

fn port(id: &str) -> Port {
    Port {
        id: id.to_owned(),
        link: format!("syt-{id}"),
        bridge: "syb-1".to_owned(),
        mac: format!("52:54:00:00:00:{id}"),
        address: "10.0.0.5".to_owned(),
        prefix: 24,
        gateway: "10.0.0.1".to_owned(),
        rate_bits: 0,
    }
}

fn on() -> Intent {
    Intent {
        object: "m1".to_owned(),
        name: "web".to_owned(),
        goal: Goal::Present,
        power: Power::On,
        boots: 1,
        cpus: 2,
        memory_bytes: 512 * MIB,
        cpu_mode: CpuMode::Automatic,
        hugepages: false,
        disks: vec![disk("root")],
        ports: vec![port("01")],
        first_boot: Some(FirstBoot {
            hostname: "web".to_owned(),
            instance: "m1".to_owned(),
            user_data: String::new(),
            ssh_keys: Vec::new(),
        }),
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
        ports: vec![port("02")],
        cpus: 4,
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
    Libvirt.plan(intent, &node.facts(&Libvirt.probes(intent)))
}

fn names(steps: &[Step]) -> Vec<&'static str> {
    let name = |step: &Step| match step {
        Step::Define(_) => "define",
        Step::WriteSeed(_) => "write-seed",
        Step::Start(_) => "start",
        Step::Shutdown(_) => "shutdown",
        Step::Destroy(_) => "destroy",
        Step::Reboot(_) => "reboot",
        Step::Resume(_) => "resume",
        Step::AttachDisk(_) => "attach-disk",
        Step::DetachDisk(_) => "detach-disk",
        Step::AttachPort(_) => "attach-port",
        Step::DetachPort(_) => "detach-port",
        Step::Undefine(_) => "undefine",
    };
    steps.iter().map(name).collect()
}

/// The node after all plans for these intents, one after the other.
fn after(intents: &[Intent]) -> Node {
    intents
        .iter()
        .fold(Node::empty(), |node, intent| settled(intent, node).0)
}

/// Runs plans until there is none left; gives the node and how many plans it took.
fn settled(intent: &Intent, mut node: Node) -> (Node, usize) {
    for rounds in 0..4 {
        let steps = plan(intent, &node).unwrap();
        if steps.is_empty() {
            check_goal(intent, &node);
            return (node, rounds);
        }
        for step in &steps {
            check_allowed(intent, &node, step);
            node.run(step, false)
                .unwrap_or_else(|error| panic!("{}: {error}", names(&steps).join(", ")));
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
    let volumes = |disks: &[Disk]| disks.iter().map(|disk| disk.volume.clone()).collect::<Vec<_>>();
    let described: Vec<Disk> = known
        .description
        .disks
        .iter()
        .map(|device| device.disk.clone())
        .collect();
    assert_eq!((known.description.cpus, described), (intent.cpus, intent.disks.clone()));
    match intent.power {
        Power::Off => assert!(matches!(known.state, RunState::Off(_))),
        Power::On => {
            assert_eq!(known.state, RunState::Running);
            assert!(known.boots >= intent.boots);
            let (mut live, mut wanted) = (known.live_volumes.clone(), volumes(&intent.disks));
            live.sort();
            wanted.sort();
            assert_eq!(live, wanted);
            assert_eq!(known.live_ports.len(), intent.ports.len());
        }
    }
}

/// The host's own rules: what runs and should run is not put off, and nothing is made of what should go.
fn check_allowed(intent: &Intent, node: &Node, step: &Step) {
    let boots = node.known.as_ref().map_or(0, |known| known.boots);
    let wants_on = intent.goal == Goal::Present && intent.power == Power::On;
    match step {
        Step::Shutdown(_) | Step::Destroy(_) => assert!(!wants_on || boots < intent.boots, "{node:?}"),
        Step::Reboot(_) => assert!(wants_on && boots < intent.boots, "{node:?}"),
        Step::Start(_) | Step::Resume(_) => assert!(wants_on),
        Step::Undefine(_) => assert_eq!(intent.goal, Goal::Absent),
        _ => assert_eq!(intent.goal, Goal::Present),
    }
}

/// A volume of another node is described as it was given, and comes and goes like any other.
#[test]
fn a_volume_of_another_node_is_a_disk() {
    let mut intent = on();
    let mut far = disk("far");
    far.source = DiskSource::Remote(RemoteVolume {
        export: "far.3".to_owned(),
        node: "n2".to_owned(),
    });
    intent.disks.push(far.clone());
    let steps = Libvirt
        .plan(&intent, &Node::empty().facts(&Libvirt.probes(&intent)))
        .unwrap();
    let described = steps.iter().find_map(|step| match step {
        Step::Define(description) => Some(&description.disks),
        _ => None,
    });
    assert_eq!(described.unwrap()[1].disk, far);
}

#[test]
fn plans_in_words() {
    let bare = Intent {
        first_boot: None,
        ports: Vec::new(),
        ..on()
    };
    let mut paused = after(&[on()]);
    paused.known.as_mut().unwrap().state = RunState::Paused;
    let remains = Node {
        known: None,
        folder: Some(String::new()),
    };
    let cases = [
        (on(), Node::empty(), vec!["define", "write-seed", "start"]),
        (off(), Node::empty(), vec!["define", "write-seed"]),
        (bare, Node::empty(), vec!["define", "start"]),
        (on(), after(&[off()]), vec!["start"]),
        (on(), after(&[on()]), vec![]),
        (off(), after(&[on()]), vec!["shutdown"]),
        (rebooted(), after(&[on()]), vec!["reboot"]),
        (rebooted(), after(&[on(), off()]), vec!["start"]),
        (on(), paused.clone(), vec!["resume"]),
        (rebooted(), paused.clone(), vec!["destroy", "start"]),
        (off(), paused.clone(), vec!["destroy"]),
        (
            grown(),
            after(&[on()]),
            vec!["define", "write-seed", "detach-port", "attach-disk", "attach-port"],
        ),
        (
            on(),
            after(&[grown()]),
            vec!["define", "write-seed", "detach-port", "detach-disk", "attach-port"],
        ),
        (gone(), after(&[on()]), vec!["destroy", "undefine"]),
        (gone(), paused, vec!["destroy", "undefine"]),
        (gone(), after(&[off()]), vec!["undefine"]),
        (gone(), remains, vec!["undefine"]),
        (gone(), Node::empty(), vec![]),
    ];
    for (intent, node, wanted) in cases {
        let steps = plan(&intent, &node).unwrap();
        assert_eq!(names(&steps), wanted, "{node:?}");
    }
}

/// Every state that a kill between or in the middle of steps or an accident can leave, of every intent: from each of
/// them the plan ends in what is wanted, every step may be done twice, and one plan is enough.
#[test]
fn every_state_leads_to_the_goal() {
    let bare = Intent {
        first_boot: None,
        ..on()
    };
    let intents = [on(), off(), rebooted(), grown(), bare, gone()];
    let mut states = vec![Node::empty()];
    let mut next = 0;
    while next < states.len() {
        let state = states[next].clone();
        next += 1;
        let mut reached = state.accidents();
        for intent in &intents {
            let (_, rounds) = settled(intent, state.clone());
            assert!(rounds <= 1, "from {state:?} a second plan was needed");
            let mut node = state.clone();
            for step in &plan(intent, &state).unwrap() {
                let mut cut = node.clone();
                cut.run(step, true).unwrap();
                node.run(step, false).unwrap();
                let mut twice = node.clone();
                twice.run(step, false).unwrap();
                assert_eq!(
                    twice,
                    node,
                    "{} is not safe to repeat",
                    names(std::slice::from_ref(step))[0]
                );
                reached.extend([cut, node.clone()]);
            }
        }
        for node in reached {
            if !states.contains(&node) {
                states.push(node);
            }
        }
    }
    let paused = states
        .iter()
        .any(|node| node.known.as_ref().is_some_and(|known| known.state == RunState::Paused));
    assert!(paused && states.len() > 50, "only {} states were reached", states.len());
}

#[test]
fn the_hypervisor_is_told_what_was_asked_for() {
    let facts = |hypervisor| {
        vec![
            Fact::Domain(DomainFact {
                object: "m1".to_owned(),
                found: None,
                remains: false,
            }),
            Fact::Node(NodeFact {
                hypervisor,
                hugepages: false,
            }),
        ]
    };
    let described = |intent: &Intent| match &Libvirt.plan(intent, &facts(Hypervisor::Kvm)).unwrap()[0] {
        Step::Define(description) => description.clone(),
        other => panic!("{other:?}"),
    };
    let description = described(&on());
    assert_eq!(
        (description.cpu_mode, description.hypervisor),
        (CpuMode::Host, Hypervisor::Kvm)
    );
    assert!(description.console && description.screen && description.seed);
    let portable = Intent {
        cpu_mode: CpuMode::Portable,
        ..on()
    };
    assert_eq!(described(&portable).cpu_mode, CpuMode::Portable);
    let answer = Libvirt.plan(&on(), &facts(Hypervisor::Test));
    assert!(matches!(answer, Err(Refusal::Unavailable(_))), "{answer:?}");
}

#[test]
fn what_can_never_be_met_is_refused() {
    let second_boots = Intent {
        disks: vec![disk("data"), disk("root")],
        ..on()
    };
    let no_disk = Intent {
        disks: Vec::new(),
        ..on()
    };
    let no_cpu = Intent { cpus: 0, ..on() };
    let odd = Intent {
        memory_bytes: MIB + 1,
        ..on()
    };
    let many = Intent {
        ports: vec![port("p"); 9],
        ..on()
    };
    let disks = std::iter::once(disk("root")).chain((0..16).map(|n| disk(&format!("d{n}"))));
    let crowded = Intent {
        disks: disks.collect(),
        ..on()
    };
    for intent in [second_boots, no_disk, no_cpu, odd, many, crowded] {
        let answer = plan(&intent, &Node::empty());
        assert!(matches!(answer, Err(Refusal::Invalid(_))), "{intent:?}: {answer:?}");
    }
}

#[test]
fn huge_pages_are_waited_for_by_a_start_only() {
    let huge = Intent {
        hugepages: true,
        ..on()
    };
    assert!(matches!(plan(&huge, &Node::empty()), Err(Refusal::Unavailable(_))));
    assert_eq!(
        names(&plan(&huge, &after(&[on()])).unwrap()),
        ["define"],
        "what runs, runs"
    );
}

#[test]
fn a_missing_fact_is_unknown_not_absent() {
    let domain = |object: &str| {
        Fact::Domain(DomainFact {
            object: object.to_owned(),
            found: None,
            remains: false,
        })
    };
    for facts in [vec![], vec![domain("m2")], vec![domain("m1")]] {
        let answer = Libvirt.plan(&on(), &facts);
        assert!(matches!(answer, Err(Refusal::Unavailable(_))), "{facts:?}: {answer:?}");
    }
    assert!(matches!(
        Libvirt.plan(&gone(), &[domain("m2")]),
        Err(Refusal::Unavailable(_))
    ));
}
