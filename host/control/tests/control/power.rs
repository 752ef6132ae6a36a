//! Nodes whose power is cut: proof by devices, and everything that is none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use symphony_control::Control;
use symphony_control::fence::FenceError;
use symphony_core::condition::Truth;
use symphony_core::counter::{Admission, Tenure};
use symphony_core::event::Event;
use symphony_core::node::{Node as Record, NodePhase};
use symphony_core::power::{Device, NodePower, PowerState};
use symphony_core::{keys, record};
use symphony_protocol::Hello;
use symphony_store::{Range, StoreExt as _};

use super::fencing::{movable, new_node};
use super::harness::{Loops, Node, SimulatedAgent, Supply, hello, name};
use super::machines::key;

const GIB: u64 = 1 << 30;
const WHY: &str = "a test asked for it";

/// A device of each of these levels, each with a plug of its own.
fn devices(levels: &[u8]) -> NodePower {
    let device = |(number, level): (usize, &u8)| Device {
        level: *level,
        program: "fence_x".to_owned(),
        options: BTreeMap::from([("plug".to_owned(), number.to_string())]),
    };
    NodePower {
        devices: levels.iter().enumerate().map(device).collect(),
        after_s: None,
    }
}

/// A node that can ask devices.
fn asking(supplies: Vec<Supply>) -> Arc<Mutex<Node>> {
    let node = new_node();
    node.lock().unwrap().supplies = supplies
        .into_iter()
        .enumerate()
        .map(|(plug, supply)| (plug.to_string(), supply))
        .collect();
    node
}

impl Loops {
    async fn joins_asking(&self, of: &str, node: &Arc<Mutex<Node>>) -> SimulatedAgent {
        let hello = Hello {
            fence_programs: vec!["fence_x".to_owned()],
            ..hello(of, 10 * GIB)
        };
        let agent = SimulatedAgent::connect_as(&self.control, hello, Arc::clone(node)).await;
        self.node_until(of, NodePhase::Ready).await;
        agent
    }

    /// As some seconds without a session make it.
    async fn is_unknown(&self, of: &str) {
        self.change_node(of, |node| node.status.ready.truth = Truth::Unknown)
            .await;
    }

    async fn has_devices(&self, of: &str, power: &NodePower) {
        self.change_node(of, |node| node.spec.power = Some(power.clone())).await;
    }

    async fn told(&self, reason: &str) -> Vec<Event> {
        let kvs = self.store.range(Range::prefix(keys::EVENTS)).await.unwrap().kvs;
        let events = kvs.iter().map(|kv| record::decode::<Event>(&kv.value).unwrap());
        events.filter(|event| event.reason == reason).collect()
    }

