//! Changing a machine: new specs, never new states. Every change is one transaction on the record that was looked at.

use std::future::Future;

use symphony_api::v1::{PatchMachine, VolumesThen};
use symphony_api::{Code, v1};
use symphony_control::clock;
use symphony_core::event::Event;
use symphony_core::keys;
use symphony_core::labels::Labels;
use symphony_core::machine::{Machine, MachinePhase, MachineSize, RestartPolicy};
use symphony_core::name::Name;
use symphony_core::plan::machine::Power;
use symphony_core::project::{Resource, Usage};
use symphony_store::{Compare, Store, Txn};

use super::draft::refuse_if_too_long;
use super::room;
use super::wanted::{self, in_words, machine_size};
use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::input::{Check, IfMatch};
use crate::quota::{self, Room};
use crate::reading::Stored;
use crate::routes::{TRIES, again, crowded};

/// Something that is done to a machine.
pub(super) trait Change: Sync {
    /// Whether it may be done to a machine that is being deleted.
    const ALSO_TO_DELETING: bool = false;
    /// Whether it makes the record longer. What does not is never refused for a record's length.
    const GROWS: bool = false;

    /// Changes the machine, and says what else is written with it; nothing when there is nothing to change. `attempt`
    /// counts how often others were faster.
    fn apply(
        &self,
        store: &dyn Store,
        machine: &mut Machine,
        attempt: u32,
    ) -> impl Future<Output = Answer<Option<Txn>>> + Send;
}

/// Does it, on what is there now.
pub(super) async fn change<C: Change>(
    app: &App,
    project: &Name,
    name: &str,
    precondition: IfMatch,
    change: &C,
) -> Answer<Stored<Machine>> {
    for attempt in 0..TRIES {
        let stored = super::find(&*app.store, project, name).await?;
        precondition.check(stored.revision)?;
        if stored.value.meta.is_deleting() && !C::ALSO_TO_DELETING {
            let detail = format!("the machine {name:?} is being deleted");
            return Err(Failure::new(Code::Conflict, detail));
        }
        let mut machine = stored.value.clone();
        let Some(txn) = change.apply(&*app.store, &mut machine, attempt).await? else {
            return Ok(stored);
        };
        if C::GROWS {
            refuse_if_too_long(&machine)?;
        }
        let key = keys::machine(project, &machine.meta.name);
        let txn = txn
            .when(Compare::mod_revision(&key, stored.revision))
            .record(key, &machine)?;
        symphony_crash::point("api.machine.change.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.machine.change.after_commit");
        if result.succeeded {
            return Ok(Stored {
                value: machine,
                revision: result.revision,
            });
        }
        again(precondition)?;
    }
    Err(crowded())
}

/// An event about a machine.
pub(super) fn told(reason: &str, machine: &Machine, message: impl Into<String>) -> Event {
    event(reason, about("machine", &machine.meta), message)
}

/// A new goal.
pub(super) fn raise(machine: &mut Machine) {
    machine.meta.generation = machine.meta.generation.next();
}

/// Whether it stays off by itself: it should run, and its restart policy leaves it as it is.
pub(super) fn rests(machine: &Machine) -> bool {
    let newest = machine.status.observed_generation == machine.meta.generation;
    machine.spec.power == Power::On && newest && machine.status.phase == MachinePhase::Stopped
}

/// Orders power; whether that changed anything.
pub(super) fn order_power(machine: &mut Machine, power: Power) -> Answer<bool> {
    match power {
        Power::On if machine.spec.power == Power::Off || rests(machine) => {
            if machine.spec.volumes.is_empty() {
                let detail = "the machine has no volume to boot from: attach one first";
                return Err(Failure::new(Code::Unprocessable, detail));
            }
            machine.spec.power = Power::On;
            machine.spec.boots += 1;
        }
        Power::Off if machine.spec.power == Power::On => machine.spec.power = Power::Off,
        Power::On | Power::Off => return Ok(false),
    }
    raise(machine);
    Ok(true)
}

/// New labels, power, size or restart policy.
pub(super) struct Patch {
    labels: Option<Labels>,
    power: Option<Power>,
    cpus: Option<u32>,
    memory_bytes: Option<u64>,
    restart: Option<RestartPolicy>,
}

impl Patch {
    /// Checks the values, all of them at once.
    pub(super) fn read(body: &PatchMachine) -> Answer<Self> {
        let spec = body.spec.clone().unwrap_or_default();
        let mut check = Check::default();
        let labels = body.labels.as_ref();
        let labels = labels.map(|labels| check.take("/labels", Labels::try_from(labels.clone())));
        let memory = spec.memory.as_ref();
        let memory = memory.and_then(|memory| check.take("/spec/memory", memory.to_bytes()));
        let memory_bytes = memory.map(|memory| memory.0);
        let (cpus, least_bytes) = wanted::SMALLEST;
        machine_size(
            &mut check,
            spec.cpus.unwrap_or(cpus),
            memory_bytes.unwrap_or(least_bytes),
        );
        check.end()?;
        Ok(Self {
            labels: labels.flatten(),
            power: spec.power.map(wanted::power),
            cpus: spec.cpus,
            memory_bytes,
            restart: spec.restart.map(wanted::restart),
        })
    }

