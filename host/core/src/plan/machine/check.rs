//! What the host takes of a machine driver's plan: only this machine, only its volumes and ports as they were given, and
//! nothing that goes against what is wanted.

use super::super::{Goal, PlanFault};
use super::{
    Description, Disk, DiskDevice, Domain, Fact, Intent, Port, Power, RunState, SEED_FILE_BYTES_MAX, SEED_FILES_MAX,
    Step,
};

/// What the facts say of the machine: nothing when there is no such fact.
fn seen<'a>(intent: &Intent, facts: &'a [Fact]) -> Option<(Option<&'a Domain>, bool)> {
    facts.iter().find_map(|fact| match fact {
        Fact::Domain(fact) if fact.object == intent.object => Some((fact.found.as_ref(), fact.remains)),
        _ => None,
    })
}

/// Checks each step.
pub(super) fn steps(intent: &Intent, facts: &[Fact], steps: &[Step]) -> Result<(), PlanFault> {
    let domain = seen(intent, facts).and_then(|(domain, _)| domain);
    for (position, step) in steps.iter().enumerate() {
        if step.object() != intent.object {
            return Err(foreign(position, step.object()));
        }
        parts(intent, position, step)?;
        if is_against(intent, domain, step) {
            return Err(PlanFault::AgainstIntent {
                step: position,
                action: step.action(),
            });
        }
    }
    Ok(())
}

/// Every volume, port and size in a step is one that the intent gives, unchanged.
fn parts(intent: &Intent, position: usize, step: &Step) -> Result<(), PlanFault> {
    match step {
        Step::Define(description) => defined(intent, position, description),
        Step::AttachDisk { device, .. } => own_disk(intent, position, &device.disk),
        Step::AttachPort { device, .. } => own_port(intent, position, &device.port),
        Step::WriteSeed { files, .. } => {
            let is_file = |name: &str| matches!(name, "user-data" | "meta-data" | "network-config" | "vendor-data");
            match files.iter().find(|file| !is_file(&file.name)) {
                Some(file) => Err(foreign(position, &file.name)),
                None if files.len() > SEED_FILES_MAX => Err(PlanFault::TooManySteps(files.len())),
                None => files
                    .iter()
                    .find(|file| file.content.len() > SEED_FILE_BYTES_MAX)
                    .map_or(Ok(()), |file| {
                        Err(PlanFault::WrongSize {
                            step: position,
                            bytes: file.content.len() as u64,
                        })
                    }),
            }
        }
        Step::Start { boots, .. } | Step::Reboot { boots, .. } if *boots != intent.boots => {
            Err(PlanFault::AgainstIntent {
                step: position,
                action: step.action(),
            })
        }
        _ => Ok(()),
    }
}

fn defined(intent: &Intent, position: usize, description: &Description) -> Result<(), PlanFault> {
    for device in &description.disks {
        own_disk(intent, position, &device.disk)?;
    }
    for device in &description.ports {
        own_port(intent, position, &device.port)?;
    }
    if description.memory_bytes != intent.memory_bytes {
        return Err(PlanFault::WrongSize {
            step: position,
            bytes: description.memory_bytes,
        });
    }
    if description.cpus != intent.cpus || has_doubles(&description.disks) {
        return Err(PlanFault::AgainstIntent {
            step: position,
            action: "define",
        });
    }
    Ok(())
}

fn has_doubles(disks: &[DiskDevice]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !disks.iter().all(|device| seen.insert(&device.disk.volume))
}

fn own_disk(intent: &Intent, position: usize, disk: &Disk) -> Result<(), PlanFault> {
    if intent.disks.contains(disk) {
        Ok(())
    } else {
        Err(foreign(position, &disk.volume))
    }
}

fn own_port(intent: &Intent, position: usize, port: &Port) -> Result<(), PlanFault> {
    if intent.ports.contains(port) {
        Ok(())
    } else {
        Err(foreign(position, &port.id))
    }
}

/// Whether a step would undo what is wanted. A machine that should run is put off only for a boot that was ordered.
fn is_against(intent: &Intent, domain: Option<&Domain>, step: &Step) -> bool {
    let wants_on = intent.goal == Goal::Present && intent.power == Power::On;
    let boot_is_due = domain.is_some_and(|domain| domain.boots < intent.boots);
    match step {
        Step::Undefine { .. } => intent.goal == Goal::Present,
        Step::Define(_) | Step::WriteSeed { .. } | Step::AttachDisk { .. } | Step::AttachPort { .. } => {
            intent.goal == Goal::Absent
        }
        Step::Start { .. } | Step::Resume { .. } => !wants_on,
        Step::Reboot { .. } => !wants_on || !boot_is_due,
        Step::Shutdown { .. } | Step::Destroy { .. } => wants_on && !boot_is_due,
        Step::DetachDisk { volume, .. } => {
            intent.goal == Goal::Present && intent.disks.iter().any(|disk| disk.volume == *volume)
        }
        Step::DetachPort { port, .. } => intent.goal == Goal::Present && intent.ports.iter().any(|own| own.id == *port),
    }
}

fn foreign(step: usize, object: &str) -> PlanFault {
    PlanFault::ForeignObject {
        step,
        object: object.to_owned(),
    }
}

/// Whether the machine is as it should be, whatever the driver says.
pub(super) fn met(intent: &Intent, facts: &[Fact]) -> Option<Option<Domain>> {
    let (domain, remains) = seen(intent, facts)?;
    match (intent.goal, domain) {
        (Goal::Absent, None) => (!remains).then_some(None),
        (Goal::Absent, Some(_)) | (Goal::Present, None) => None,
        (Goal::Present, Some(domain)) => is_as_wanted(intent, domain).then(|| Some(domain.clone())),
    }
}

fn is_as_wanted(intent: &Intent, domain: &Domain) -> bool {
    let description = &domain.description;
    let same_disks = intent.disks.len() == description.disks.len()
        && description
            .disks
            .iter()
            .all(|device| intent.disks.contains(&device.disk));
    let own_port = |port: &String| intent.ports.iter().any(|own| own.id == *port);
    // A hypervisor that has no ports is not asked for them; one that has some has these and no others.
    let same_ports = description
        .ports
        .iter()
        .all(|device| intent.ports.contains(&device.port))
        && domain.live_ports.iter().all(own_port);
    let defined =
        description.cpus == intent.cpus && description.memory_bytes == intent.memory_bytes && same_disks && same_ports;
    let attached = |wanted: usize, live: &[String], is_own: &dyn Fn(&String) -> bool| {
        live.len() == wanted && live.iter().all(is_own)
    };
    let runs = match intent.power {
        Power::Off => matches!(domain.state, RunState::Off(_)),
        Power::On => {
            let volume = |id: &String| intent.disks.iter().any(|disk| disk.volume == *id);
            domain.state == RunState::Running
                && domain.boots >= intent.boots
                && attached(intent.disks.len(), &domain.live_volumes, &volume)
        }
    };
    defined && runs
}

#[cfg(test)]
mod tests;