    async fn node_when(&self, of: &str, what: &str, holds: impl Fn(&Record) -> bool) -> Record {
        for _ in 0..3_000 {
            let node = self.node(of).await;
            if holds(&node) {
                return node;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{of} never came to be {what}: {:?}", self.node(of).await);
    }
}

fn held(node: &Record) -> &str {
    node.status.fencing.as_ref().map_or("", |fencing| &fencing.held_by)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_devices_cut_its_power_is_fenced_and_its_machine_goes_elsewhere() {
    let loops = Loops::start().await;
    let first = loops.joins("n1", &new_node()).await;
    loops.write(key("m1"), &movable("m1")).await;
    loops.is_on("m1", "n1").await;
    let control = &loops.control;
    let none = control.cut_power(&name("n1"), WHY).await.unwrap_err();
    assert!(matches!(none, FenceError::Connected(_)), "{none}");
    loops.has_devices("n1", &devices(&[1, 1])).await;
    let nobody = control.power(&name("n1")).await.unwrap_err();
    assert!(
        nobody.to_string().contains("fence_x must be in [fence_programs]"),
        "{nobody}"
    );

    let two = asking(vec![Supply::Works { on: true }, Supply::Works { on: true }]);
    let _second = loops.joins_asking("n2", &two).await;
    let seen = control.power(&name("n1")).await.unwrap();
    assert_eq!((seen.asked_by.as_str(), seen.is_off), ("n2", false));
    assert!(seen.facts.iter().all(|fact| fact.state == PowerState::On));
    assert_eq!(two.lock().unwrap().cuts, 0, "to ask is not to cut");

    first.cut().await;
    loops.is_unknown("n1").await;
    control.cut_power(&name("n1"), WHY).await.unwrap();
    let fenced = loops.node_until("n1", NodePhase::Fenced).await;
    assert_eq!(fenced.status.admission, Admission(2));
    assert!(fenced.status.fencing.is_none() && fenced.status.ready.message.contains("as node n2 saw"));
    assert_eq!(two.lock().unwrap().cuts, 2);
    let after = loops.is_on("m1", "n2").await;
    assert_eq!(after.status.tenure, Tenure(3));
    assert_eq!(
        (
            loops.told("power-cut-wanted").await.len(),
            loops.told("fenced").await.len()
        ),
        (1, 1)
    );
    // Asked for again, there is nothing to do.
    control.cut_power(&name("n1"), WHY).await.unwrap();
    assert!(loops.node("n1").await.status.fencing.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_off_is_not_fenced_and_the_next_node_is_asked() {
    let loops = Loops::start().await;
    let first = loops.joins("n1", &new_node()).await;
    loops.has_devices("n1", &devices(&[1, 1, 2])).await;
    // It can't reach two of the three, and one does not obey.
    let two = asking(vec![Supply::Stuck]);
    let _second = loops.joins_asking("n2", &two).await;
    first.cut().await;
    loops.is_unknown("n1").await;
    loops.control.cut_power(&name("n1"), WHY).await.unwrap();
    let waits = loops.node_when("n1", "held up", |node| !held(node).is_empty()).await;
    assert_eq!(waits.phase(), NodePhase::Unknown);
    let said = held(&waits);
    assert!(
        said.contains("asked by node n2") && said.contains("device 0 (fence_x) is on after it was told"),
        "{said}"
    );
    assert!(said.contains("device 2 (fence_x) does not say"), "{said}");
    assert!(loops.told("fenced").await.is_empty());

    // One of two supplies is not enough, whoever asks; the next level is.
    let works = || Supply::Works { on: true };
    let _third = loops
        .joins_asking("n3", &asking(vec![works(), Supply::Stuck, works()]))
        .await;
    let fenced = loops.node_until("n1", NodePhase::Fenced).await;
    assert!(fenced.status.ready.message.contains("level 2") && fenced.status.ready.message.contains("n3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_off_for_one_look_proves_nothing() {
    let loops = Loops::start().await;
    let first = loops.joins("n1", &new_node()).await;
    loops.has_devices("n1", &devices(&[1, 1])).await;
    let looks = std::cell::Cell::new(1);
    let two = asking(vec![Supply::OffFor { looks }, Supply::Works { on: false }]);
    let _second = loops.joins_asking("n2", &two).await;
    first.cut().await;
    loops.is_unknown("n1").await;
    loops.control.cut_power(&name("n1"), WHY).await.unwrap();
    let waits = loops.node_when("n1", "held up", |node| !held(node).is_empty()).await;
    assert!(
        waits.phase() == NodePhase::Unknown && held(&waits).contains("device 0 (fence_x) is on"),
        "{}",
        held(&waits)
    );
    assert!(loops.told("fenced").await.is_empty());
    // What is off in both looks is.
    two.lock()
        .unwrap()
        .supplies
        .insert("0".to_owned(), Supply::Works { on: true });
    loops.node_until("n1", NodePhase::Fenced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_heard_of_while_its_power_is_cut_is_not_fenced() {
    let loops = Loops::start().await;
    let one = new_node();
    let first = loops.joins("n1", &one).await;
    loops.has_devices("n1", &devices(&[1])).await;
    let two = asking(vec![Supply::Works { on: true }]);
    let back: Arc<Mutex<Option<SimulatedAgent>>> = Arc::default();
    let returns = {
        let (control, one, back): (Control, _, _) = (loops.control.clone(), Arc::clone(&one), Arc::clone(&back));
        // The wrong plug, or one that has power again at once: its agent comes before anybody sees that it is off.
        move || {
            let connected = tokio::task::block_in_place(|| {
                let connecting = SimulatedAgent::connect_to(&control, "n1", 10 * GIB, Arc::clone(&one));
                tokio::runtime::Handle::current().block_on(connecting)
            });
            *back.lock().unwrap() = Some(connected);
        }
    };
    two.lock().unwrap().on_cut = Some(Box::new(returns));
    let _second = loops.joins_asking("n2", &two).await;
    first.cut().await;
    loops.is_unknown("n1").await;
    loops.control.cut_power(&name("n1"), WHY).await.unwrap();
    let node = loops
        .node_when("n1", "back", |node| {
            node.phase() == NodePhase::Ready && node.status.fencing.is_none()
        })
        .await;
    assert_eq!(two.lock().unwrap().cuts, 1);
    assert_eq!(node.status.admission, Admission(1));
    assert!(loops.told("fenced").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_changed_since_its_devices_were_asked_is_looked_at_anew() {
    let loops = Loops::start().await;
    let first = loops.joins("n1", &new_node()).await;
    loops.has_devices("n1", &devices(&[1])).await;
    let two = asking(vec![Supply::Works { on: true }]);
    let store = Arc::clone(&loops.store);
    let changes = move || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let at = keys::node(&name("n1"));
                let kv = store.get(&at.clone().into(), None).await.unwrap().unwrap();
                let mut node: Record = record::decode(&kv.value).unwrap();
                // Nothing can cut its power any more: what was seen was another server's.
                node.spec.power = None;
                store.put(at, record::encode(&node).unwrap()).await.unwrap();
            });
        });
    };
    two.lock().unwrap().on_cut = Some(Box::new(changes));
    let _second = loops.joins_asking("n2", &two).await;
    first.cut().await;
    loops.is_unknown("n1").await;
    loops.control.cut_power(&name("n1"), WHY).await.unwrap();
    let node = loops
        .node_when("n1", "let be", |node| node.status.fencing.is_none())
        .await;
    assert_eq!((node.phase(), two.lock().unwrap().cuts), (NodePhase::Unknown, 1));
    assert_eq!(loops.told("power-cut-ended").await.len(), 1);
    let none = loops.control.cut_power(&name("n1"), WHY).await.unwrap_err();
    assert!(matches!(none, FenceError::NoDevices(_)), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_asks_for_a_cut_and_never_stands_for_it() {
    let loops = Loops::start().await;
    let works = || Supply::Works { on: true };
    let mut agents = Vec::new();
    for of in ["n1", "n2", "n3", "n4"] {
        agents.push(loops.joins_asking(of, &asking(vec![works()])).await);
        let power = NodePower {
            after_s: Some(1),
            ..devices(&[1])
        };
        loops.has_devices(of, &power).await;
    }
    // Three of four are not heard of: it is rather this manager that is cut off.
    for of in ["n2", "n3", "n4"] {
        agents.pop().unwrap().cut().await;
        loops.is_unknown(of).await;
    }
    while loops.told("power-cut-held").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(agents[0].node().cuts, 0);
    assert!(loops.told("power-cut-wanted").await.is_empty());
    // One comes back; the two that stay away are half.
    agents.push(loops.joins_asking("n2", &asking(vec![works()])).await);
    for of in ["n3", "n4"] {
        let fenced = loops.node_until(of, NodePhase::Fenced).await;
        assert!(fenced.status.ready.message.contains("say that it is off"));
    }
    let wanted = loops.told("power-cut-wanted").await;
    assert!(
        wanted.len() == 2 && wanted[0].message.contains("it has been unknown for 1 s"),
        "{wanted:?}"
    );
    assert_eq!(loops.node("n2").await.phase(), NodePhase::Ready);
}
