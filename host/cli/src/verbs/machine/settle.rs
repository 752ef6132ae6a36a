//! Waiting until a machine is as asked, with the story of how it came there.

use std::time::Duration;

use symphony_api::v1::{Exit as Ended, Kind, Machine, MachinePhase, Power};
use symphony_api::{Client, Code};
use symphony_core::quantity::Bytes;

use crate::failure::{Exit, Failure};
use crate::output::{Format, Output};
use crate::progress::Progress;
use crate::refusal::failure;
use crate::story::Story;
use crate::verdicts;
use crate::wait::{self, Goal, Look};

/// How much is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It runs or is off, as wanted.
    Settled,
    /// It is being started, so that its console is there.
    Starting,
}

/// How a machine stands to what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Going,
    AsAsked,
    Unplaceable,
    Failed,
    Ended(Ended),
    Overruled,
    Deleting,
}

/// Waits until the machine is as it was `asked` to be.
///
/// # Errors
/// When it will not be so, takes too long, or nothing was answered.
pub(super) async fn wait(
    client: &Client,
    output: Output,
    asked: &Machine,
    until: Until,
    limit: Duration,
) -> Result<Machine, Failure> {
    let (name, id) = (&asked.meta.name, asked.meta.id.to_string());
    let subject = format!("machine {name}");
    let mut progress = Progress::waiting(&subject, output.quiet);
    let state = match (until, asked.spec.power) {
        (Until::Starting, _) => "starting",
        (Until::Settled, Power::On) => "running",
        (Until::Settled, Power::Off) => "off",
    };
    let goal = goal(asked, state, limit);
    let (standing, seen) = wait::until(client, &goal, &mut progress, &subject, async || {
        let seen = client
            .machine(&id)
            .await
            .map_err(|error| failure(&format!("wait for machine {name}"), error))?;
        let revision = seen.meta.revision;
        Ok(match stands(asked, &seen, until) {
            Standing::Going => Look::Going(doing(&seen)),
            standing => Look::DoneAt((standing, seen), revision),
        })
    })
    .await?;
    drop(progress);
    if standing == Standing::AsAsked {
        return Ok(seen);
    }
    // It exists: who asked for a machine's form gets it, whatever the exit code.
    if output.format != Format::Table && output.format != Format::Wide {
        output.object(&seen)?;
    }
    Err(match standing {
        Standing::Unplaceable => unplaceable(client, &seen).await,
        other => wrong(other, &seen),
    })
}

/// Waits until the machine is gone.
///
/// # Errors
/// When it takes too long, or nothing was answered.
pub(super) async fn gone(client: &Client, output: Output, machine: &Machine, limit: Duration) -> Result<(), Failure> {
    let (name, id) = (&machine.meta.name, machine.meta.id.to_string());
    let subject = format!("machine {name}");
    let mut progress = Progress::waiting(&subject, output.quiet);
    let goal = goal(machine, "gone", limit);
    wait::until(client, &goal, &mut progress, &subject, async || {
        match client.machine(&id).await {
            Ok(seen) => Ok(Look::Going(doing(&seen))),
            // With it go those of its volumes that were said to.
            Err(error) if error.code() == Some(Code::NotFound) => Ok(match still_there(client, machine).await? {
                Some(volume) => Look::Going(format!("volume {volume} is being deleted")),
                None => Look::DoneAt((), u64::MAX),
            }),
            Err(error) => Err(failure(&format!("wait for the end of machine {name}"), error)),
        }
    })
    .await
}

/// The first volume that goes with a machine and is not gone.
async fn still_there<'a>(client: &Client, machine: &'a Machine) -> Result<Option<&'a str>, Failure> {
    for volume in machine.spec.volumes.iter().filter(|volume| volume.delete_with_machine) {
        match client.volume(&volume.id.to_string()).await {
            Ok(_) => return Ok(Some(&volume.name)),
            Err(error) if error.code() == Some(Code::NotFound) => {}
            Err(error) => return Err(failure(&format!("wait for the end of volume {}", volume.name), error)),
        }
    }
    Ok(None)
}

/// What it is doing, in one line.
pub(super) fn doing(machine: &Machine) -> String {
    wait::state(machine.status.phase.as_str(), &machine.status.conditions)
}

fn goal<'a>(machine: &Machine, state: &'a str, limit: Duration) -> Goal<'a> {
    let id = machine.meta.id.to_string();
    // A new machine's story begins with it; that of an order, with the order.
    let began = if machine.meta.generation <= 1 && machine.meta.deleting_since.is_none() {
        machine.meta.created_at
    } else {
        machine.meta.deleting_since.unwrap_or_else(jiff::Timestamp::now)
    };
    Goal {
        kind: Kind::Machine,
        story: Some(Story::of(machine, began)),
        id,
        revision: machine.meta.revision,
        state,
        limit,
    }
}

