//! A node that is simulated: volumes, domains and networks in memory, as the steps make them.

use std::collections::HashMap;

use symphony_core::counter::{Admission, Tenure};
use symphony_core::plan::Kind;
use symphony_core::plan::export::{self, Served, ServingFact};
use symphony_core::plan::fence::{self, PowerFact};
use symphony_core::plan::machine::{self, Domain, DomainFact, Exit, Hypervisor, RunState};
use symphony_core::plan::network::{self, FoundNetwork, NetworkFact};
use symphony_core::plan::volume::{self, ObjectState};
use symphony_core::power::PowerState;
use symphony_protocol::{Call, Outcome, Readmit, Readmitted, Seen, StepDone, Task, Work};

/// What there is on it.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) volumes: HashMap<String, ObjectState>,
    pub(crate) domains: HashMap<String, Domain>,
    pub(crate) networks: HashMap<String, FoundNetwork>,
    /// What is served of volumes, each with its floor.
    pub(crate) exports: HashMap<String, (u64, Option<export::Settings>)>,
    /// How often a machine was started.
    pub(crate) starts: u64,
    /// How often a port was taken from one that ran.
    pub(crate) unplugged: u64,
    /// What it was last admitted with; nothing for an agent that knows nothing of that.
    pub(crate) admission: Option<Admission>,
    /// Whether it never says that it has settled.
    pub(crate) never_settles: bool,
    /// What it was told to keep, each time.
    pub(crate) readmits: Vec<Readmit>,
    /// What it can cut the power of, by plug.
    pub(crate) supplies: HashMap<String, Supply>,
    /// How often it was told to cut a power.
    pub(crate) cuts: u64,
    /// What happens when a power is cut.
    pub(crate) on_cut: Option<Box<dyn Fn() + Send>>,
    /// Under what it was called for machines.
    pub(crate) stamps: Vec<(String, Tenure, Admission)>,
}

/// What feeds another node.
pub(crate) enum Supply {
    /// Does as it is told.
    Works { on: bool },
    /// Says that it is on, whatever it is told.
    Stuck,
    /// Says that it is off when it is asked for so many times, and on afterwards: somebody turned it on between two looks.
    OffFor { looks: std::cell::Cell<u32> },
}

impl Supply {
    fn state(&self) -> PowerState {
        if let Self::OffFor { looks } = self {
            let left = looks.get();
            looks.set(left.saturating_sub(1));
            return if left > 0 { PowerState::Off } else { PowerState::On };
        }
        match self {
            Self::Works { on: false } => PowerState::Off,
            Self::Works { on: true } | Self::Stuck | Self::OffFor { .. } => PowerState::On,
        }
    }
}

const fn step_device(fence::Step::Cut { device }: &fence::Step) -> u32 {
    *device
}

impl Node {
    pub(crate) fn called(&mut self, call: &Call) -> Outcome {
        if let Some(own) = self.admission {
            assert_eq!(call.admission, own, "a call from before: {call:?}");
        }
        if call.object.starts_with("machine/") {
            let stamp = (call.object.clone(), call.tenure, call.admission);
            let before = self.stamps.iter().filter(|(object, ..)| *object == call.object);
            assert!(
                before.map(|(_, tenure, _)| *tenure).max() <= Some(call.tenure),
                "an old tenure"
            );
            self.stamps.push(stamp);
        }
        self.run(&call.work)
    }

    pub(crate) fn readmit(&mut self, readmit: &Readmit) -> Option<Readmitted> {
        self.readmits.push(readmit.clone());
        if self.never_settles {
            return None;
        }
        let is_kept = |id: &String| {
            readmit
                .keep
                .iter()
                .any(|(object, _)| *object == format!("machine/{id}"))
        };
        let doomed: Vec<String> = self.domains.keys().filter(|id| !is_kept(id)).cloned().collect();
        let doomed = if readmit.confirmed { doomed } else { Vec::new() };
        for id in &doomed {
            self.domains.remove(id);
        }
        self.admission = Some(readmit.admission);
        Some(Readmitted {
            admission: readmit.admission,
            destroyed: doomed.iter().map(|id| format!("machine/{id}")).collect(),
        })
    }

