//! A node in memory that does steps as an agent with the simulated hypervisor does them, and refuses what it would refuse.

use symphony_sdk::driver::machine::{Domain, DomainFact, Exit, Fact, Hypervisor, NodeFact, Probe, RunState, Step};

/// One machine: a plan sees no more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) known: Option<Domain>,
    pub(crate) folder: bool,
}

impl Node {
    pub(crate) const fn empty() -> Self {
        Self {
            known: None,
            folder: false,
        }
    }

    pub(crate) fn facts(&self, probes: &[Probe]) -> Vec<Fact> {
        let fact = |probe: &Probe| match probe {
            Probe::Domain(object) => Fact::Domain(DomainFact {
                object: object.clone(),
                found: self.known.clone(),
                remains: self.known.is_none() && self.folder,
            }),
            Probe::Node => Fact::Node(NodeFact {
                hypervisor: Hypervisor::Test,
                hugepages: false,
            }),
        };
        probes.iter().map(fact).collect()
    }

    /// The same node with its machine in another state, when it runs.
    pub(crate) fn with_state(&self, state: RunState) -> Option<Self> {
        let mut other = self.clone();
        let known = other.known.as_mut()?;
        if matches!(known.state, RunState::Off(_)) {
            return None;
        }
        known.state = state;
        if matches!(state, RunState::Off(_)) {
            known.live_volumes.clear();
        }
        Some(other)
    }

    /// Does one step. `cut` says that the agent is killed in the middle of it.
    pub(crate) fn run(&mut self, step: &Step, cut: bool) -> Result<(), String> {
        match step {
            Step::Define(description) => {
                self.folder = true;
                match &mut self.known {
                    _ if cut => {}
                    Some(known) => known.description = description.clone(),
                    None => {
                        self.known = Some(Domain {
                            description: description.clone(),
                            state: RunState::Off(Exit::NeverRan),
                            boots: 0,
                            live_volumes: Vec::new(),
                            live_ports: Vec::new(),
                            seed_digest: String::new(),
                        });
                    }
                }
                return Ok(());
            }
            Step::Undefine(_) => {
                if self
                    .known
                    .as_ref()
                    .is_some_and(|known| !matches!(known.state, RunState::Off(_)))
                {
                    return Err("it runs".to_owned());
                }
                self.known = None;
                self.folder = cut;
                return Ok(());
            }
            _ => {}
        }
        let known = self.known.as_mut().ok_or("it is not known")?;
        let start = |known: &mut Domain, boots| {
            let disks = &known.description.disks;
            known.live_volumes = disks.iter().map(|device| device.disk.volume.clone()).collect();
            (known.state, known.boots) = (RunState::Running, boots);
        };
        let stop = |known: &mut Domain| {
            known.live_volumes.clear();
            known.state = RunState::Off(Exit::Ordered);
        };
        let runs = !matches!(known.state, RunState::Off(_));
        match step {
            Step::Start(step) if !runs && !cut => start(known, step.boots),
            Step::Shutdown(_) | Step::Destroy(_) if runs && !cut => stop(known),
            Step::Reboot(step) if known.boots < step.boots => {
                stop(known);
                if !cut {
                    start(known, step.boots);
                }
            }
            Step::Resume(_) if runs && !cut => known.state = RunState::Running,
            Step::Start(_) | Step::Shutdown(_) | Step::Destroy(_) | Step::Reboot(_) | Step::Resume(_) => {}
            other => return Err(format!("the simulated hypervisor can't do that: {other:?}")),
        }
        Ok(())
    }
}
