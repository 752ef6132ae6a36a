//! A node in memory that does steps as an agent does them, and refuses what an agent would refuse.

use symphony_sdk::driver::machine::{
    Description, Domain, DomainFact, Exit, Fact, Hypervisor, NodeFact, Probe, RunState, Start, Step,
};

/// One machine: a plan sees no more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) known: Option<Known>,
    /// The machine's folder, with the digest of the seed disk in it; empty: none.
    pub(crate) folder: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) description: Description,
    pub(crate) state: RunState,
    pub(crate) boots: u64,
    pub(crate) live_volumes: Vec<String>,
    pub(crate) live_ports: Vec<String>,
}

impl Known {
    fn stop(&mut self, exit: Exit) {
        self.state = RunState::Off(exit);
        self.live_volumes.clear();
        self.live_ports.clear();
    }
}

impl Node {
    pub(crate) const fn empty() -> Self {
        Self {
            known: None,
            folder: None,
        }
    }

    pub(crate) fn facts(&self, probes: &[Probe]) -> Vec<Fact> {
        let fact = |probe: &Probe| match probe {
            Probe::Domain(object) => Fact::Domain(DomainFact {
                object: object.clone(),
                found: self.known.as_ref().map(|known| Domain {
                    description: known.description.clone(),
                    state: known.state,
                    boots: known.boots,
                    live_volumes: known.live_volumes.clone(),
                    live_ports: known.live_ports.clone(),
                    seed_digest: self.folder.clone().unwrap_or_default(),
                }),
                remains: self.known.is_none() && self.folder.is_some(),
            }),
            Probe::Node => Fact::Node(NodeFact {
                hypervisor: Hypervisor::Qemu,
                hugepages: false,
            }),
        };
        probes.iter().map(fact).collect()
    }

    /// What may happen to a machine by itself.
    pub(crate) fn accidents(&self) -> Vec<Self> {
        let Some(known) = &self.known else { return Vec::new() };
        if matches!(known.state, RunState::Off(_)) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for exit in [Exit::Guest, Exit::Crashed, Exit::NeverRan] {
            let mut other = self.clone();
            if let Some(known) = &mut other.known {
                known.stop(exit);
            }
            all.push(other);
        }
        let mut paused = self.clone();
        if let Some(known) = &mut paused.known {
            known.state = RunState::Paused;
        }
        all.push(paused);
        all
    }

    /// Does one step. `cut` says that the agent is killed in the middle of it.
    pub(crate) fn run(&mut self, step: &Step, cut: bool) -> Result<(), String> {
        match step {
            Step::Define(description) => {
                self.folder.get_or_insert_default();
                if !cut {
                    match &mut self.known {
                        Some(known) => known.description = description.clone(),
                        None => self.known = Some(defined(description)),
                    }
                }
                Ok(())
            }
            Step::WriteSeed(seed) => {
                // The digest goes first and comes last.
                self.folder = Some(if cut { String::new() } else { seed.digest.clone() });
                Ok(())
            }
            Step::Undefine(_) => match &self.known {
                Some(known) if !matches!(known.state, RunState::Off(_)) => Err("it runs".to_owned()),
                _ => {
                    self.known = None;
                    if !cut {
                        self.folder = None;
                    }
                    Ok(())
                }
            },
            Step::Start(Start { boots, .. }) => self.start(*boots, cut),
            other => self.on_known(other, cut),
        }
    }

    fn start(&mut self, boots: u64, cut: bool) -> Result<(), String> {
        let seed = self.folder.clone().unwrap_or_default();
        let known = self.known.as_mut().ok_or("it is not known")?;
        if known.state == RunState::Running {
            return Ok(());
        }
        if known.description.seed && seed.is_empty() {
            return Err("it would start without its seed disk".to_owned());
        }
        if matches!(known.state, RunState::Off(_)) {
            let description = &known.description;
            known.live_volumes = description
                .disks
                .iter()
                .map(|device| device.disk.volume.clone())
                .collect();
            known.live_ports = description.ports.iter().map(|device| device.port.id.clone()).collect();
        }
        known.boots = boots;
        // A machine is started standing still, so that nothing that it says is lost.
        known.state = if cut { RunState::Paused } else { RunState::Running };
        Ok(())
    }

    fn on_known(&mut self, step: &Step, cut: bool) -> Result<(), String> {
        if let Step::Reboot(step) = step {
            if let Some(known) = self.known.as_mut().filter(|known| known.boots < step.boots) {
                known.stop(Exit::Ordered);
            }
            return if cut { Ok(()) } else { self.start(step.boots, false) };
        }
        let known = self.known.as_mut().ok_or("it is not known")?;
        let runs = !matches!(known.state, RunState::Off(_));
        match step {
            _ if cut => {}
            Step::Shutdown(_) | Step::Destroy(_) if runs => known.stop(Exit::Ordered),
            Step::Shutdown(_) | Step::Destroy(_) => {}
            _ if !runs => return Err("it is off".to_owned()),
            Step::Resume(_) => known.state = RunState::Running,
            Step::AttachDisk(step) => add(&mut known.live_volumes, &step.device.disk.volume),
            Step::DetachDisk(step) => known.live_volumes.retain(|volume| *volume != step.volume),
            Step::AttachPort(step) => add(&mut known.live_ports, &step.device.port.id),
            Step::DetachPort(step) => known.live_ports.retain(|port| *port != step.port),
            other => return Err(format!("not expected here: {other:?}")),
        }
        Ok(())
    }
}

fn defined(description: &Description) -> Known {
    Known {
        description: description.clone(),
        state: RunState::Off(Exit::NeverRan),
        boots: 0,
        live_volumes: Vec::new(),
        live_ports: Vec::new(),
    }
}

fn add(list: &mut Vec<String>, one: &str) {
    if !list.iter().any(|known| known == one) {
        list.push(one.to_owned());
        list.sort();
    }
}
