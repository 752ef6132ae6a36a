//! One pass over one machine: its volumes and networks are there, its domain is as its life wants it, and what was taken
//! from it is given back.

mod forget;
mod status;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use symphony_core::Timestamp;
use symphony_core::counter::Generation;
use symphony_core::event::{Event, Subject};
use symphony_core::machine::life::{self, Decision, History, Wanted};
use symphony_core::machine::{Machine, MachinePlacement};
use symphony_core::name::Name;
use symphony_core::plan::machine::{Domain, Fact, Intent, Machines, Parts};
use symphony_core::volume::{Volume, VolumePhase};
use symphony_protocol::{Outcome, Seen, Task, Work};

use crate::clock;
use crate::events::about_machine;
use crate::view::{State, Stored};

use super::drive::{Driven, End};
use super::outcome::PassError;
use super::{Context, drive};

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
    let needs = Needs::of(&context.view.read(), context, machine, placement);
    if let Some(missing) = needs.missing.first().filter(|_| needs.must_wait(machine)) {
        status::preparing(context, machine, missing).await?;
        return Err(PassError::Unready(missing.clone()));
    }
    let intent = Intent::of(machine, placement, &needs.parts);
    let one = OneMachine {
        context,
        machine,
        placement,
        lived: Mutex::new((machine.status.history, None)),
    };
    match drive::drive(context, &one, &intent).await {
        Ok(End::Met(_)) if machine.meta.is_deleting() => {
            forget::forget(context, machine).await?;
            Ok(None)
        }
        Ok(End::Met(domain)) => {
            let decision = one.decided(domain.as_ref());
            status::seen(context, machine, &decision, domain.as_ref(), needs.missing.is_empty()).await?;
            if let Some(missing) = needs.missing.into_iter().next() {
                return Err(PassError::Unready(missing));
            }
            Ok(Some(decision.look_again.map_or(LOOK_EVERY, until)))
        }
        Ok(End::Impossible(why)) => {
            status::failed(context, machine, &why).await?;
            Ok(Some(LOOK_EVERY))
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

/// What a machine is made of on its node: what is there, and what is not yet.
pub(super) struct Needs {
    parts: Parts,
    missing: Vec<String>,
}

impl Needs {
    pub(super) fn of(state: &State, context: &Context, machine: &Machine, placement: &MachinePlacement) -> Self {
        let mut needs = Self {
            parts: Parts::default(),
            missing: Vec::new(),
        };
        if machine.meta.is_deleting() {
            return needs;
        }
        for attachment in &machine.spec.volumes {
            let key = (machine.meta.project.clone(), attachment.name.clone());
            let volume = state.volumes.get(&key).map(|volume| &volume.value);
            let volume = volume.filter(|volume| volume.meta.id == attachment.id);
            let place = volume.and_then(|volume| volume.placement.as_ref());
            // One that is being grown is whole meanwhile.
            let is_whole =
                volume.is_some_and(|volume| matches!(volume.status.phase, VolumePhase::Ready | VolumePhase::Resizing));
            match place.filter(|place| is_whole && place.node == placement.node) {
                Some(place) => needs.parts.volumes.push((attachment.clone(), place.pool.clone())),
                None => needs.missing.push(format!("volume {}{}", attachment.name, how(volume))),
            }
        }
        for port in &machine.spec.ports {
            let network = state.network(port.network).map(|network| &network.value);
            let segment = (port.network, placement.node.clone());
            match network.filter(|_| super::is_settled(state, context, &segment)) {
                Some(network) => needs.parts.ports.push((port.clone(), network.spec.subnet)),
                None => needs
                    .missing
                    .push(format!("network {} on node {}", port.network_name, placement.node)),
            }
        }
        needs
    }

    /// Whether nothing can be done for it before all is there: its first start. Later it is seen to with what is there.
    fn must_wait(&self, machine: &Machine) -> bool {
        let boots_from = machine.spec.volumes.first().map(|volume| volume.id);
        let has_boot = self
            .parts
            .volumes
            .iter()
            .any(|(volume, _)| Some(volume.id) == boots_from);
        !machine.meta.is_deleting() && (!machine.was_started() || (boots_from.is_some() && !has_boot))
    }

    /// How much of what it needs is there: another number makes a new attempt worth it.
    pub(super) fn there(&self) -> usize {
        self.parts.volumes.len() + self.parts.ports.len()
    }
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
    lived: Mutex<(History, Option<Decision>)>,
}

impl OneMachine<'_> {
    fn lived(&self) -> MutexGuard<'_, (History, Option<Decision>)> {
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
        let mut lived = self.lived();
        let decision = life::decide(wanted, seen, lived.0, clock::now());
        *lived = (decision.history, Some(decision));
        decision
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

    fn work(&self, task: Task<Machines>) -> Work {
        Work::Machine { task }
    }

    fn seen(outcome: Outcome) -> Option<Seen<Machines>> {
        match outcome {
            Outcome::Machine(seen) => Some(seen),
            _ => None,
        }
    }

    fn adapt(&self, intent: &mut Intent, facts: &[Fact]) {
        if self.machine.meta.is_deleting() {
            return;
        }
        let domain = facts.iter().find_map(|fact| match fact {
            Fact::Domain(fact) if fact.object == intent.object => fact.found.as_ref(),
            _ => None,
        });
        intent.power = self.decided(domain).power;
    }

    fn begins(&self) -> BoxFuture<'_, ()> {
        async {
            let decision = self.lived().1;
            if let Some(decision) = decision.filter(|_| !self.machine.meta.is_deleting()) {
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
