//! What is in a script, as it happens: requests as the server writes them, and faults.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use symphony_control::clock;
use symphony_core::id::{MachineId, VolumeId};
use symphony_core::labels::Labels;
use symphony_core::machine::{
    Attachment, FirstBoot, Machine, MachineSize, MachineSpec, MachineStatus, RestartPolicy, Wishes,
};
use symphony_core::meta::Meta;
use symphony_core::node::Node;
use symphony_core::plan::machine::{CpuMode, Power};
use symphony_core::volume::{Holder, Volume, VolumePhase, VolumeSpec, VolumeStatus};
use symphony_core::{keys, record};
use symphony_store::{Compare, Store as _, Txn};
use tokio::time::{sleep, timeout};

use crate::agent::half;
use crate::script::What;
use crate::world::{Mutation, World, name};

/// Has it happen; what takes time goes on by itself.
pub fn happen(world: &Arc<World>, what: What) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        match what {
            What::CrashManager(at, millis) => world.crash_manager(at, millis).await,
            What::Freeze(millis) => world.freeze_leader(millis).await,
            What::StoreDown(millis) => world.store_down(millis).await,
            What::LoseAnswers(millis) => world.lose_answers(millis).await,
            What::CutWatches(compacts) => world.cut_watches(compacts).await,
            What::CrashAgent(at) => world.crash_agent(at),
            What::Cut(at, millis) => world.cut(at, millis),
            What::PowerLoss(at, fences, millis) => world.power_loss(at, fences, millis).await,
            What::Mute(at, millis) => world.mute(at, millis),
            What::LoseLedger(at) => world.lose_ledger(at),
            What::Unheard(at, millis) => unheard(&world, at, millis).await,
            What::Drain(at) => drain(&world, at).await,
            What::Move(number) => moved(&world, number).await,
            request => drop(timeout(Duration::from_secs(30), ask(&world, request)).await),
        }
    });
}

/// A server is cut off, goes on, and has its power cut by its devices; later it has power again.
async fn unheard(world: &Arc<World>, at: usize, millis: u64) {
    let power = crate::supply::described(at);
    change::<Node>(world, keys::node(&name(&format!("n{at}"))), |node| {
        let changes = node.spec.power.as_ref() != Some(&power);
        node.spec.power = Some(power.clone());
        node.meta.generation = node.meta.generation.next();
        changes
    })
    .await;
    world.cut(at, millis + 60_000);
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        let Some((_, control)) = world.leading() else { continue };
        let node = name(&format!("n{at}"));
        let asked = control.cut_power(&node, "the script says so");
        // Refused as long as its session is not missed.
        if let Ok(Ok(_)) = timeout(Duration::from_secs(5), asked).await {
            world.count("power to be cut");
            break;
        }
    }
    sleep(Duration::from_millis(millis + 60_000)).await;
    world.power_on(at);
}

async fn drain(world: &World, at: usize) {
    if let Some((_, control)) = world.leading() {
        let _ = timeout(Duration::from_secs(20), control.drain(&name(&format!("n{at}")), true)).await;
    }
}

/// Moves a machine as an operator does, who gives up after some minutes.
async fn moved(world: &World, number: u64) {
    let key = machine_key(number);
    let place = |world: &World| -> Option<(u64, Option<String>)> {
        let checker = world.checker();
        let machine = checker.machines.get(&key)?;
        let node = machine.placement.as_ref().map(|place| place.node.to_string());
        Some((machine.status.tenure.0, node))
    };
    let Some((_, Some(from))) = place(world) else { return };
    let at = from.trim_start_matches('n').parse().unwrap_or(0);
    for _ in 0..12 {
        drain(world, at).await;
        sleep(Duration::from_secs(10)).await;
        match place(world) {
            Some((_, node)) if node.as_deref() == Some(&*from) => {}
            _ => break,
        }
    }
    let _ = timeout(Duration::from_secs(30), ask(world, What::Power(number, true))).await;
    let _ = timeout(Duration::from_secs(30), cordon(world, at, false)).await;
}

