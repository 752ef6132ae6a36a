//! One pass over one machine: its volumes and networks are there, its domain is as its life wants it, and what was taken
//! from it is given back.

mod forget;
mod status;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use symphony_core::Timestamp;
use symphony_core::counter::{Admission, Generation, Tenure};
use symphony_core::event::{Event, Subject};
use symphony_core::export::Writer;
use symphony_core::machine::life::{self, Decision, History, Wanted};
use symphony_core::machine::{Machine, MachinePlacement};
use symphony_core::name::Name;
use symphony_core::plan::machine::{DiskSource, Domain, Fact, Intent, Machines, Parts, Power, RunState};
use symphony_core::volume::{Placement, Volume, VolumePhase};
use symphony_protocol::{ExportAccess, Outcome, Seen, Task, Work};

use crate::clock;
use crate::events::about_machine;
use crate::view::{State, Stored};

use super::drive::{Driven, End};
use super::outcome::PassError;
use super::{Context, drive, exports};

/// How often a machine is looked at of which nothing is heard: an agent tells when one ends, and this is for what it does
/// not tell.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Brings one machine to what its spec says; answers when to look at it again.
pub(super) async fn pass(context: &Context, stored: Arc<Stored<Machine>>) -> Result<Option<Duration>, PassError> {
    let machine = &stored.value;
    let Some(placement) = &machine.placement else {
        if machine.meta.is_deleting() {
            forget::forget(context, machine).await?;
        }
        return Ok(None);
    };
    let (needs, admission) = {
        let state = context.view.read();
        // Placement and admission of one moment: what was decided on before a fence is not done after it.
        let key = (machine.meta.project.clone(), machine.meta.name.clone());
        if state
            .machines
            .get(&key)
            .is_none_or(|now| now.revision != stored.revision)
        {
            return Err(PassError::Raced);
        }
        let needs = Needs::of(&state, context, machine, placement);
        (needs, state.admission(&placement.node))
    };
    if let Some(missing) = needs.missing.first().filter(|_| !machine.was_started()) {
        status::preparing(context, machine, missing).await?;
        return Err(PassError::Unready(missing.what.clone()));
    }
    let intent = Intent::of(machine, placement, &needs.parts);
    let one = OneMachine {
        context,
        machine,
        placement,
        admission,
        exports: exports::access(&context.view.read(), machine, &placement.node),
        missing: &needs.missing,
        lived: Mutex::new(Lived {
            history: machine.status.history,
            decision: None,
            was_told_to_start: false,
        }),
    };
    match drive::drive(context, &one, &intent).await {
        Ok(End::Met(_)) if machine.meta.is_deleting() => {
            forget::forget(context, machine).await?;
            Ok(None)
        }
        Ok(End::Met(_)) if machine.status.moving => {
            crate::fence::release(context, machine).await?;
            Ok(None)
        }
        Ok(End::Met(domain)) => {
            let decision = one.decided(domain.as_ref());
            let is_whole = needs.missing.is_empty() && !machine.waits_for_room();
            status::seen(context, machine, &decision, domain.as_ref(), is_whole).await?;
            if let Some(missing) = needs.missing.into_iter().next() {
                return Err(PassError::Unready(missing.what));
            }
            Ok(Some(decision.look_again.map_or(LOOK_EVERY, until)))
        }
        Ok(End::Impossible(why)) => {
            status::failed(context, machine, &why).await?;
            Err(PassError::Refused(why))
        }
        Err(error) => {
            status::stuck(context, machine, &error).await?;
            Err(error)
        }
    }
}

fn until(then: Timestamp) -> Duration {
    let left = then.duration_since(clock::now());
    Duration::try_from(left).unwrap_or_default().min(LOOK_EVERY)
}

/// What a machine is made of on its node, and what of it is not ready.
pub(super) struct Needs {
    /// All that can be described: what is not ready too, for a machine may have it already.
    parts: Parts,
    missing: Vec<Missing>,
}

