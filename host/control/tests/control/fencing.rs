//! Nodes that are out, that come back, and that are emptied.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use symphony_control::clock;
use symphony_control::fence::FenceError;
use symphony_core::condition::Truth;
use symphony_core::counter::{Admission, Tenure};
use symphony_core::keys;
use symphony_core::machine::{Machine, MachinePhase};
use symphony_core::node::{Node as Record, NodePhase};
use symphony_core::place::Ledger;
use symphony_core::plan::machine::{Power, RunState};
use symphony_core::volume::VolumePhase;

use super::harness::{Loops, Node, SimulatedAgent, hello, name};
use super::machines::{asked, key};

const GIB: u64 = 1 << 30;

/// A node whose agent knows of admissions.
pub(super) fn new_node() -> Arc<Mutex<Node>> {
    let node = Node {
        admission: Some(Admission(0)),
        ..Node::default()
    };
    Arc::new(Mutex::new(node))
}

/// A machine without volumes: it can be anywhere, and is off, as it has nothing to boot from.
pub(super) fn movable(of: &str) -> Machine {
    let mut machine = asked(of, None).machine;
    machine.spec.volumes.clear();
    machine.spec.power = Power::Off;
    machine
}

impl Loops {
    pub(super) async fn node(&self, of: &str) -> Record {
        self.read(keys::node(&name(of))).await.unwrap()
    }

