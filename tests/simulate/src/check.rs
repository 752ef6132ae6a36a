//! What must always hold, looked at after each revision of the store and each step of a server.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use symphony_core::counter::{Admission, Tenure};
use symphony_core::machine::{Machine, MachinePhase};
use symphony_core::node::Node;
use symphony_core::place::Ledger;
use symphony_core::plan::machine::{DiskSource, RunState};
use symphony_core::volume::Volume;
use symphony_core::{keys, record};
use symphony_store::{Event, WatchBatch};

use crate::agent::{POOL_BYTES, Server};
use crate::world::name;

/// The records as of the last revision, and what was found wrong.
#[derive(Default)]
pub struct Checker {
    /// By key.
    pub machines: BTreeMap<String, Machine>,
    /// By key.
    pub volumes: BTreeMap<String, Volume>,
    nodes: BTreeMap<String, Node>,
    ledgers: BTreeMap<String, Ledger>,
    tenures: BTreeMap<String, Tenure>,
    admissions: BTreeMap<String, Admission>,
    /// The highest generation that was served of each volume.
    served: BTreeMap<String, u64>,
    last_leader: u64,
    /// What was acknowledged: the key, with the generation that must be there at least.
    pub acknowledged: BTreeMap<String, u64>,
    /// What must never be, and was. The first few.
    pub violations: Vec<String>,
    /// The newest revision.
    pub revision: u64,
    /// What went right, and how often: where nothing of it happens nothing is shown by no violation.
    pub reached: BTreeMap<&'static str, u64>,
    /// A hash of all that happened.
    pub trace: u64,
    /// All that happened, when that is wanted.
    pub told: Option<Vec<String>>,
}

fn decoded<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    record::decode(value).ok()
}

impl Checker {
    /// Something happened.
    pub fn tell(&mut self, text: &str) {
        for byte in text.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(told) = &mut self.told {
            told.push(text.to_owned());
        }
    }

    /// Something is wrong.
    pub fn violated(&mut self, what: String) {
        if self.violations.len() < 8 && !self.violations.contains(&what) {
            self.tell(&format!("VIOLATION {what}"));
            self.violations.push(what);
        }
    }

    /// A new revision of the store.
    pub fn committed(&mut self, batch: &WatchBatch) {
        self.revision = batch.revision.0;
        for event in &batch.events {
            let key = event.key().to_string();
            match event {
                Event::Put { kv, .. } => self.put(&key, &kv.value),
                Event::Delete { prev, .. } => self.deleted(&key, prev.as_ref().map(|kv| &kv.value[..])),
            }
        }
        self.claims();
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        if let Some(machine) = key.strip_prefix(keys::MACHINES).and_then(|_| decoded::<Machine>(value)) {
            let (id, tenure) = (machine.meta.id.to_string(), machine.status.tenure);
            if self
                .tenures
                .insert(id.clone(), tenure)
                .is_some_and(|before| before > tenure)
            {
                self.violated(format!("tenure of machine {id} went back to {tenure}"));
            }
            self.acknowledged_is_there(key, machine.meta.generation.0);
            let before = self.machines.insert(key.to_owned(), machine.clone());
            self.note_progress(before.as_ref(), &machine);
        } else if let Some(volume) = key.strip_prefix(keys::VOLUMES).and_then(|_| decoded::<Volume>(value)) {
            self.acknowledged_is_there(key, volume.meta.generation.0);
            self.volumes.insert(key.to_owned(), volume);
        } else if let Some(node) = key.strip_prefix(keys::NODES).and_then(|_| decoded::<Node>(value)) {
            let admission = node.status.admission;
            if self
                .admissions
                .insert(key.to_owned(), admission)
                .is_some_and(|before| before > admission)
            {
                self.violated(format!("admission of {key} went back to {admission}"));
            }
            self.nodes.insert(key.to_owned(), node);
        } else if let Some(node) = key.strip_prefix(keys::LEDGERS) {
            if let Some(ledger) = decoded::<Ledger>(value) {
                self.ledgers.insert(node.to_owned(), ledger);
            }
        } else if key == keys::LEADER
            && let Some(leader) = decoded::<symphony_control::Leader>(value)
        {
            if leader.epoch.0 <= self.last_leader {
                self.violated(format!("epoch {} after {}", leader.epoch, self.last_leader));
            }
            self.last_leader = leader.epoch.0;
        }
    }

