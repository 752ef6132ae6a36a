//! One cluster: three managers, one store, some servers; and what is done to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symphony_control::{Control, ControlConfig, LEASE_TTL, Lease, Office, Standing};
use symphony_core::name::Name;
use symphony_runtime::Runtime;
use symphony_store::Store;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Server};
use crate::check::Checker;
use crate::rng::Rng;
use crate::store::SimStore;
use crate::supply;

/// How many managers there are.
pub const MANAGERS: usize = 3;
/// How many servers there are.
pub const SERVERS: usize = 4;

/// What is made wrong on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// Nothing.
    #[default]
    None,
    /// Agents do whatever they are told, whatever they heard before.
    IgnoresAll,
    /// Agents do what was decided on before a release.
    IgnoresFloors,
    /// Agents do what was decided on before their server was let in again.
    IgnoresAdmission,
    /// Agents that start anew have forgotten what they heard, and work at once.
    ForgetsLedger,
    /// Agents that come back after a fence end nothing.
    KeepsAll,
    /// Operators fence servers that run.
    FencesWithoutProof,
    /// Boards say that servers are off that run.
    BoardsLie,
    /// Agents serve generations of volumes that are over.
    IgnoresGenerations,
    /// Writes are acknowledged that nobody did.
    PromisesInVain,
}

/// A name that is one.
///
/// # Panics
/// It is none.
#[must_use]
pub fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

struct Manager {
    door: SimStore,
    office: Office,
    stop: CancellationToken,
    frozen: bool,
}

/// See the module.
pub struct World {
    /// All chance.
    pub rng: Rng,
    /// What is wrong on purpose.
    pub mutation: Mutation,
    /// How requests of users come to the store.
    pub requests: SimStore,
    began: Instant,
    store: SimStore,
    runtime: Runtime,
    plugins: std::path::PathBuf,
    components: Vec<Vec<u8>>,
    managers: Mutex<Vec<Option<Manager>>>,
    servers: Mutex<Vec<Server>>,
    checker: Arc<Mutex<Checker>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    late: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A new one, with nobody in it yet.
    #[must_use]
    pub fn new(
        seed: u64,
        mutation: Mutation,
        runtime: Runtime,
        folder: &Path,
        components: Vec<Vec<u8>>,
        tells: bool,
    ) -> Arc<Self> {
        let (rng, store) = (Rng::new(seed), SimStore::new());
        let mut checker = Checker::default();
        checker.told = tells.then(Vec::new);
        let checker = Arc::new(Mutex::new(checker));
        let began = Instant::now();
        let of = Arc::clone(&checker);
        store.on_commit(Box::new(move |batch| {
            let mut checker = lock(&of);
            let keys: Vec<String> = batch.events.iter().map(|event| event.key().to_string()).collect();
            checker.tell(&format!(
                "{} r{} {}",
                began.elapsed().as_millis(),
                batch.revision,
                keys.join(" ")
            ));
            checker.committed(batch);
        }));
        Arc::new(Self {
            requests: store.door(&rng),
            rng,
            mutation,
            began,
            store,
            runtime,
            plugins: folder.to_owned(),
            components,
            managers: Mutex::new((0..MANAGERS).map(|_| None).collect()),
            servers: Mutex::new((0..SERVERS).map(|_| Server::default()).collect()),
            checker,
            faults: Mutex::default(),
            late: Mutex::new(true),
        })
    }