async fn ask(world: &World, what: What) {
    match what {
        What::Create(number, volume) => create(world, number, volume).await,
        What::CreateVolume(number) => {
            let volume = volume(&format!("v{number}"), None);
            let at = keys::volume(&volume.meta.project, &volume.meta.name);
            let mut wish = Wish::new(Txn::new().when(Compare::absent(at.clone())));
            wish.put(at, 1, encoded(&volume));
            commit(world, wish).await;
        }
        What::Delete(number) => {
            change::<Machine>(world, machine_key(number), |machine| {
                let deletes = !machine.meta.is_deleting();
                machine.meta.deleting_since = machine.meta.deleting_since.or_else(|| Some(clock::now()));
                machine.meta.generation = machine.meta.generation.next();
                deletes
            })
            .await;
        }
        What::DeleteVolume(number) => {
            change::<Volume>(world, volume_key(number), |volume| {
                let deletes = volume.machine.is_none() && !volume.meta.is_deleting();
                volume.meta.deleting_since = Some(clock::now());
                volume.meta.generation = volume.meta.generation.next();
                deletes
            })
            .await;
        }
        What::Power(number, on) => {
            change::<Machine>(world, machine_key(number), |machine| {
                let power = if on { Power::On } else { Power::Off };
                let changes = machine.spec.power != power && !machine.meta.is_deleting();
                machine.spec.power = power;
                machine.spec.boots += u64::from(on);
                machine.meta.generation = machine.meta.generation.next();
                changes
            })
            .await;
        }
        What::Grow(number) => {
            change::<Volume>(world, volume_key(number), |volume| {
                let Ok(size) = (volume.spec.size.bytes() + (256 << 20)).try_into() else {
                    return false;
                };
                volume.spec.size = size;
                volume.meta.generation = volume.meta.generation.next();
                !volume.meta.is_deleting()
            })
            .await;
        }
        What::Cordon(at, cordoned) => cordon(world, at, cordoned).await,
        _ => {}
    }
}

/// Keeps new work from a server, or lets it in.
pub async fn cordon(world: &World, at: usize, cordoned: bool) {
    change::<Node>(world, keys::node(&name(&format!("n{at}"))), |node| {
        let changes = node.spec.cordoned != cordoned;
        node.spec.cordoned = cordoned;
        node.meta.generation = node.meta.generation.next();
        changes
    })
    .await;
}

fn machine_key(number: u64) -> String {
    keys::machine(&name("default"), &name(&format!("m{number}")))
}

fn volume_key(number: u64) -> String {
    keys::volume(&name("default"), &name(&format!("v{number}")))
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    record::encode(value).expect("a record is written")
}

fn meta<Id>(id: Id, of: &str) -> Meta<Id> {
    Meta::new(id, name("default"), name(of), Labels::default(), clock::now())
}

fn volume(of: &str, machine: Option<Holder>) -> Volume {
    Volume {
        meta: meta(VolumeId::new(clock::new_uuid()), of),
        spec: VolumeSpec {
            size: (1_u64 << 30).try_into().expect("a size"),
            pool: None,
            require: Labels::default(),
            source: None,
        },
        placement: None,
        machine,
        status: VolumeStatus::pending(),
    }
}

async fn create(world: &World, number: u64, with: u64) {
    let (of, id) = (format!("m{number}"), MachineId::new(clock::new_uuid()));
    let holder = Holder { id, name: name(&of) };
    let at = machine_key(number);
    let mut wish = Wish::new(Txn::new().when(Compare::absent(at.clone())));
    let (mut require, mut volumes) = (Labels::default(), Vec::new());
    if with == 1 {
        let root = volume(&format!("{of}-root"), Some(holder));
        let root_at = keys::volume(&root.meta.project, &root.meta.name);
        volumes.push(Attachment {
            id: root.meta.id,
            name: root.meta.name.clone(),
            delete_with_machine: true,
        });
        wish.when(Compare::absent(root_at.clone()));
        wish.put(root_at, 1, encoded(&root));
    } else {
        // A volume that is there, wherever it is.
        let Ok(Some(kv)) = world.requests.get(&volume_key(number).into(), None).await else {
            return;
        };
        let Ok(mut other) = record::decode::<Volume>(&kv.value) else {
            return;
        };
        if other.machine.is_some() || other.meta.is_deleting() || other.status.phase != VolumePhase::Ready {
            return;
        }
        other.machine = Some(holder);
        // In the other half than its volume: it uses it over the network, and can move without it.
        if let (3, Some(place)) = (with, &other.placement) {
            require = half(
                1 + place
                    .node
                    .as_str()
                    .trim_start_matches('n')
                    .parse::<usize>()
                    .unwrap_or(0),
            );
        }
        volumes.push(Attachment {
            id: other.meta.id,
            name: other.meta.name.clone(),
            delete_with_machine: false,
        });
        wish.when(Compare::mod_revision(kv.key.clone(), kv.mod_revision));
        wish.put(kv.key.to_string(), other.meta.generation.0, encoded(&other));
    }
    let machine = Machine {
        meta: meta(id, &of),
        spec: MachineSpec {
            size: MachineSize::new(1, 256 << 20).expect("a size"),
            cpu_mode: CpuMode::Automatic,
            hugepages: false,
            power: Power::On,
            boots: 1,
            restart: RestartPolicy::Always,
            volumes,
            ports: Vec::new(),
            first_boot: FirstBoot::default(),
            wishes: Wishes {
                remote_volumes: with != 1,
                require,
                ..Wishes::default()
            },
        },
        placement: None,
        status: MachineStatus::pending(),
    };
    wish.put(at, 1, encoded(&machine));
    commit(world, wish).await;
}

