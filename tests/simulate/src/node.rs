//! What a server has and does: volumes, domains and exports in memory, as the steps make them. It outlives its agent.

use std::collections::BTreeMap;

use symphony_core::plan::export::{self, Served, ServingFact};
use symphony_core::plan::machine::{self, Domain, DomainFact, Exit, Hypervisor, RunState};
use symphony_core::plan::volume::{self, ObjectState};

/// What there is on it.
#[derive(Default)]
pub struct Hardware {
    /// Volumes.
    pub volumes: BTreeMap<String, ObjectState>,
    /// Machines that it knows.
    pub domains: BTreeMap<String, Domain>,
    /// What is served of volumes, each with its floor, which is durable.
    pub exports: BTreeMap<String, (u64, Option<export::Settings>)>,
}

/// A step that this server can't do now.
pub type Stepped = Result<(), String>;

impl Hardware {
    /// The power goes: nothing runs and nothing is served; what is on disk stays.
    pub fn power_off(&mut self) {
        for domain in self.domains.values_mut() {
            domain.state = RunState::Off(Exit::NeverRan);
            domain.live_volumes.clear();
        }
        for (_, served) in self.exports.values_mut() {
            *served = None;
        }
    }

    /// What a probe of a volume shows.
    pub fn volume_fact(&self, probe: &volume::Probe) -> volume::Fact {
        match probe {
            volume::Probe::Object(object) => volume::Fact::Object {
                object: object.clone(),
                state: self.volumes.get(object).cloned().unwrap_or(ObjectState::Absent),
            },
            volume::Probe::Pool => volume::Fact::Pool {
                reflink: false,
                free_bytes: u64::MAX,
            },
            volume::Probe::Image(digest) => volume::Fact::Image {
                digest: digest.clone(),
                state: volume::ImageState::Absent,
            },
        }
    }

    /// Does a step.
    pub fn volume(&mut self, step: &volume::Step) -> Stepped {
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
                other => return Err(format!("nothing to resize: {other:?}")),
            },
            Step::Publish { object } => {
                if let Some(ObjectState::Partial { size_bytes, .. }) = disk.get(object).cloned() {
                    disk.insert(object.clone(), ObjectState::Present { size_bytes });
                }
            }
            Step::Remove { object } => drop(disk.remove(object)),
            other => return Err(format!("not known here: {other:?}")),
        }
        Ok(())
    }

    /// What a probe of a machine shows.
    pub fn machine_fact(&self, probe: &machine::Probe) -> machine::Fact {
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

    /// Does a step.
    pub fn machine(&mut self, step: &machine::Step) -> Stepped {
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
            return Ok(());
        }
        if matches!(step, Step::Undefine { .. }) {
            self.domains.remove(&object);
            return Ok(());
        }
        let Some(domain) = self.domains.get_mut(&object) else {
            return Err(format!("{object} is not defined"));
        };
        match step {
            Step::WriteSeed { digest, .. } => domain.seed_digest.clone_from(digest),
            Step::Start { boots, .. } | Step::Reboot { boots, .. } => {
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
                domain.live_ports.retain(|live| live != port);
            }
            other => return Err(format!("not known here: {other:?}")),
        }
        Ok(())
    }

    /// What a probe of an export shows.
    pub fn export_fact(&self, probe: &export::Probe) -> export::Fact {
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

    /// Does a step; nothing of a generation that is over, if it `minds` that.
    pub fn export(&mut self, step: &export::Step, minds: bool) -> Stepped {
        let (floor, served) = self.exports.entry(step.object().to_owned()).or_default();
        match step {
            export::Step::Serve { settings, .. } => {
                if minds && settings.generation < *floor {
                    return Err(format!(
                        "generation {} is over; {floor} was heard of",
                        settings.generation
                    ));
                }
                (*floor, *served) = (settings.generation, Some(settings.clone()));
            }
            export::Step::Stop { generation, .. } => (*floor, *served) = ((*floor).max(generation + 1), None),
        }
        Ok(())
    }
}