    pub(super) async fn node_until(&self, of: &str, phase: NodePhase) -> Record {
        for _ in 0..3_000 {
            let node = self.node(of).await;
            if node.phase() == phase {
                return node;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{of} never came to be {phase:?}: {:?}", self.node(of).await);
    }

    pub(super) async fn joins(&self, of: &str, node: &Arc<Mutex<Node>>) -> SimulatedAgent {
        let agent = SimulatedAgent::connect_to(&self.control, of, 10 * GIB, Arc::clone(node)).await;
        self.node_until(of, NodePhase::Ready).await;
        agent
    }

    async fn claimed(&self, of: &str) -> u64 {
        let ledger: Option<Ledger> = self.read(keys::ledger(&name(of))).await;
        ledger.map_or(0, |ledger| ledger.machines().claims)
    }

    async fn runs_on(&self, of: &str, node: &str) -> Machine {
        let is_there = |machine: &Machine| {
            let place = machine.placement.as_ref().map(|place| place.node.as_str());
            place == Some(node) && machine.status.phase == MachinePhase::Running && machine.is_settled()
        };
        self.machine_until(of, &format!("running on {node}"), is_there).await
    }

    /// Defined there, and off.
    pub(super) async fn is_on(&self, of: &str, node: &str) -> Machine {
        let is_there = |machine: &Machine| {
            let place = machine.placement.as_ref().map(|place| place.node.as_str());
            place == Some(node) && machine.status.phase == MachinePhase::Stopped && machine.is_settled()
        };
        self.machine_until(of, &format!("on {node}"), is_there).await
    }

    pub(super) async fn change_node(&self, of: &str, change: impl Fn(&mut Record)) {
        self.change(keys::node(&name(of)), change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_nodes_machine_goes_elsewhere_and_the_node_ends_it_when_it_returns() {
    let loops = Loops::start().await;
    let one = new_node();
    let first = loops.joins("n1", &one).await;
    let joined = loops.node("n1").await;
    assert_eq!(joined.status.admission, Admission(1));
    assert!(!one.lock().unwrap().readmits[0].confirmed);

    let machine = movable("m1");
    let id = machine.meta.id.to_string();
    loops.write(key("m1"), &machine).await;
    let before = loops.is_on("m1", "n1").await;
    assert_eq!(before.status.tenure, Tenure(1));
    let two = new_node();
    let _second = loops.joins("n2", &two).await;

    let refused = loops.control.fence(&name("n1")).await.unwrap_err();
    assert!(matches!(refused, FenceError::Connected(_)), "{refused}");
    assert!(matches!(
        loops.control.fence(&name("n9")).await,
        Err(FenceError::Missing(_))
    ));

    // The power goes: whatever ran there does not run any more, but is still known there.
    first.cut().await;
    one.lock().unwrap().reboot();
    let fenced = loops.control.fence(&name("n1")).await.unwrap();
    assert_eq!(fenced.value.phase(), NodePhase::Fenced);
    assert_eq!(fenced.value.status.admission, Admission(2));
    // Said twice is said once.
    let again = loops.control.fence(&name("n1")).await.unwrap();
    assert_eq!(again.value.status.admission, Admission(2));

    let after = loops.is_on("m1", "n2").await;
    assert_eq!(after.status.tenure, Tenure(3));
    assert_eq!(loops.claimed("n1").await, 0);
    assert_eq!(loops.claimed("n2").await, 1);
    assert!(one.lock().unwrap().domains.contains_key(&id));

    // It comes back with an agent that remembers nothing of the fence.
    let _first = loops.joins("n1", &one).await;
    {
        let node = one.lock().unwrap();
        let readmit = node.readmits.last().unwrap();
        assert_eq!((readmit.admission, readmit.confirmed), (Admission(2), true));
        assert!(readmit.keep.is_empty() && node.domains.is_empty(), "{readmit:?}");
    }
    assert!(two.lock().unwrap().domains.contains_key(&id));
    let stamps = two.lock().unwrap().stamps.clone();
    assert!(
        stamps
            .iter()
            .all(|(_, tenure, admission)| *tenure == Tenure(3) && *admission == Admission(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_volume_is_on_the_fenced_node_waits_for_it() {
    let loops = Loops::start().await;
    let one = new_node();
    let first = loops.joins("n1", &one).await;
    let bound = asked("m1", None);
    loops.ask(&bound).await;
    loops.runs_on("m1", "n1").await;
    let two = new_node();
    let _second = loops.joins("n2", &two).await;
    first.cut().await;
    one.lock().unwrap().reboot();
    loops.control.fence(&name("n1")).await.unwrap();
    let waits = |machine: &Machine| {
        let failover = machine.status.conditions.of("failover");
        failover.is_some_and(|failover| failover.truth == Truth::False && failover.message.contains("m1-root"))
    };
    let waiting = loops.machine_until("m1", "waiting", waits).await;
    assert_eq!(waiting.placement.as_ref().unwrap().node, name("n1"));
    assert_eq!(waiting.status.tenure, Tenure(1));

    let _first = loops.joins("n1", &one).await;
    let kept = loops
        .machine_until("m1", "back", |machine| {
            let failover = machine.status.conditions.of("failover");
            machine.status.phase == MachinePhase::Running
                && failover.is_some_and(|failover| failover.truth == Truth::True)
        })
        .await;
    assert_eq!(kept.status.tenure, Tenure(1));
    let node = one.lock().unwrap();
    let readmit = node.readmits.last().unwrap();
    assert_eq!(
        readmit.keep,
        [(format!("machine/{}", bound.machine.meta.id), Tenure(1))]
    );
    assert_eq!(node.domains.len(), 1);
    assert!(two.lock().unwrap().domains.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_not_settled_gets_no_work() {
    let loops = Loops::start().await;
    let one = new_node();
    one.lock().unwrap().never_settles = true;
    let agent = SimulatedAgent::connect_to(&loops.control, "n1", 10 * GIB, Arc::clone(&one)).await;
    loops.write(key("m1"), &movable("m1")).await;
    let refused = |machine: &Machine| machine.status.phase == MachinePhase::Unplaceable;
    loops.machine_until("m1", "refused a place", refused).await;
    assert_eq!(loops.node("n1").await.phase(), NodePhase::Readmitting);
    assert!(loops.control.agents().connected().is_empty());
    assert_eq!(agent.calls(), 0);
    // Its next session settles.
    agent.cut().await;
    one.lock().unwrap().never_settles = false;
    let _agent = loops.joins("n1", &one).await;
    loops.is_on("m1", "n1").await;
    // What it was told is the same both times: nothing was placed in between.
    let admissions: Vec<Admission> = one.lock().unwrap().readmits.iter().map(|told| told.admission).collect();
    assert_eq!(admissions, [Admission(1), Admission(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_lost_what_it_wrote_down_is_let_in_anew_and_ends_nothing() {
    let loops = Loops::start().await;
    let one = new_node();
    let agent = loops.joins("n1", &one).await;
    loops.write(key("m1"), &movable("m1")).await;
    let machine = loops.is_on("m1", "n1").await;
    agent.cut().await;
    one.lock().unwrap().admission = Some(Admission(0));
    let _agent = loops.joins("n1", &one).await;
    assert_eq!(loops.node("n1").await.status.admission, Admission(2));
    let node = one.lock().unwrap();
    let readmit = node.readmits.last().unwrap();
    assert!(!readmit.confirmed);
    assert_eq!(readmit.keep, [(format!("machine/{}", machine.meta.id), Tenure(1))]);
    assert_eq!(node.domains.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_older_than_what_the_agent_saw_gets_no_session() {
    let loops = Loops::start().await;
    let one = new_node();
    let agent = loops.joins("n1", &one).await;
    agent.cut().await;
    let later = symphony_protocol::Hello {
        admission: Some(Admission(7)),
        ..hello("n1", GIB)
    };
    let refused = loops.control.agents().connect(later).await.err().unwrap();
    assert!(refused.0.contains("older than what the agent has seen"), "{refused}");
    // An agent of before that can't be told what to keep does not come in after a fence.
    loops.control.fence(&name("n1")).await.unwrap();
    let refused = loops.control.agents().connect(hello("n1", GIB)).await.err().unwrap();
    assert!(refused.0.contains("upgrade the agent"), "{refused}");
    assert_eq!(loops.node("n1").await.phase(), NodePhase::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_clock_moves_the_machines_of_a_node_that_is_unknown() {
    let loops = Loops::start().await;
    let (one, two) = (new_node(), new_node());
    let first = loops.joins("n1", &one).await;
    loops.write(key("m1"), &movable("m1")).await;
    loops.is_on("m1", "n1").await;
    let _second = loops.joins("n2", &two).await;
    first.cut().await;
    // As if nothing had been heard of it for three days: what is looked at is the record alone.
    let long_ago = symphony_core::Timestamp::from_second(clock::now().as_second() - 72 * 3600).unwrap();
    loops
        .change_node("n1", |node| {
            node.status.ready.truth = Truth::Unknown;
            node.status.ready.since = long_ago;
        })
        .await;
    loops.node_until("n1", NodePhase::Unknown).await;
    let before = loops.machine("m1").await.unwrap();
    // Every loop wakes and looks, again and again; the last of what woke them has come to its end.
    for number in 0..20 {
        loops.ask_for(&format!("v{number}"), 1 << 20).await;
        loops
            .until(&format!("v{number}"), "ready", |volume| {
                volume.status.phase == VolumePhase::Ready
            })
            .await;
    }
    let after = loops.machine("m1").await.unwrap();
    assert_eq!(after.placement, before.placement);
    assert_eq!(after.status.tenure, before.status.tenure);
    assert_eq!(loops.node("n1").await.phase(), NodePhase::Unknown);
    assert_eq!(loops.claimed("n1").await, 1);
    assert!(two.lock().unwrap().stamps.is_empty());
    // And the node that it is on has it as before.
    let _first = loops.joins("n1", &one).await;
    assert_eq!(loops.is_on("m1", "n1").await.status.tenure, Tenure(1));
    assert_eq!(one.lock().unwrap().domains.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_lets_go_of_what_is_off_and_says_what_holds_the_rest() {
    let loops = Loops::start().await;
    let (one, two) = (new_node(), new_node());
    let _first = loops.joins("n1", &one).await;
    loops.ask(&asked("bound", None)).await;
    // It is to run, whatever it lacks for that.
    let mut runs = movable("runs");
    runs.spec.power = Power::On;
    loops.write(key("runs"), &runs).await;
    loops.write(key("off"), &movable("off")).await;
    loops.runs_on("bound", "n1").await;
    loops
        .machine_until("runs", "failed", |machine| machine.status.phase == MachinePhase::Failed)
        .await;
    loops.is_on("off", "n1").await;
    let _second = loops.joins("n2", &two).await;

    let drained = loops.control.drain(&name("n1"), false).await.unwrap();
    assert!(loops.node("n1").await.spec.cordoned);
    assert_eq!(drained.leaving, [(name("default"), name("off"))]);
    let staying: Vec<_> = drained
        .staying
        .iter()
        .map(|stays| (stays.machine.as_str(), stays.why.as_str()))
        .collect();
    assert_eq!(staying[0], ("bound", "its volume bound-root is on this node"));
    assert!(staying[1].0 == "runs" && staying[1].1.contains("--stop"), "{staying:?}");
    let off = loops.is_on("off", "n2").await;
    // Placed, released with its agent (one for the order, one for the end of it), placed.
    assert_eq!(off.status.tenure, Tenure(4));
    assert!(!one.lock().unwrap().domains.contains_key(&off.meta.id.to_string()));

    let drained = loops.control.drain(&name("n1"), true).await.unwrap();
    assert_eq!(drained.stopping, [(name("default"), name("runs"))]);
    loops.is_on("runs", "n1").await;
    let drained = loops.control.drain(&name("n1"), true).await.unwrap();
    assert_eq!(drained.leaving, [(name("default"), name("runs"))]);
    loops.is_on("runs", "n2").await;
    assert_eq!(loops.claimed("n1").await, 1);
    assert!(matches!(
        loops.control.drain(&name("n9"), false).await,
        Err(FenceError::Missing(_))
    ));
}

/// A machine that runs on `b`, with its volume on `a`, which takes nothing else.
async fn runs_away_from_its_volume(loops: &Loops) -> (Vec<SimulatedAgent>, [Arc<Mutex<Node>>; 3], Machine) {
    let nodes = [new_node(), new_node(), new_node()];
    let mut agents = vec![loops.joins("a", &nodes[0]).await];
    let volume = loops.alone("one").await.volume;
    loops.cordon("a", true).await;
    agents.push(loops.joins("b", &nodes[1]).await);
    loops.give(&volume, "far", true).await;
    let far = loops.runs_on("far", "b").await;
    agents.push(loops.joins("c", &nodes[2]).await);
    (agents, nodes, far)
}

fn runs(node: &Arc<Mutex<Node>>) -> usize {
    let node = node.lock().unwrap();
    let domains = node.domains.values();
    domains.filter(|domain| domain.state == RunState::Running).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_volume_is_elsewhere_runs_again_after_a_fence() {
    let loops = Loops::start().await;
    let (mut agents, [_, b, c], far) = runs_away_from_its_volume(&loops).await;
    agents.remove(1).cut().await;
    b.lock().unwrap().reboot();
    // It is known to be silent, and nothing follows.
    loops
        .change_node("b", |node| node.status.ready.truth = Truth::Unknown)
        .await;
    loops.ask_for("v", 1 << 20).await;
    loops
        .until("v", "ready", |volume| volume.status.phase == VolumePhase::Ready)
        .await;
    assert_eq!(loops.machine("far").await.unwrap().placement, far.placement);
    loops.control.fence(&name("b")).await.unwrap();
    let again = loops.runs_on("far", "c").await;
    assert_eq!(again.status.tenure, Tenure(3));
    assert_eq!((runs(&b), runs(&c)), (0, 1));
    let _b = loops.joins("b", &b).await;
    assert!(b.lock().unwrap().domains.is_empty());
    assert_eq!((runs(&b), runs(&c)), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_stops_what_runs_only_when_it_is_asked_to() {
    let loops = Loops::start().await;
    let (_agents, [_, b, c], far) = runs_away_from_its_volume(&loops).await;
    let drained = loops.control.drain(&name("b"), false).await.unwrap();
    assert!(drained.staying[0].why.contains("--stop"), "{drained:?}");
    assert_eq!(loops.machine("far").await.unwrap().spec.power, Power::On);
    let drained = loops.control.drain(&name("b"), true).await.unwrap();
    assert_eq!(drained.stopping, [(name("default"), name("far"))]);
    loops.is_on("far", "b").await;
    let drained = loops.control.drain(&name("b"), false).await.unwrap();
    assert_eq!(drained.leaving, [(name("default"), name("far"))]);
    let moved = loops.is_on("far", "c").await;
    assert_eq!(moved.status.tenure, Tenure(far.status.tenure.0 + 3));
    assert!(b.lock().unwrap().domains.is_empty());
    assert_eq!((runs(&b), runs(&c)), (0, 0));
}