/// A write, and what it promises once it is acknowledged.
struct Wish {
    txn: Txn,
    /// Each key, the generation that is there from then on at least, and the value.
    promised: Vec<(String, u64, Vec<u8>)>,
}

impl Wish {
    const fn new(txn: Txn) -> Self {
        Self {
            txn,
            promised: Vec::new(),
        }
    }

    fn when(&mut self, compare: Compare) {
        self.txn = std::mem::take(&mut self.txn).when(compare);
    }

    fn put(&mut self, key: String, generation: u64, value: Vec<u8>) {
        self.txn = std::mem::take(&mut self.txn).put(key.clone(), value.clone());
        self.promised.push((key, generation, value));
    }
}

/// Writes; what is acknowledged must be there from then on. An answer that does not come is looked for, as clients do.
async fn commit(world: &World, wish: Wish) -> bool {
    let Wish { txn, promised } = wish;
    // A promise that nobody keeps, to see that it is missed.
    if world.mutation == Mutation::PromisesInVain && world.rng.happens(20) {
        promise(world, &promised);
        return true;
    }
    match world.requests.txn(txn).await {
        Ok(result) => {
            if result.succeeded {
                promise(world, &promised);
            }
            result.succeeded
        }
        Err(error) => {
            if error.is_ambiguous() && is_there(world, &promised).await {
                world.count("answer found in the store");
                promise(world, &promised);
            }
            true
        }
    }
}

fn promise(world: &World, promised: &[(String, u64, Vec<u8>)]) {
    let mut checker = world.checker();
    for (key, generation, _) in promised {
        let there = checker.machines.contains_key(key) || checker.volumes.contains_key(key);
        if there {
            let known = checker.acknowledged.entry(key.clone()).or_default();
            *known = (*known).max(*generation);
        } else if !key.starts_with(keys::NODES) {
            // Only what was asked to go may have gone meanwhile, and that is looked at when it goes.
            checker.tell("acknowledged, and gone already");
        }
    }
}

/// Whether a write is seen to be done: as long as nobody has written over it, it can be.
async fn is_there(world: &World, promised: &[(String, u64, Vec<u8>)]) -> bool {
    let Some((key, _, value)) = promised.last() else {
        return false;
    };
    for _ in 0..20 {
        if let Ok(kv) = world.requests.get(&key.clone().into(), None).await {
            return kv.is_some_and(|kv| kv.value == *value);
        }
        sleep(Duration::from_millis(500)).await;
    }
    false
}

/// A record that users change.
trait Spec: Serialize + DeserializeOwned {
    fn generation(&self) -> u64;
}

impl Spec for Machine {
    fn generation(&self) -> u64 {
        self.meta.generation.0
    }
}

impl Spec for Volume {
    fn generation(&self) -> u64 {
        self.meta.generation.0
    }
}

impl Spec for Node {
    fn generation(&self) -> u64 {
        self.meta.generation.0
    }
}

async fn change<T: Spec>(world: &World, key: String, change: impl Fn(&mut T) -> bool) {
    for _ in 0..10 {
        let Ok(Some(kv)) = world.requests.get(&key.clone().into(), None).await else {
            return;
        };
        let Ok(mut value) = record::decode::<T>(&kv.value) else {
            return;
        };
        if !change(&mut value) {
            return;
        }
        let mut wish = Wish::new(Txn::new().when(Compare::mod_revision(key.clone(), kv.mod_revision)));
        wish.put(key.clone(), value.generation(), encoded(&value));
        if commit(world, wish).await {
            return;
        }
    }
}