    async fn resize(&self, store: &dyn Store, machine: &mut Machine) -> Answer<Option<(Event, Room)>> {
        let old = machine.spec.size;
        let cpus = self.cpus.unwrap_or(old.cpus());
        let memory_bytes = self.memory_bytes.unwrap_or(old.memory_bytes());
        let wrong = |error| Failure::field(Code::InvalidArgument, "/spec", format!("{error}"));
        let size = MachineSize::new(cpus, memory_bytes).map_err(wrong)?;
        if size == old {
            return Ok(None);
        }
        if machine.spec.power == Power::On {
            let pointer = if cpus == old.cpus() {
                "/spec/memory"
            } else {
                "/spec/cpus"
            };
            let detail = "processors and memory are changed only while the machine is off: stop it first";
            return Err(Failure::field(Code::WrongPower, pointer, detail));
        }
        room::refuse_if_full(store, machine, size).await?;
        let more = Usage::default()
            .with(Resource::Cpus, u64::from(cpus.saturating_sub(old.cpus())))
            .with(Resource::MemoryBytes, memory_bytes.saturating_sub(old.memory_bytes()));
        let quota = quota::to_grow(store, &machine.meta.project, &more).await?;
        machine.spec.size = size;
        raise(machine);
        let message = format!("{} instead of {} were asked for", in_words(size), in_words(old));
        Ok(Some((told("resize-requested", machine, message), quota)))
    }
}

impl Change for Patch {
    async fn apply(&self, store: &dyn Store, machine: &mut Machine, _: u32) -> Answer<Option<Txn>> {
        let mut events = Vec::new();
        if let Some(labels) = self.labels.as_ref().filter(|labels| **labels != machine.meta.labels) {
            machine.meta.labels = labels.clone();
            events.push(told("relabelled", machine, "its labels were changed"));
        }
        let mut txn = Txn::new();
        if let Some((event, quota)) = self.resize(store, machine).await? {
            events.push(event);
            txn = quota.hold(txn);
        }
        if let Some(restart) = self.restart.filter(|restart| *restart != machine.spec.restart) {
            machine.spec.restart = restart;
            raise(machine);
            events.push(told("changed", machine, "its restart policy was changed"));
        }
        if let Some(power) = self.power
            && order_power(machine, power)?
        {
            let (reason, message) = super::orders::in_words(power);
            events.push(told(reason, machine, message));
        }
        if events.is_empty() {
            return Ok(None);
        }
        let txn = events.iter().try_fold(txn, |txn, event| txn.tell(event))?;
        Ok(Some(txn))
    }
}

/// Its end.
pub(super) struct Delete {
    pub(super) volumes: VolumesThen,
}

impl Change for Delete {
    const ALSO_TO_DELETING: bool = true;

    async fn apply(&self, _: &dyn Store, machine: &mut Machine, _: u32) -> Answer<Option<Txn>> {
        if machine.meta.is_deleting() {
            return Ok(None);
        }
        let all = match self.volumes {
            VolumesThen::AsSaid => None,
            VolumesThen::Keep => Some(false),
            VolumesThen::Delete => Some(true),
        };
        if let Some(all) = all {
            for volume in &mut machine.spec.volumes {
                volume.delete_with_machine = all;
            }
        }
        machine.meta.deleting_since = Some(clock::now());
        // A new goal: agents that are still at work for the old one must not win over it.
        raise(machine);
        let event = told("deletion-requested", machine, message(machine));
        Ok(Some(Txn::new().tell(&event)?))
    }
}

fn message(machine: &Machine) -> String {
    let (go, stay): (Vec<_>, Vec<_>) = machine
        .spec
        .volumes
        .iter()
        .partition(|volume| volume.delete_with_machine);
    let names = |volumes: Vec<&symphony_core::machine::Attachment>| {
        let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
        names.join(", ")
    };
    match (go.is_empty(), stay.is_empty()) {
        (true, true) => "its end was asked for".to_owned(),
        (true, false) => format!("its end was asked for; {} stay", names(stay)),
        (false, true) => format!("its end was asked for, with {}", names(go)),
        (false, false) => format!("its end was asked for, with {}; {} stay", names(go), names(stay)),
    }
}

/// How a machine is deleted.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// What becomes of its volumes.
    #[serde(default)]
    #[param(inline)]
    pub(super) volumes: v1::VolumesThen,
}
