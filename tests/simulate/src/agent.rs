//! An agent, as the real one behaves: its ledger is durable, it checks each call, settles before it works after it was
//! fenced, and goes on with a call when its session is lost. Its connection loses and repeats what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use symphony_control::agents::Session;
use symphony_core::counter::{Admission, Epoch, Generation, Tenure};
use symphony_core::labels::Labels;
use symphony_core::node::{Compute, Pool, Role};
use symphony_core::plan::Kind;
use symphony_core::plan::machine::Hypervisor;
use symphony_protocol::{
    Answer, Call, Failure, FailureKind, Hello, Outcome, PROTOCOL_VERSION, Readmit, Readmitted, Seen, StepDone, Task,
    ToAgent, ToManager, Work,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::node::{Hardware, Stepped};
use crate::supply;
use crate::world::{Mutation, World, name};

/// Bytes that a node's pool has.
pub const POOL_BYTES: u64 = 10 << 30;
/// Memory of a node.
pub const MEMORY_BYTES: u64 = 1 << 30;
/// How late a call may be repeated by the network.
const LATE_MILLIS_MAX: u64 = 180_000;
/// After how long without a word a session is lost.
const SILENCE: Duration = Duration::from_secs(10);

/// A server, what its agent wrote down, and what it remembers.
#[derive(Default)]
pub struct Server {
    /// What it has.
    pub hardware: Hardware,
    /// Whether it has power.
    pub off: bool,
    /// Until when nothing gets through to it.
    pub cut_until: Option<Instant>,
    /// Until when nothing of it is heard.
    pub mute_until: Option<Instant>,
    /// Which of its devices have cut its power.
    pub cuts: supply::Cuts,
    /// Counts the lives of its agent.
    pub life: u64,
    epoch: Epoch,
    revision: u64,
    admission: Admission,
    floors: BTreeMap<String, Tenure>,
    acted: BTreeMap<String, Generation>,
    heard: Option<Admission>,
    busy: BTreeSet<String>,
}

impl Server {
    /// Its agent ends; what it has not written down is gone.
    pub fn crash(&mut self, mutation: Mutation) {
        self.life += 1;
        self.heard = None;
        self.busy.clear();
        if mutation == Mutation::ForgetsLedger {
            self.floors.clear();
            self.acted.clear();
            self.epoch = Epoch::default();
            self.heard = Some(self.admission);
        }
    }

    /// The same, and what it has written down is gone as well.
    pub fn lose_ledger(&mut self, mutation: Mutation) {
        self.crash(mutation);
        self.floors.clear();
        self.acted.clear();
        (self.epoch, self.revision, self.admission) = (Epoch::default(), 0, Admission::default());
    }

    /// Whether nothing of it is heard.
    #[must_use]
    pub fn is_mute(&self) -> bool {
        self.mute_until.is_some_and(|until| until > Instant::now())
    }

    /// Whether its connection is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut_until.is_some_and(|until| until > Instant::now())
    }

    fn check(&self, call: &Call, mutation: Mutation) -> Result<(), Failure> {
        let stale = |text: &str| Err(Failure::new(FailureKind::StaleTenure, text));
        if mutation == Mutation::IgnoresAll {
            return Ok(());
        }
        if self.heard != Some(self.admission) {
            return stale("not settled yet");
        }
        if mutation != Mutation::IgnoresAdmission && call.admission != self.admission {
            return stale("another admission");
        }
        let minds_floors = mutation != Mutation::IgnoresFloors;
        if minds_floors && call.tenure < self.floors.get(&call.object).copied().unwrap_or_default() {
            return stale("an old tenure");
        }
        if call.epoch < self.epoch {
            return Err(Failure::new(FailureKind::StaleEpoch, "an old epoch"));
        }
        let minds_generations = mutation != Mutation::IgnoresGenerations;
        if minds_generations && call.generation < self.acted.get(&call.object).copied().unwrap_or(Generation(0)) {
            return Err(Failure::new(FailureKind::StaleGeneration, "an old generation"));
        }
        Ok(())
    }

    fn act(&mut self, call: &Call, mutation: Mutation) -> Result<(), Failure> {
        self.check(call, mutation)?;
        self.epoch = self.epoch.max(call.epoch);
        self.raise(&call.object, call.tenure);
        let acted = self.acted.entry(call.object.clone()).or_insert(Generation(0));
        *acted = (*acted).max(call.generation);
        Ok(())
    }

    fn raise(&mut self, object: &str, tenure: Tenure) {
        let floor = self.floors.entry(object.to_owned()).or_default();
        *floor = (*floor).max(tenure);
    }

    fn settle(&mut self, readmit: &Readmit, mutation: Mutation) -> Option<Readmitted> {
        if self.heard != Some(readmit.admission) || !self.busy.is_empty() {
            return None;
        }
        let mut destroyed = Vec::new();
        if self.admission < readmit.admission {
            for (object, tenure) in &readmit.keep {
                self.raise(object, *tenure);
            }
            let kept: BTreeSet<&String> = readmit.keep.iter().map(|(object, _)| object).collect();
            let all: Vec<String> = self.hardware.domains.keys().cloned().collect();
            for id in all
                .iter()
                .filter(|_| readmit.confirmed && mutation != Mutation::KeepsAll)
            {
                let object = format!("machine/{id}");
                if !kept.contains(&object) {
                    let floor = self.floors.get(&object).copied().unwrap_or_default();
                    self.raise(&object, floor.next());
                    self.hardware.domains.remove(id);
                    destroyed.push(object);
                }
            }
            self.admission = readmit.admission;
        }
        Some(Readmitted {
            admission: self.admission,
            destroyed,
        })
    }
}