fn stands(asked: &Machine, seen: &Machine, until: Until) -> Standing {
    use MachinePhase as Phase;
    let newest = seen.status.observed_generation >= asked.meta.generation;
    let up = matches!(seen.status.phase, Phase::Starting | Phase::Running);
    match (seen.status.phase, asked.spec.power) {
        (Phase::Deleting, _) => Standing::Deleting,
        _ if seen.meta.deleting_since.is_some() => Standing::Deleting,
        (Phase::Unplaceable, _) => Standing::Unplaceable,
        _ if seen.spec.power != asked.spec.power => Standing::Overruled,
        _ if until == Until::Starting && up => Standing::AsAsked,
        _ if !newest => Standing::Going,
        (Phase::Failed, _) => Standing::Failed,
        (Phase::Running, Power::On) | (Phase::Stopped, Power::Off) => Standing::AsAsked,
        (Phase::Stopped, Power::On) => match seen.status.exit {
            Some(ended @ (Ended::Guest | Ended::Crashed | Ended::Failed)) => Standing::Ended(ended),
            _ => Standing::Going,
        },
        _ => Standing::Going,
    }
}

/// Why no node takes it, each by name.
async fn unplaceable(client: &Client, machine: &Machine) -> Failure {
    let name = &machine.meta.name;
    let table = match client.explain_machine(&machine.meta.id.to_string()).await {
        Ok(explanation) => verdicts::table(&explanation.verdicts, None),
        Err(_) => doing(machine),
    };
    let size = format!(
        "{}, {}",
        super::cpus(machine.spec.cpus),
        Bytes(machine.spec.memory_bytes)
    );
    Failure::new(format!("no node takes machine {name} ({size}) now"))
        .exit(Exit::Unplaceable)
        .detail(table)
        .hint(format!(
            "the machine stays and is placed as soon as there is room; to give it up: symphony machine delete {name}"
        ))
}

fn wrong(standing: Standing, machine: &Machine) -> Failure {
    let name = &machine.meta.name;
    match standing {
        Standing::Deleting => Failure::new(format!("machine {name} is being deleted")).exit(Exit::Conflict),
        Standing::Overruled => {
            let other = match machine.spec.power {
                Power::On => "start",
                Power::Off => "stop",
            };
            Failure::new(format!("machine {name} was ordered to {other} meanwhile")).exit(Exit::Conflict)
        }
        Standing::Ended(ended) => {
            let how = match ended {
                Ended::Guest => "its guest shut itself down",
                Ended::Crashed => "it crashed",
                _ => "it could not be started",
            };
            Failure::new(format!("machine {name} is off: {how}"))
                .detail(doing(machine))
                .hint(format!("what it last said: symphony machine console {name} --log"))
        }
        _ => Failure::new(format!("machine {name} can't be made as asked: {}", doing(machine))).hint(format!(
            "`symphony explain machine {name}` says how each part is, `symphony events machine/{name}` what happened"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::samples::machine;

    fn seen(phase: MachinePhase, observed: u64) -> Machine {
        let mut seen = machine();
        seen.status.phase = phase;
        seen.status.observed_generation = observed;
        seen
    }

    #[test]
    fn only_the_newest_spec_counts() {
        let asked = machine();
        let generation = asked.meta.generation;
        let running = |observed| stands(&asked, &seen(MachinePhase::Running, observed), Until::Settled);
        assert_eq!(running(generation), Standing::AsAsked);
        assert_eq!(
            running(generation - 1),
            Standing::Going,
            "before the reboot that was asked for"
        );
        let failed = |observed| stands(&asked, &seen(MachinePhase::Failed, observed), Until::Settled);
        assert_eq!(
            (failed(generation), failed(generation - 1)),
            (Standing::Failed, Standing::Going)
        );
    }

    #[test]
    fn a_console_is_there_when_it_starts() {
        let asked = machine();
        for (phase, standing) in [
            (MachinePhase::Pending, Standing::Going),
            (MachinePhase::Preparing, Standing::Going),
            (MachinePhase::Starting, Standing::AsAsked),
            (MachinePhase::Running, Standing::AsAsked),
            (MachinePhase::Unplaceable, Standing::Unplaceable),
        ] {
            assert_eq!(stands(&asked, &seen(phase, 0), Until::Starting), standing, "{phase:?}");
        }
    }

    #[test]
    fn off_is_as_asked_only_when_asked() {
        let generation = machine().meta.generation;
        let mut asked = machine();
        let mut off = seen(MachinePhase::Stopped, generation);
        off.status.exit = Some(Ended::Guest);
        assert_eq!(
            stands(&asked, &off, Until::Settled),
            Standing::Ended(Ended::Guest),
            "it is to run, and does not any more"
        );
        off.status.exit = Some(Ended::NeverRan);
        assert_eq!(
            stands(&asked, &off, Until::Settled),
            Standing::Going,
            "it has not begun"
        );
        asked.spec.power = Power::Off;
        assert_eq!(stands(&asked, &off, Until::Settled), Standing::Overruled);
        off.spec.power = Power::Off;
        assert_eq!(stands(&asked, &off, Until::Settled), Standing::AsAsked);
        off.meta.deleting_since = Some(off.meta.created_at);
        assert_eq!(stands(&asked, &off, Until::Settled), Standing::Deleting);
    }

    #[test]
    fn what_went_wrong_is_said_with_what_to_do() {
        let machine = machine();
        for (standing, exit, says) in [
            (Standing::Deleting, Exit::Conflict, "is being deleted"),
            (Standing::Overruled, Exit::Conflict, "was ordered to start meanwhile"),
            (Standing::Ended(Ended::Crashed), Exit::Error, "is off: it crashed"),
            (Standing::Failed, Exit::Error, "can't be made as asked"),
        ] {
            let failure = wrong(standing, &machine);
            assert_eq!(failure.exit, exit);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}