    pub(crate) fn run(&mut self, work: &Work) -> Outcome {
        match work {
            Work::Volume { task, .. } => Outcome::Volume(run(self, task, Self::volume, Self::volume_fact)),
            Work::Machine { task, .. } => Outcome::Machine(run(self, task, Self::machine, Self::machine_fact)),
            Work::Network { task } => Outcome::Network(run(self, task, Self::network, Self::network_fact)),
            Work::Export { task, .. } => Outcome::Export(run(self, task, Self::export, Self::export_fact)),
            Work::Fence { devices, task } => {
                let plug = |number: u32| devices[number as usize].options["plug"].clone();
                let act = |node: &mut Self, step: &fence::Step| node.cut(&plug(step_device(step)));
                let fact = |node: &Self, fence::Probe::Power(number): &fence::Probe| {
                    let state = node
                        .supplies
                        .get(&plug(*number))
                        .map_or(PowerState::Unknown, Supply::state);
                    fence::Fact::Power(PowerFact {
                        device: *number,
                        state,
                        said: String::new(),
                    })
                };
                Outcome::Fence(run(self, task, act, fact))
            }
            Work::Image { .. } => panic!("not for images: {work:?}"),
        }
    }

    fn cut(&mut self, plug: &str) {
        self.cuts += 1;
        if let Some(Supply::Works { on }) = self.supplies.get_mut(plug) {
            *on = false;
        }
        if let Some(on_cut) = &self.on_cut {
            on_cut();
        }
    }

    /// What is there after the power came back.
    pub(crate) fn reboot(&mut self) {
        self.networks.clear();
        for domain in self.domains.values_mut() {
            domain.state = RunState::Off(Exit::NeverRan);
            domain.live_volumes.clear();
            domain.live_ports.clear();
        }
    }

    fn volume_fact(&self, probe: &volume::Probe) -> volume::Fact {
        match probe {
            volume::Probe::Object(object) => volume::Fact::Object {
                object: object.clone(),
                state: self.volumes.get(object).cloned().unwrap_or(ObjectState::Absent),
            },
            volume::Probe::Pool => volume::Fact::Pool {
                reflink: false,
                free_bytes: u64::MAX,
            },
            volume::Probe::Image(_) => panic!("these volumes have no image"),
        }
    }

    fn volume(&mut self, step: &volume::Step) {
        use volume::Step;
        let disk = &mut self.volumes;
        match step {
            Step::Allocate { object, size_bytes } => {
                let (size_bytes, written) = (*size_bytes, None);
                disk.insert(object.clone(), ObjectState::Partial { size_bytes, written });
            }
            Step::Resize { object, size_bytes } => match disk.get_mut(object) {
                Some(ObjectState::Present { size_bytes: now } | ObjectState::Partial { size_bytes: now, .. }) => {
                    *now = *size_bytes;
                }
                other => panic!("nothing to resize: {other:?}"),
            },
            Step::Publish { object } => {
                if let Some(ObjectState::Partial { size_bytes, .. }) = disk.get(object).cloned() {
                    disk.insert(object.clone(), ObjectState::Present { size_bytes });
                }
            }
            Step::Remove { object } => drop(disk.remove(object)),
            other => panic!("not expected here: {other:?}"),
        }
    }

    fn machine_fact(&self, probe: &machine::Probe) -> machine::Fact {
        match probe {
            machine::Probe::Domain(object) => machine::Fact::Domain(DomainFact {
                object: object.clone(),
                found: self.domains.get(object).cloned(),
                remains: false,
            }),
            machine::Probe::Node => machine::Fact::Node {
                hypervisor: Hypervisor::Qemu,
                hugepages: false,
            },
        }
    }

