//! Machines away from their volumes, from the record to simulated nodes: who may write is said before it is served, served
//! before a machine starts, and ended before anybody else has the volume.

use std::sync::Arc;
use std::time::Duration;

use symphony_core::counter::Generation;
use symphony_core::export::Export;
use symphony_core::keys;
use symphony_core::machine::Machine;
use symphony_core::node::Node;
use symphony_core::plan::export::Settings;
use symphony_core::plan::machine::{Disk, DiskSource, RunState};
use symphony_core::volume::{Volume, VolumePhase};

use super::harness::{Loops, SimulatedAgent, name};
use super::machines::{Asked, GIB, asked, key};

impl Loops {
    pub(super) async fn cordon(&self, node: &str, cordoned: bool) {
        self.change::<Node>(keys::node(&name(node)), |node| node.spec.cordoned = cordoned)
            .await;
    }

    pub(super) async fn export(&self, of: &Asked) -> Option<Export> {
        self.read(keys::export(of.volume.meta.id)).await
    }

    /// Gives a volume that is there to a machine that is not there yet.
    pub(super) async fn give(&self, volume: &Volume, to: &str, remote_volumes: bool) {
        let mut new = asked(to, None).machine;
        new.spec.wishes.remote_volumes = remote_volumes;
        new.spec.volumes[0].id = volume.meta.id;
        new.spec.volumes[0].name = volume.meta.name.clone();
        new.spec.volumes[0].delete_with_machine = false;
        let (id, holder) = (new.meta.id, new.meta.name.clone());
        self.write(key(to), &new).await;
        let at = keys::volume(&volume.meta.project, &volume.meta.name);
        self.change::<Volume>(at, |volume| {
            volume.machine = Some(symphony_core::volume::Holder {
                id,
                name: holder.clone(),
            });
        })
        .await;
    }

    /// A volume alone, whole on its node.
    pub(super) async fn alone(&self, of: &str) -> Asked {
        let mut asked = asked(of, None);
        asked.volume.machine = None;
        self.put(&asked.volume).await;
        let root = asked.volume.meta.name.to_string();
        asked.volume = self
            .until(&root, "whole", |volume| volume.status.phase == VolumePhase::Ready)
            .await;
        asked
    }
}

/// A volume on node `a`, and a machine on node `b` that uses it.
struct Away {
    a: SimulatedAgent,
    b: SimulatedAgent,
    one: Asked,
    far: Machine,
}

impl Away {
    async fn start(loops: &Loops) -> Self {
        let a = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
        let one = loops.alone("one").await;
        let b = SimulatedAgent::connect(&loops.control, "b", 10 * GIB).await;
        loops.cordon("a", true).await;
        loops.give(&one.volume, "far", true).await;
        let far = loops.running("far").await;
        Self { a, b, one, far }
    }
}

/// What a node serves of a volume now, with the floor.
fn served(agent: &SimulatedAgent, of: &Asked) -> (u64, Option<Settings>) {
    let node = agent.node();
    node.exports
        .get(&of.volume.meta.id.to_string())
        .cloned()
        .unwrap_or_default()
}