    fn note_progress(&mut self, before: Option<&Machine>, now: &Machine) {
        let mut note = |what| *self.reached.entry(what).or_default() += 1;
        let runs = |machine: &Machine| machine.status.phase == MachinePhase::Running;
        if runs(now) && !before.is_some_and(runs) {
            note("machine ran");
            if now.status.tenure > Tenure(2) {
                note("machine ran elsewhere");
            }
        }
        if now.placement.is_none() && before.is_some_and(|before| before.placement.is_some()) {
            note("machine released");
        }
    }

    fn acknowledged_is_there(&mut self, key: &str, generation: u64) {
        if self.acknowledged.get(key).is_some_and(|known| generation < *known) {
            self.violated(format!(
                "{key} went back to generation {generation} from what was acknowledged"
            ));
        }
    }

    fn deleted(&mut self, key: &str, prev: Option<&[u8]>) {
        let asked = if key.starts_with(keys::MACHINES) {
            self.machines.remove(key);
            prev.and_then(decoded::<Machine>)
                .map(|machine| machine.meta.is_deleting())
        } else if key.starts_with(keys::VOLUMES) {
            self.volumes.remove(key);
            prev.and_then(decoded::<Volume>).map(|volume| volume.meta.is_deleting())
        } else {
            None
        };
        if asked.is_some() {
            self.acknowledged.remove(key);
        }
        if asked == Some(false) {
            self.violated(format!("{key} was deleted and nobody had asked for it"));
        }
    }

    /// Claims are what is placed, and within what there is.
    fn claims(&mut self) {
        let mut wanted: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
        for place in self.machines.values().filter_map(|machine| machine.placement.as_ref()) {
            let sum = wanted.entry(place.node.to_string()).or_default();
            sum.0 += u64::from(place.claimed.cpus());
            sum.1 += place.claimed.memory_bytes();
        }
        for place in self.volumes.values().filter_map(|volume| volume.placement.as_ref()) {
            wanted.entry(place.node.to_string()).or_default().2 += place.claimed_bytes;
        }
        let mut wrong = Vec::new();
        for (node, ledger) in &self.ledgers {
            let machines = ledger.machines();
            let has = (
                machines.cpus,
                machines.memory_bytes,
                ledger.claimed_bytes(&name("default")),
            );
            let sum = wanted.remove(node).unwrap_or_default();
            if has != sum {
                wrong.push(format!("ledger of {node} has {has:?}, and placed there is {sum:?}"));
            }
            if has.0 > 4 || has.1 > crate::agent::MEMORY_BYTES || has.2 > POOL_BYTES {
                wrong.push(format!("{node} is over its capacity: {has:?}"));
            }
        }
        wrong.extend(
            wanted
                .iter()
                .filter(|(_, sum)| **sum != (0, 0, 0))
                .map(|(node, _)| format!("{node} has no ledger")),
        );
        for what in wrong {
            self.violated(what);
        }
    }

    /// No machine runs twice, and no volume has two that may write to it.
    pub fn look(&mut self, servers: &[Server]) {
        let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
        let mut writers: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (at, server) in servers.iter().enumerate() {
            for (id, domain) in &server.hardware.domains {
                if matches!(domain.state, RunState::Off(_)) {
                    continue;
                }
                if let Some(other) = runs.insert(id, at) {
                    wrong.push(format!("machine {id} runs on n{other} and on n{at}"));
                }
                let attached = domain.description.disks.iter().map(|device| &device.disk);
                for disk in attached.filter(|disk| domain.live_volumes.contains(&disk.volume)) {
                    let reaches = match &disk.source {
                        DiskSource::Local { .. } => true,
                        DiskSource::Remote { export, .. } => servers.iter().any(|server| {
                            let mut served = server
                                .hardware
                                .exports
                                .values()
                                .filter_map(|(_, served)| served.as_ref());
                            served.any(|served| served.name == *export)
                        }),
                    };
                    if reaches
                        && let Some((machine, other)) = writers.insert(&disk.volume, (id, at))
                        && (machine != id || other != at)
                    {
                        wrong.push(format!(
                            "volume {} is written to by {machine} on n{other} and {id} on n{at}",
                            disk.volume
                        ));
                    }
                }
            }
        }
        for (volume, (_, served)) in servers.iter().flat_map(|server| &server.hardware.exports) {
            let Some(served) = served else { continue };
            let highest = self.served.entry(volume.clone()).or_default();
            if served.generation < *highest {
                wrong.push(format!(
                    "volume {volume} is served again with generation {} after {highest}",
                    served.generation
                ));
            }
            *highest = (*highest).max(served.generation);
        }
        for what in wrong {
            self.violated(what);
        }
    }
}