/// Something that is not ready.
pub(super) struct Missing {
    /// The volume's or the port's id.
    id: String,
    /// For a person.
    what: String,
}

impl Needs {
    pub(super) fn of(state: &State, context: &Context, machine: &Machine, placement: &MachinePlacement) -> Self {
        let mut needs = Self {
            parts: Parts::default(),
            missing: Vec::new(),
        };
        if machine.is_leaving() {
            return needs;
        }
        for attachment in &machine.spec.volumes {
            let key = (machine.meta.project.clone(), attachment.name.clone());
            let volume = state.volumes.get(&key).map(|volume| &volume.value);
            let volume = volume.filter(|volume| volume.meta.id == attachment.id);
            // One that is being grown is whole meanwhile.
            let is_ready = |volume: &Volume| matches!(volume.status.phase, VolumePhase::Ready | VolumePhase::Resizing);
            let place = volume.and_then(|volume| volume.placement.as_ref());
            let source = volume.zip(place).map(|(volume, place)| {
                let writer = Writer {
                    machine: machine.meta.id,
                    node: placement.node.clone(),
                };
                source(state, context, volume, place, writer)
            });
            let (source, why) = source.unwrap_or_default();
            if let Some(source) = source {
                needs.parts.volumes.push((attachment.clone(), source));
            }
            let why = if volume.is_some_and(is_ready) && place.is_some() {
                why
            } else {
                Some(how(volume))
            };
            if let Some(why) = why {
                needs.lacks(attachment.id.to_string(), format!("volume {}{why}", attachment.name));
            }
        }
        for port in &machine.spec.ports {
            let network = state.network(port.network).map(|network| &network.value);
            if let Some(network) = network {
                needs.parts.ports.push((port.clone(), network.spec.subnet));
            }
            let segment = (port.network, placement.node.clone());
            if network.is_none() || !super::is_settled(state, context, &segment) {
                let what = format!("network {} on node {}", port.network_name, placement.node);
                needs.lacks(port.id.to_string(), what);
            }
        }
        needs
    }

    fn lacks(&mut self, id: String, what: String) {
        self.missing.push(Missing { id, what });
    }

    /// How much of what it needs is there: another number makes a new attempt worth it.
    pub(super) fn there(&self) -> usize {
        let parts = self.parts.volumes.len() + self.parts.ports.len();
        parts.saturating_sub(self.missing.len())
    }
}

/// How a machine gets at a volume, as far as that can be said; and why it can't now.
fn source(
    state: &State,
    context: &Context,
    volume: &Volume,
    place: &Placement,
    writer: Writer,
) -> (Option<DiskSource>, Option<String>) {
    let export = state.exports.get(&volume.meta.id).map(|export| &export.value);
    if place.node == writer.node {
        let pool = place.pool.to_string();
        // Whoever has it there lets go of it first.
        let other = export.and_then(|export| export.writer.as_ref());
        let why = other.map(|other| format!(" (it is still served to node {})", other.node));
        return (Some(DiskSource::Local { pool }), why);
    }
    let served = export.filter(|export| export.writer.as_ref() == Some(&writer));
    let source = served.map(|export| DiskSource::Remote {
        export: export.name(),
        node: place.node.to_string(),
    });
    let is_served = exports::is_served(state, context, volume, &writer);
    let why = format!(" (node {} does not serve it yet)", place.node);
    (source, (!is_served).then_some(why))
}

/// What is known of a volume that is not ready.
fn how(volume: Option<&Volume>) -> String {
    match volume.and_then(|volume| volume.status.conditions.of("ready")) {
        Some(ready) if !ready.message.is_empty() => format!(" ({})", ready.message),
        _ => String::new(),
    }
}

struct OneMachine<'a> {
    context: &'a Context,
    machine: &'a Machine,
    placement: &'a MachinePlacement,
    admission: Admission,
    exports: Vec<ExportAccess>,
    missing: &'a [Missing],
    lived: Mutex<Lived>,
}

