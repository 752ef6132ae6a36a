//! The steps from what the hypervisor knows to what is wanted.

use symphony_sdk::driver::Refusal;
use symphony_sdk::driver::machine::{
    AttachDisk, AttachPort, DetachDisk, DetachPort, Domain, Intent, NodeFact, Power, Reboot, RunState, Shutdown, Start,
    Step,
};

use crate::describe::{self, describe};
use crate::seed::Seed;
use crate::{Seen, lacks};

/// Nothing is to be left. Deleting a machine cuts it off: who wants its guest to finish stops it first.
pub(crate) fn absent(intent: &Intent, seen: &Seen<'_>) -> Vec<Step> {
    let object = || intent.object.clone();
    let undefine = Step::Undefine(object());
    match seen.domain.map(|domain| domain.state) {
        None if seen.remains => vec![undefine],
        None => Vec::new(),
        Some(RunState::Off(_)) => vec![undefine],
        Some(RunState::Running | RunState::Paused) => vec![Step::Destroy(object()), undefine],
    }
}

/// It is to be there, as described, and on or off.
pub(crate) fn present(intent: &Intent, seen: &Seen<'_>) -> Result<Vec<Step>, Refusal> {
    let node = seen.node.ok_or_else(|| lacks("what it runs machines with"))?;
    let wanted = describe(intent, node)?;
    let mut steps = Vec::new();
    // What the hypervisor knows comes first: a running machine is not touched by it, and the next start takes all of it.
    if seen.domain.is_none_or(|domain| domain.description != wanted) {
        steps.push(Step::Define(wanted));
    }
    if let Some(first_boot) = &intent.first_boot {
        let seed = Seed::compose(first_boot, &intent.ports)?;
        if seen.domain.is_none_or(|domain| domain.seed_digest != seed.digest) {
            steps.push(seed.write(&intent.object));
        }
    }
    match intent.power {
        Power::Off => steps.extend(put_off(intent, seen.domain)),
        Power::On => steps.extend(put_on(intent, seen.domain, node)?),
    }
    Ok(steps)
}

fn put_off(intent: &Intent, domain: Option<&Domain>) -> Option<Step> {
    match domain?.state {
        RunState::Off(_) => None,
        RunState::Running => Some(Step::Shutdown(Shutdown {
            object: intent.object.clone(),
            timeout_ms: intent.shutdown_ms,
        })),
        // A guest that stands still hears no button.
        RunState::Paused => Some(Step::Destroy(intent.object.clone())),
    }
}

fn put_on(intent: &Intent, domain: Option<&Domain>, node: NodeFact) -> Result<Vec<Step>, Refusal> {
    let start = || {
        Step::Start(Start {
            object: intent.object.clone(),
            boots: intent.boots,
        })
    };
    let running = domain.filter(|domain| !matches!(domain.state, RunState::Off(_)));
    let Some(domain) = running else {
        if intent.hugepages && !node.hugepages {
            return Err(Refusal::Unavailable("the node has no huge pages free".to_owned()));
        }
        return Ok(vec![start()]);
    };
    let is_due = domain.boots < intent.boots;
    Ok(match domain.state {
        RunState::Paused if is_due => vec![Step::Destroy(intent.object.clone()), start()],
        RunState::Paused => {
            let resume = Step::Resume(intent.object.clone());
            std::iter::once(resume).chain(plug(intent, domain)).collect()
        }
        _ if is_due => vec![Step::Reboot(Reboot {
            object: intent.object.clone(),
            boots: intent.boots,
            timeout_ms: intent.shutdown_ms,
        })],
        _ => plug(intent, domain),
    })
}

/// What is plugged and unplugged while it runs. What goes is first: it may have the place of what comes.
fn plug(intent: &Intent, domain: &Domain) -> Vec<Step> {
    let object = || intent.object.clone();
    let gone_ports = domain
        .live_ports
        .iter()
        .filter(|live| intent.ports.iter().all(|port| port.id != **live));
    let gone_disks = domain
        .live_volumes
        .iter()
        .filter(|live| intent.disks.iter().all(|disk| disk.volume != **live));
    let new_disks = intent
        .disks
        .iter()
        .filter(|disk| !domain.live_volumes.contains(&disk.volume));
    let new_ports = intent.ports.iter().filter(|port| !domain.live_ports.contains(&port.id));
    gone_ports
        .map(|port| {
            Step::DetachPort(DetachPort {
                object: object(),
                port: port.clone(),
            })
        })
        .chain(gone_disks.map(|volume| {
            Step::DetachDisk(DetachDisk {
                object: object(),
                volume: volume.clone(),
            })
        }))
        .chain(new_disks.map(|disk| {
            Step::AttachDisk(AttachDisk {
                object: object(),
                device: describe::disk(disk),
            })
        }))
        .chain(new_ports.map(|port| {
            Step::AttachPort(AttachPort {
                object: object(),
                device: describe::port(port),
            })
        }))
        .collect()
}