async fn until_served(agent: &SimulatedAgent, of: &Asked, holds: impl Fn(&(u64, Option<Settings>)) -> bool) {
    for _ in 0..3_000 {
        if holds(&served(agent, of)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to that: {:?}", served(agent, of));
}

/// The disks of a machine that runs there.
fn disks(agent: &SimulatedAgent, machine: &Machine) -> Vec<Disk> {
    let node = agent.node();
    let domain = &node.domains[&machine.meta.id.to_string()];
    assert_eq!(domain.state, RunState::Running);
    domain
        .description
        .disks
        .iter()
        .map(|device| device.disk.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_runs_away_from_its_volume_and_its_node_has_it_again_afterwards() {
    let loops = Loops::start().await;
    let Away { a, b, one, far } = Away::start(&loops).await;
    assert_eq!(far.placement.as_ref().unwrap().node, name("b"));
    let remote = |generation: u64| DiskSource::Remote {
        export: format!("{}.{generation}", one.volume.meta.id),
        node: "a".to_owned(),
    };
    assert_eq!(disks(&b, &far)[0].source, remote(1));
    let (floor, settings) = served(&a, &one);
    let settings = settings.unwrap();
    assert_eq!((floor, settings.generation, settings.client.as_str()), (1, 1, "b"));
    assert_eq!(
        (settings.pool.as_str(), settings.listen.as_str()),
        ("default", "127.0.0.1")
    );

    loops.delete("far").await;
    until_served(&a, &one, |(floor, served)| *floor == 2 && served.is_none()).await;

    // At home there is room again: near its volumes if that can be.
    loops.cordon("a", false).await;
    loops.give(&one.volume, "near", true).await;
    let near = loops.running("near").await;
    assert_eq!(near.placement.as_ref().unwrap().node, name("a"));
    let pool = "default".to_owned();
    assert_eq!(disks(&a, &near)[0].source, DiskSource::Local { pool });
    let export = loops.export(&one).await.unwrap();
    assert_eq!((export.generation, export.writer), (Generation(1), None));

    loops.delete("near").await;
    loops.until_gone(keys::MACHINES).await;
    loops.cordon("a", true).await;
    loops.give(&one.volume, "again", true).await;
    let again = loops.running("again").await;
    assert_eq!(disks(&b, &again)[0].source, remote(2));
    let next = loops.export(&one).await.unwrap();
    assert_ne!(
        next.key, export.key,
        "what opened the first generation opens the second"
    );

    // Nothing is left of a volume that goes.
    loops.delete("again").await;
    loops.until_gone(keys::MACHINES).await;
    let at = keys::volume(&one.volume.meta.project, &one.volume.meta.name);
    loops
        .change::<Volume>(at, |volume| {
            volume.meta.deleting_since = Some(symphony_control::clock::now());
            volume.meta.generation = volume.meta.generation.next();
        })
        .await;
    loops.until_gone(keys::VOLUMES).await;
    loops.until_gone(keys::EXPORTS).await;
    assert!(served(&a, &one).1.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_may_not_leave_its_volume_waits() {
    let loops = Loops::start().await;
    let _a = SimulatedAgent::connect(&loops.control, "a", 10 * GIB).await;
    let one = loops.alone("one").await;
    let _b = SimulatedAgent::connect(&loops.control, "b", 10 * GIB).await;
    loops.cordon("a", true).await;
    loops.give(&one.volume, "far", false).await;
    let waits = loops
        .machine_until("far", "decided", |machine| {
            machine.status.conditions.of("placed").is_some()
        })
        .await;
    assert_eq!(waits.placement, None);
    assert_eq!(loops.export(&one).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_is_over_on_its_node_is_followed_by_the_next() {
    let loops = Loops::start().await;
    let Away { a, b, one, far } = Away::start(&loops).await;
    // Its node did an order to end it, of which nobody heard, and the same machine on the same node wants it.
    let (node, id) = (Arc::clone(&a.node), one.volume.meta.id.to_string());
    a.cut().await;
    *node.lock().unwrap().exports.get_mut(&id).unwrap() = (2, None);
    let a = SimulatedAgent::connect_to(&loops.control, "a", 10 * GIB, node).await;
    until_served(&a, &one, |(_, served)| {
        served.as_ref().is_some_and(|served| served.generation == 2)
    })
    .await;
    let export = loops.export(&one).await.unwrap();
    assert_eq!(export.generation, Generation(2));
    assert_eq!(export.writer.unwrap().machine, far.meta.id);
    drop(b);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_served_again_and_what_moves_on_is_over() {
    let loops = Loops::start().await;
    let Away { a, b, one, far } = Away::start(&loops).await;

    // The volume's node came up again: nothing of it is served, and the machine keeps what it has.
    let node = Arc::clone(&a.node);
    a.ended.abort();
    node.lock()
        .unwrap()
        .exports
        .get_mut(&one.volume.meta.id.to_string())
        .unwrap()
        .1 = None;
    let a = SimulatedAgent::connect_to(&loops.control, "a", 10 * GIB, node).await;
    until_served(&a, &one, |(_, served)| {
        served.as_ref().is_some_and(|served| served.generation == 1)
    })
    .await;
    let starts = b.node().starts;
    assert_eq!((starts, disks(&b, &far).len()), (1, 1));

    // It is placed elsewhere, as after the end of its node: the generation is raised, and the old one is over.
    let c = SimulatedAgent::connect(&loops.control, "c", 10 * GIB).await;
    loops
        .change::<Machine>(key("far"), |machine| {
            machine.placement.as_mut().unwrap().node = name("c");
            machine.meta.generation = machine.meta.generation.next();
        })
        .await;
    until_served(&a, &one, |(floor, served)| {
        *floor == 2 && served.as_ref().is_some_and(|served| served.client == "c")
    })
    .await;
    let moved = loops.running("far").await;
    let source = DiskSource::Remote {
        export: format!("{}.2", one.volume.meta.id),
        node: "a".to_owned(),
    };
    assert_eq!(disks(&c, &moved)[0].source, source);
}