/// What happened to a machine during a pass.
struct Lived {
    history: History,
    decision: Option<Decision>,
    /// It was off, and is to be started by the next plan.
    was_told_to_start: bool,
}

impl OneMachine<'_> {
    fn lived(&self) -> MutexGuard<'_, Lived> {
        self.lived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wanted of the domain, as it was seen.
    fn decided(&self, domain: Option<&Domain>) -> Decision {
        let spec = &self.machine.spec;
        let wanted = Wanted {
            power: spec.power,
            boots: spec.boots,
            restart: spec.restart,
        };
        let seen = domain.map(|domain| life::Seen {
            state: domain.state,
            boots: domain.boots,
        });
        let is_off = domain.is_none_or(|domain| matches!(domain.state, RunState::Off(_)));
        let mut lived = self.lived();
        if is_off && lived.was_told_to_start {
            // It was started by this pass and is off again: another death, with a pause of its own.
            lived.history.not_before = None;
        }
        let decision = life::decide(wanted, seen, lived.history, clock::now());
        *lived = Lived {
            history: decision.history,
            decision: Some(decision),
            was_told_to_start: is_off && decision.power == Power::On,
        };
        decision
    }

    /// Leaves out what is not ready, unless the machine has it already: nothing is taken from it because its node is being
    /// looked at.
    fn keep_what_it_has(&self, intent: &mut Intent, domain: Option<&Domain>) {
        let is_missing = |id: &str| self.missing.iter().any(|missing| missing.id == id);
        let has = |id: &str| {
            domain.is_some_and(|domain| {
                let disks = domain.description.disks.iter().map(|device| &device.disk.volume);
                let ports = domain.description.ports.iter().map(|device| &device.port.id);
                disks.chain(ports).any(|own| own == id)
            })
        };
        intent
            .disks
            .retain(|disk| !is_missing(&disk.volume) || has(&disk.volume));
        intent.ports.retain(|port| !is_missing(&port.id) || has(&port.id));
    }
}

impl Driven for OneMachine<'_> {
    type Kind = Machines;

    fn node(&self) -> &Name {
        &self.placement.node
    }

    fn id(&self) -> String {
        self.machine.meta.id.to_string()
    }

    fn generation(&self) -> Generation {
        self.machine.meta.generation
    }

    fn stamp(&self) -> Option<(Tenure, Admission)> {
        Some((self.machine.status.tenure, self.admission))
    }

    fn work(&self, task: Task<Machines>) -> Work {
        Work::Machine {
            exports: self.exports.clone(),
            task,
        }
    }

    fn seen(outcome: Outcome) -> Option<Seen<Machines>> {
        match outcome {
            Outcome::Machine(seen) => Some(seen),
            _ => None,
        }
    }

    fn adapt(&self, intent: &mut Intent, facts: &[Fact]) -> Result<(), PassError> {
        if self.machine.is_leaving() {
            return Ok(());
        }
        let domain = facts.iter().find_map(|fact| match fact {
            Fact::Domain(fact) if fact.object == intent.object => fact.found.as_ref(),
            _ => None,
        });
        let decision = self.decided(domain);
        intent.power = decision.power;
        self.keep_what_it_has(intent, domain);
        if self.lived().was_told_to_start {
            // It starts with all that it should have, or not yet.
            if let Some(missing) = self.missing.first() {
                return Err(PassError::Unready(missing.what.clone()));
            }
            if self.machine.waits_for_room() {
                return Err(PassError::Unready("room for its new size".to_owned()));
            }
        }
        Ok(())
    }

    fn lives(&self) -> bool {
        true
    }

    fn begins(&self) -> BoxFuture<'_, ()> {
        async {
            let decision = self.lived().decision;
            if let Some(decision) = decision.filter(|_| !self.machine.is_leaving()) {
                status::begins(self.context, self.machine, &decision).await;
            }
        }
        .boxed()
    }

    fn subject(&self) -> Subject {
        about_machine(self.machine)
    }

    fn story(&self, step: Event) -> Option<Event> {
        Some(step)
    }
}