    /// The servers.
    pub fn servers(&self) -> MutexGuard<'_, Vec<Server>> {
        lock(&self.servers)
    }

    /// What was found.
    pub fn checker(&self) -> MutexGuard<'_, Checker> {
        lock(&self.checker)
    }

    /// A fault really happened.
    pub fn count(&self, fault: &'static str) {
        *lock(&self.faults).entry(fault).or_default() += 1;
        let at = self.began.elapsed().as_millis();
        self.checker().tell(&format!("{at} fault {fault}"));
    }

    /// What happened how often.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        let mut faults = lock(&self.faults).clone();
        *faults.entry("answer of the store lost").or_default() += self.requests.lost();
        faults
    }

    /// How many of a thousand steps fail, and how many take long, while there are faults.
    #[must_use]
    pub fn slow_permille(&self) -> u64 {
        if *lock(&self.late) { 5 } else { 0 }
    }

    /// How many of a thousand calls come again later.
    #[must_use]
    pub fn late_permille(&self) -> u64 {
        if *lock(&self.late) { 250 } else { 0 }
    }

    /// A server did a step.
    pub fn stepped(&self, at: usize, action: &str) {
        let time = self.began.elapsed().as_millis();
        self.checker().tell(&format!("{time} n{at} {action}"));
        self.look();
    }

    /// Looks at all servers.
    pub fn look(&self) {
        let servers = self.servers();
        self.checker().look(&servers);
    }

    /// The manager that leads and runs, if there is one.
    #[must_use]
    pub fn leading(&self) -> Option<(usize, Control)> {
        let managers = lock(&self.managers);
        let running = managers
            .iter()
            .enumerate()
            .filter_map(|(at, manager)| Some((at, manager.as_ref()?)));
        let mut leading = running
            .filter(|(_, manager)| !manager.frozen)
            .filter_map(|(at, manager)| match manager.office.standing() {
                Standing::Leading(control) => Some((at, control)),
                _ => None,
            });
        leading.next()
    }

    /// Whether a manager does not run now.
    #[must_use]
    pub fn is_frozen(&self, at: usize) -> bool {
        lock(&self.managers)[at].as_ref().is_some_and(|manager| manager.frozen)
    }

    /// Starts what is not there.
    pub async fn start_manager(self: &Arc<Self>, at: usize) {
        if lock(&self.managers)[at].is_some() {
            return;
        }
        let (door, stop) = (self.store.door(&self.rng), CancellationToken::new());
        let config = ControlConfig {
            store: Arc::new(door.clone()) as Arc<dyn Store>,
            runtime: self.runtime.clone(),
            plugins_dir: self.plugins.clone(),
            first_party: self.components.clone(),
            stop: stop.clone(),
        };
        let election = Lease {
            manager: format!("m{at}"),
            address: format!("m{at}:1"),
            ttl: LEASE_TTL,
        };
        if let Ok(office) = Office::among(config, election).await {
            lock(&self.managers)[at] = Some(Manager {
                door,
                office,
                stop,
                frozen: false,
            });
        }
    }

    /// Starts all servers' agents.
    pub fn start_agents(self: &Arc<Self>) {
        for at in 0..SERVERS {
            tokio::spawn(agent::live(Arc::clone(self), at));
        }
    }

    /// Kills a manager where it is, and starts it again later.
    pub async fn crash_manager(self: Arc<Self>, at: usize, millis: u64) {
        let Some(manager) = lock(&self.managers)[at].take() else {
            return;
        };
        manager.door.set(|door| (door.dead, door.frozen) = (true, false));
        manager.stop.cancel();
        self.count("manager crashed");
        let _ = timeout(Duration::from_secs(60), manager.office.stop()).await;
        sleep(Duration::from_millis(millis)).await;
        for _ in 0..100 {
            self.start_manager(at).await;
            if lock(&self.managers)[at].is_some() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Stops the leader for a while; it goes on as if nothing had happened.
    pub async fn freeze_leader(self: Arc<Self>, millis: u64) {
        let Some((at, _)) = self.leading() else { return };
        let door = {
            let mut managers = lock(&self.managers);
            let Some(manager) = managers[at].as_mut() else { return };
            manager.frozen = true;
            manager.door.clone()
        };
        door.set(|door| door.frozen = true);
        self.count("leader frozen");
        sleep(Duration::from_millis(millis)).await;
        door.set(|door| door.frozen = false);
        if let Some(manager) = lock(&self.managers)[at].as_mut() {
            manager.frozen = false;
        }
    }

    fn doors(&self) -> Vec<SimStore> {
        let managers = lock(&self.managers);
        managers
            .iter()
            .flatten()
            .map(|manager| manager.door.clone())
            .chain([self.requests.clone()])
            .collect()
    }

    /// For a while nobody reaches the store.
    pub async fn store_down(self: Arc<Self>, millis: u64) {
        self.count("store unavailable");
        let doors = self.doors();
        doors.iter().for_each(|door| door.set(|door| door.down = true));
        sleep(Duration::from_millis(millis)).await;
        doors.iter().for_each(|door| door.set(|door| door.down = false));
    }

    /// For a while many answers of the store are lost.
    pub async fn lose_answers(self: Arc<Self>, millis: u64) {
        let doors = self.doors();
        let before: u64 = doors.iter().map(SimStore::lost).sum();
        doors.iter().for_each(|door| door.set(|door| door.lost_permille = 200));
        sleep(Duration::from_millis(millis)).await;
        doors.iter().for_each(|door| door.set(|door| door.lost_permille = 0));
        for _ in before..doors.iter().map(SimStore::lost).sum() {
            self.count("answer of the store lost");
        }
    }

    /// All watches end; with compaction, they can't go on where they were.
    pub async fn cut_watches(self: Arc<Self>, compacts: bool) {
        if compacts && let Ok(status) = self.store.status().await {
            let _ = self.store.compact(status.revision).await;
            self.count("store compacted");
        }
        self.doors().iter().for_each(|door| door.set(|door| door.cuts += 1));
        self.count("watches lost");
    }

    /// An agent ends and comes again; its server goes on.
    pub fn crash_agent(&self, at: usize) {
        self.servers()[at].crash(self.mutation);
        self.count("agent crashed");
    }

    /// For a while nothing gets through to a server.
    pub fn cut(&self, at: usize, millis: u64) {
        self.servers()[at].cut_until = Some(Instant::now() + Duration::from_millis(millis));
        self.count("agent cut off");
    }

    /// For a while a server hears, and is not heard.
    pub fn mute(&self, at: usize, millis: u64) {
        self.servers()[at].mute_until = Some(Instant::now() + Duration::from_millis(millis));
        self.count("agent not heard");
    }

    /// An agent ends and comes again, and what it had written down is gone.
    pub fn lose_ledger(&self, at: usize) {
        self.servers()[at].lose_ledger(self.mutation);
        self.count("ledger lost");
    }

    /// One of a server's devices is told to cut its power. One in five does not.
    pub fn cut_power(&self, at: usize, device: usize) {
        if self.rng.happens(200) {
            self.count("device failed");
            return;
        }
        let mut servers = self.servers();
        servers[at].cuts[device] = true;
        if !supply::is_cut(servers[at].cuts) || servers[at].off {
            return;
        }
        servers[at].off = true;
        servers[at].crash(self.mutation);
        servers[at].hardware.power_off();
        drop(servers);
        self.count("power cut by devices");
    }

    /// A server has power (again).
    pub fn power_on(&self, at: usize) {
        let mut servers = self.servers();
        (servers[at].off, servers[at].cuts) = (false, supply::Cuts::default());
    }

    /// A server loses its power; somebody may say so to the cluster; later it has power again.
    pub async fn power_loss(self: Arc<Self>, at: usize, fences: bool, millis: u64) {
        if self.mutation == Mutation::FencesWithoutProof && fences {
            self.cut(at, millis + 20_000);
        } else {
            let mut servers = self.servers();
            if servers[at].off {
                return;
            }
            servers[at].off = true;
            servers[at].crash(self.mutation);
            servers[at].hardware.power_off();
            drop(servers);
            self.count("power lost");
        }
        if fences {
            for _ in 0..20 {
                sleep(Duration::from_secs(1)).await;
                let Some((_, control)) = self.leading() else { continue };
                let node = name(&format!("n{at}"));
                if let Ok(Ok(_)) = timeout(Duration::from_secs(5), control.fence(&node)).await {
                    self.count("node fenced");
                    break;
                }
            }
        }
        sleep(Duration::from_millis(millis)).await;
        self.power_on(at);
    }

    /// No more faults: all that was away comes back.
    pub async fn heal(self: &Arc<Self>) {
        *lock(&self.late) = false;
        for server in self.servers().iter_mut() {
            (server.cut_until, server.mute_until) = (None, None);
        }
        for at in 0..MANAGERS {
            self.start_manager(at).await;
        }
    }
}