/// Half of all servers each: so that machines can be kept away from their volumes, and still move.
///
/// # Panics
/// The label is none.
#[must_use]
pub fn half(of: usize) -> Labels {
    Labels::parse([["half=a", "half=b"][of % 2]]).expect("a label")
}

fn hello(world: &World, at: usize) -> Hello {
    let servers = world.servers();
    Hello {
        protocol: PROTOCOL_VERSION,
        node: name(&format!("n{at}")),
        version: "simulated".to_owned(),
        roles: vec![Role::Block, Role::Compute, Role::Network],
        pools: vec![Pool {
            name: name("default"),
            capacity_bytes: POOL_BYTES,
            reflink: false,
        }],
        compute: Some(Compute {
            hypervisor: Hypervisor::Qemu,
            cpus: 2,
            cpu_overcommit_percent: 200,
            memory_bytes: MEMORY_BYTES,
        }),
        labels: half(at % 2),
        data_url: "http://127.0.0.1:1".to_owned(),
        underlay: Some(format!("10.9.0.{}", at + 1)),
        fence_programs: vec![supply::PROGRAM.to_owned()],
        epoch_seen: servers[at].epoch,
        revision_seen: servers[at].revision,
        admission: Some(servers[at].admission),
    }
}

/// The server's agents, one life after the other, for as long as the world goes.
pub async fn live(world: Arc<World>, at: usize) {
    loop {
        let life = {
            let servers = world.servers();
            (!servers[at].off).then_some(servers[at].life)
        };
        let Some(life) = life else {
            sleep(Duration::from_millis(500)).await;
            continue;
        };
        let mut calls = JoinSet::new();
        tokio::select! {
            biased;
            () = ends(&world, at, life) => {}
            () = serve(&world, at, &mut calls) => {}
        }
        // What was under way ends where it is.
        calls.shutdown().await;
        sleep(world.rng.millis(200, 3_000)).await;
    }
}

async fn ends(world: &World, at: usize, life: u64) {
    while world.servers()[at].life == life {
        sleep(Duration::from_millis(100)).await;
    }
}

async fn serve(world: &Arc<World>, at: usize, calls: &mut JoinSet<()>) {
    loop {
        sleep(world.rng.millis(100, 500)).await;
        if world.servers()[at].is_cut() || world.servers()[at].is_mute() {
            continue;
        }
        let Some((manager, control)) = world.leading() else {
            continue;
        };
        let connecting = timeout(Duration::from_secs(5), control.agents().connect(hello(world, at)));
        if let Ok(Ok(session)) = connecting.await {
            during(world, at, manager, session, calls).await;
        }
    }
}

async fn during(world: &Arc<World>, at: usize, manager: usize, mut session: Session, calls: &mut JoinSet<()>) {
    let inbox = session.inbox();
    let (uplink, mut answers) = mpsc::channel::<ToManager>(512);
    let (mut heard, mut late) = (Instant::now(), Vec::new());
    loop {
        while calls.try_join_next().is_some() {}
        let deaf = world.servers()[at].is_cut() || world.is_frozen(manager);
        let mute = deaf || world.servers()[at].is_mute();
        if !mute {
            heard = Instant::now();
            // A connection keeps the order, and loses nothing but with its end.
            late.drain(..).for_each(|up| inbox.receive(up));
        } else if heard.elapsed() > SILENCE {
            late.iter().for_each(|_| world.count("answer lost"));
            while session.to_agent.try_recv().is_ok() {
                world.count("frame lost");
            }
            return;
        }
        tokio::select! {
            biased;
            frame = session.to_agent.recv(), if !deaf => {
                let Some(frame) = frame else { return };
                // The connection is lost with a call in it, which comes all the same, when it is nobody's any more.
                if let ToAgent::Call(call) = &frame
                    && call.work.acts()
                    && world.rng.happens(world.late_permille() / 8)
                {
                    world.count("call held back");
                    come_later(world, at, (**call).clone());
                    return;
                }
                take(world, at, frame, &uplink, calls);
            }
            Some(up) = answers.recv() => {
                if mute { late.push(up) } else { inbox.receive(up) }
            }
            () = sleep(Duration::from_millis(500)) => {}
        }
    }
}

