//! One run: a seed, its script, then quiet; and what came of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use symphony_core::machine::MachinePhase;
use symphony_core::plan::machine::{Power, RunState};
use symphony_core::volume::VolumePhase;
use symphony_runtime::{Compiler, Limits, Options, Runtime};
use tokio::time::{Instant, sleep};

use crate::deeds;
use crate::script::Event;
use crate::world::{MANAGERS, Mutation, SERVERS, World};

/// How long everything has to come to rest after the last fault.
const REST_MAX: Duration = Duration::from_secs(20 * 60);
/// For how long nothing is written once all is at rest: longer than between two looks at a machine.
const SECOND_LOOK: Duration = Duration::from_secs(90);

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All chance comes of it.
    pub seed: u64,
    /// What happens.
    pub events: Vec<Event>,
    /// What is wrong on purpose.
    pub mutation: Mutation,
    /// Whether to keep all that happened.
    pub tells: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What must never be, and was.
    pub violations: Vec<String>,
    /// What went wrong on purpose, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// What went right, and how often.
    pub reached: BTreeMap<&'static str, u64>,
    /// Simulated time.
    pub simulated: Duration,
    /// Of all that happened.
    pub trace: u64,
    /// The newest revision.
    pub revision: u64,
    /// All that happened, when that was asked for.
    pub told: Vec<String>,
}

/// Runs it, on a thread of its own.
///
/// # Panics
/// The components are not built (`cargo xtask plugins`), or the simulation itself is broken.
#[must_use]
pub fn run(plan: Plan, root: &Path) -> Outcome {
    let root = root.to_owned();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(go(plan, &root))
    });
    thread.join().expect("the simulation went to its end")
}

async fn go(plan: Plan, root: &Path) -> Outcome {
    symphony_control::clock::simulated::begin();
    symphony_runtime::blocking::at_once();
    let began = Instant::now();
    let read = |name: &&str| {
        let path = root.join(format!("target/plugins/{name}.wasm"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins`", path.display()))
    };
    // Without a scheduler's component the built-in policy decides: a scheduler has a thread of its own.
    let components: Vec<Vec<u8>> = ["file", "libvirt", "nbd", "power"].iter().map(read).collect();
    let folder = root.join("target/simulate");
    let options = Options {
        cache_dir: folder.join("compiled"),
        compiler: Compiler::InProcess,
        limits: Limits::default(),
    };
    let runtime = Runtime::open(options).expect("the sandbox");
    let world = World::new(
        plan.seed,
        plan.mutation,
        runtime,
        &folder.join("plugins"),
        components,
        plan.tells,
    );
    for at in 0..MANAGERS {
        world.start_manager(at).await;
    }
    world.start_agents();
    for event in plan.events {
        sleep(event.after).await;
        if !world.checker().violations.is_empty() {
            break;
        }
        deeds::happen(&world, event.what);
    }
    if world.checker().violations.is_empty() {
        quiet(&world).await;
    }
    let faults = world.faults();
    let mut checker = world.checker();
    Outcome {
        violations: std::mem::take(&mut checker.violations),
        faults,
        reached: std::mem::take(&mut checker.reached),
        simulated: began.elapsed(),
        trace: checker.trace,
        revision: checker.revision,
        told: checker.told.take().unwrap_or_default(),
    }
}

async fn quiet(world: &Arc<World>) {
    // What was begun ends by itself: the longest fault, and the longest late call.
    sleep(Duration::from_secs(130)).await;
    world.heal().await;
    sleep(Duration::from_secs(15)).await;
    for at in 0..SERVERS {
        deeds::cordon(world, at, false).await;
    }
    let began = Instant::now();
    loop {
        // A cut that was under way may have come after a server had its power again.
        (0..SERVERS).for_each(|at| world.power_on(at));
        let before = world.checker().revision;
        sleep(SECOND_LOOK).await;
        let rests = world.checker().revision == before;
        let unrest = unrest(world);
        if rests && unrest.is_empty() {
            return;
        }
        if began.elapsed() > REST_MAX {
            let first = unrest
                .first()
                .cloned()
                .unwrap_or_else(|| "it writes without an end".to_owned());
            world.checker().violated(format!("no rest: {first}"));
            return;
        }
    }
}

/// What is not as it should be.
fn unrest(world: &World) -> Vec<String> {
    let servers = world.servers();
    let checker = world.checker();
    let mut unrest = Vec::new();
    for (key, machine) in &checker.machines {
        let id = machine.meta.id.to_string();
        let on: Vec<String> = servers
            .iter()
            .enumerate()
            .filter(|(_, server)| {
                server
                    .hardware
                    .domains
                    .get(&id)
                    .is_some_and(|domain| domain.state == RunState::Running)
            })
            .map(|(at, _)| format!("n{at}"))
            .collect();
        let placed: Vec<String> = machine.placement.iter().map(|place| place.node.to_string()).collect();
        let waits = machine.status.phase == MachinePhase::Unplaceable && on.is_empty();
        let runs = machine.spec.power == Power::On && machine.status.phase == MachinePhase::Running && on == placed;
        let stopped = machine.spec.power == Power::Off && on.is_empty() && machine.is_settled();
        if !(waits || (runs && machine.is_settled()) || stopped) {
            unrest.push(format!(
                "{key} is {:?}, placed {placed:?}, runs {on:?}: {:?}",
                machine.status.phase, machine.status.conditions
            ));
        }
    }
    let placed = |id: &str, at: usize| {
        let mut machines = checker
            .machines
            .values()
            .filter(|machine| machine.meta.id.to_string() == *id);
        machines.any(|machine| {
            machine
                .placement
                .as_ref()
                .is_some_and(|place| place.node.as_str() == format!("n{at}"))
        })
    };
    for (at, server) in servers.iter().enumerate() {
        let left = server.hardware.domains.keys().filter(|id| !placed(id, at));
        unrest.extend(left.map(|id| format!("{id} is left on n{at}, where it is not placed")));
    }
    for (key, volume) in &checker.volumes {
        let phase = volume.status.phase;
        if !matches!(
            phase,
            VolumePhase::Ready | VolumePhase::Unplaceable | VolumePhase::Resizing
        ) || volume.meta.is_deleting()
        {
            unrest.push(format!("{key} is {phase:?}: {:?}", volume.status.conditions));
        }
    }
    for (key, generation) in &checker.acknowledged {
        let machine = checker.machines.get(key).map(|machine| machine.meta.generation.0);
        let volume = checker.volumes.get(key).map(|volume| volume.meta.generation.0);
        if machine.or(volume).is_none_or(|there| there < *generation) {
            unrest.push(format!("{key} was acknowledged and is not there"));
        }
    }
    let known: Vec<String> = checker
        .machines
        .values()
        .map(|machine| machine.meta.id.to_string())
        .collect();
    for (at, server) in servers.iter().enumerate() {
        let left = server
            .hardware
            .domains
            .iter()
            .filter(|(id, domain)| domain.state == RunState::Running && !known.contains(id));
        unrest.extend(left.map(|(id, _)| format!("{id} runs on n{at}, and there is no such machine")));
    }
    unrest
}