    fn machine(&mut self, step: &machine::Step) {
        use machine::Step;
        let object = step.object().to_owned();
        if let Step::Define(description) = step {
            let known = self.domains.remove(&object);
            let domain = Domain {
                description: (**description).clone(),
                state: known
                    .as_ref()
                    .map_or(RunState::Off(Exit::NeverRan), |known| known.state),
                boots: known.as_ref().map_or(0, |known| known.boots),
                live_volumes: known
                    .as_ref()
                    .map(|known| known.live_volumes.clone())
                    .unwrap_or_default(),
                live_ports: known.as_ref().map(|known| known.live_ports.clone()).unwrap_or_default(),
                seed_digest: known.map(|known| known.seed_digest).unwrap_or_default(),
            };
            self.domains.insert(object, domain);
            return;
        }
        if matches!(step, Step::Undefine { .. }) {
            self.domains.remove(&object);
            return;
        }
        let Some(domain) = self.domains.get_mut(&object) else {
            panic!("{object} is not defined: {step:?}");
        };
        match step {
            Step::WriteSeed { digest, .. } => domain.seed_digest.clone_from(digest),
            Step::Start { boots, .. } | Step::Reboot { boots, .. } => {
                self.starts += 1;
                domain.boots = *boots;
                domain.state = RunState::Running;
                let description = &domain.description;
                domain.live_volumes = description
                    .disks
                    .iter()
                    .map(|device| device.disk.volume.clone())
                    .collect();
                domain.live_ports = description.ports.iter().map(|device| device.port.id.clone()).collect();
            }
            Step::Shutdown { .. } | Step::Destroy { .. } => {
                domain.state = RunState::Off(Exit::Ordered);
                domain.live_volumes.clear();
                domain.live_ports.clear();
            }
            Step::AttachDisk { device, .. } => domain.live_volumes.push(device.disk.volume.clone()),
            Step::DetachDisk { volume, .. } => domain.live_volumes.retain(|live| live != volume),
            Step::AttachPort { device, .. } => domain.live_ports.push(device.port.id.clone()),
            Step::DetachPort { port, .. } => {
                self.unplugged += 1;
                domain.live_ports.retain(|live| live != port);
            }
            other => panic!("not expected here: {other:?}"),
        }
    }

    fn export_fact(&self, probe: &export::Probe) -> export::Fact {
        let export::Probe::Serving(object) = probe;
        let (floor, served) = self.exports.get(object).cloned().unwrap_or_default();
        export::Fact::Serving(ServingFact {
            object: object.clone(),
            floor,
            served: served.map(|settings| Served {
                settings,
                port: 10_809,
                connected: false,
            }),
        })
    }

    fn export(&mut self, step: &export::Step) {
        let (floor, served) = self.exports.entry(step.object().to_owned()).or_default();
        match step {
            export::Step::Serve { settings, .. } => {
                assert!(settings.generation >= *floor, "{settings:?} is over; {floor}");
                (*floor, *served) = (settings.generation, Some(settings.clone()));
            }
            export::Step::Stop { generation, .. } => (*floor, *served) = ((*floor).max(generation + 1), None),
        }
    }

    fn network_fact(&self, probe: &network::Probe) -> network::Fact {
        let network::Probe::Network(object) = probe;
        network::Fact::Network(NetworkFact {
            object: object.clone(),
            found: self.networks.get(object).cloned(),
        })
    }

    fn network(&mut self, step: &network::Step) {
        use network::Step;
        if let Step::Remove { object } = step {
            self.networks.remove(object);
            return;
        }
        let found = self.networks.entry(step.object().to_owned()).or_default();
        match step {
            Step::MakeBridge(settings) => found.bridge = Some(settings.clone()),
            Step::MakeGateway(settings) => found.gateway = Some(settings.clone()),
            Step::ServeDhcp(settings) => found.dhcp = Some(settings.clone()),
            Step::SetNat(settings) => found.nat = Some(settings.clone()),
            Step::SetFilter(settings) => found.filter = Some(settings.clone()),
            Step::SetRates(settings) => found.rates = Some(settings.clone()),
            Step::MakeTunnel(settings) => found.tunnel = Some(settings.clone()),
            Step::SetPeers(settings) => found.peers = Some(settings.clone()),
            Step::DropTunnel { .. } => (found.tunnel, found.peers) = (None, None),
            Step::Remove { .. } => {}
        }
    }
}

fn run<K: Kind>(
    node: &mut Node,
    task: &Task<K>,
    act: impl Fn(&mut Node, &K::Step),
    fact: impl Fn(&Node, &K::Probe) -> K::Fact,
) -> Seen<K> {
    let (probes, steps) = match task {
        Task::Facts { probes } => (probes, [].as_slice()),
        Task::Steps { plan, then } => (then, plan.steps()),
    };
    let done = |step: &K::Step| {
        act(node, step);
        StepDone {
            action: K::action(step).to_owned(),
            took_ms: 1,
        }
    };
    let done = steps.iter().map(done).collect();
    Seen {
        facts: probes.as_slice().iter().map(|probe| fact(node, probe)).collect(),
        done,
    }
}