fn take(world: &Arc<World>, at: usize, frame: ToAgent, uplink: &mpsc::Sender<ToManager>, calls: &mut JoinSet<()>) {
    match frame {
        ToAgent::Welcome(welcome) => {
            let mut servers = world.servers();
            let server = &mut servers[at];
            server.epoch = server.epoch.max(welcome.epoch);
            server.heard = welcome.admission;
            server.revision = server.revision.max(welcome.members.revision.unwrap_or_default());
        }
        ToAgent::Call(call) => {
            if call.work.acts() && world.rng.happens(world.late_permille()) {
                world.count("call repeated");
                come_later(world, at, (*call).clone());
            }
            let (world, uplink) = (Arc::clone(world), uplink.clone());
            calls.spawn(async move {
                sleep(world.rng.millis(1, 20)).await;
                let result = work(&world, at, &call).await;
                let _ = uplink.send(ToManager::Answer(Answer { call: call.id, result })).await;
            });
        }
        ToAgent::Readmit(readmit) => {
            let (world, uplink) = (Arc::clone(world), uplink.clone());
            calls.spawn(async move {
                while !uplink.is_closed() {
                    sleep(world.rng.millis(20, 1_000)).await;
                    let done = world.servers()[at].settle(&readmit, world.mutation);
                    if let Some(done) = done {
                        world.look();
                        let _ = uplink.send(ToManager::Readmitted(done)).await;
                        return;
                    }
                }
            });
        }
        ToAgent::Members(members) => {
            let mut servers = world.servers();
            let revision = &mut servers[at].revision;
            *revision = (*revision).max(members.revision.unwrap_or_default());
        }
        ToAgent::Heartbeat | ToAgent::Refused(_) => {}
    }
}

/// The network brings a call late, to whoever is there then; nobody waits for the answer any more.
fn come_later(world: &Arc<World>, at: usize, call: Call) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        sleep(world.rng.millis(500, LATE_MILLIS_MAX)).await;
        if !world.servers()[at].off && !world.servers()[at].is_cut() {
            world.count("call came late");
            let _ = work(&world, at, &call).await;
        }
    });
}

/// Holds an object for one call.
struct Slot<'a>(&'a World, usize, u64, String);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut servers = self.0.servers();
        if servers[self.1].life == self.2 {
            servers[self.1].busy.remove(&self.3);
        }
    }
}

async fn work(world: &World, at: usize, call: &Call) -> Result<Outcome, Failure> {
    let life = {
        let mut servers = world.servers();
        let server = &mut servers[at];
        server.check(call, world.mutation)?;
        if !server.busy.insert(call.object.clone()) {
            return Err(Failure::new(FailureKind::Busy, "a call on it is under way"));
        }
        server.life
    };
    let slot = Slot(world, at, life, call.object.clone());
    if call.work.acts() {
        world.servers()[at].act(call, world.mutation)?;
    }
    let place = (at, life);
    let outcome = match &call.work {
        Work::Volume { task, .. } => {
            Outcome::Volume(run(world, place, task, Hardware::volume, Hardware::volume_fact).await?)
        }
        Work::Machine { task, .. } => {
            Outcome::Machine(run(world, place, task, Hardware::machine, Hardware::machine_fact).await?)
        }
        Work::Export { task, .. } => {
            let minds = world.mutation != Mutation::IgnoresGenerations;
            let act = |hardware: &mut Hardware, step: &_| hardware.export(step, minds);
            Outcome::Export(run(world, place, task, act, Hardware::export_fact).await?)
        }
        Work::Fence { devices, task } => Outcome::Fence(supply::run(world, place, devices, task).await?),
        Work::Network { .. } | Work::Image { .. } => {
            return Err(Failure::new(FailureKind::Missing, "not simulated"));
        }
    };
    drop(slot);
    Ok(outcome)
}

async fn run<K: Kind>(
    world: &World,
    (at, life): (usize, u64),
    task: &Task<K>,
    act: impl Fn(&mut Hardware, &K::Step) -> Stepped,
    fact: impl Fn(&Hardware, &K::Probe) -> K::Fact,
) -> Result<Seen<K>, Failure> {
    let (probes, steps) = match task {
        Task::Facts { probes } => (probes, [].as_slice()),
        Task::Steps { plan, then } => (then, plan.steps()),
    };
    let mut done = Vec::new();
    for step in steps {
        sleep(world.rng.millis(1, 200)).await;
        if world.rng.happens(world.slow_permille()) {
            world.count("step slow");
            sleep(world.rng.millis(1_000, 60_000)).await;
        }
        if world.rng.happens(world.slow_permille()) {
            world.count("step failed");
            return Err(Failure::new(FailureKind::Other, "simulated"));
        }
        {
            let mut servers = world.servers();
            let server = &mut servers[at];
            if server.off || server.life != life {
                return Err(Failure::new(FailureKind::Lost, "the agent ended"));
            }
            act(&mut server.hardware, step).map_err(|text| Failure::new(FailureKind::Other, text))?;
        }
        world.stepped(at, K::action(step));
        done.push(StepDone {
            action: K::action(step).to_owned(),
            took_ms: 1,
        });
    }
    let servers = world.servers();
    let facts = probes
        .as_slice()
        .iter()
        .map(|probe| fact(&servers[at].hardware, probe))
        .collect();
    Ok(Seen { facts, done })
}
