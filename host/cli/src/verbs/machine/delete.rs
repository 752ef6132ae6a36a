//! `symphony machine delete`: a machine's end, and that of its volumes.

use clap::{Args, ValueEnum};
use symphony_api::Client;
use symphony_api::v1::{Machine, VolumesThen};

use super::{read, settle};
use crate::failure::Failure;
use crate::globals::Waiting;
use crate::output::Output;
use crate::refusal::failure;
use crate::target::Target;

/// What `machine delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Names or ids
    #[arg(value_name = "MACHINE", required = true)]
    machines: Vec<Target>,
    /// What becomes of their volumes [default: what each was made with; `machine show` says it]
    #[arg(long, value_enum, value_name = "WHAT")]
    volumes: Option<Then>,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What becomes of a machine's volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Then {
    /// All are kept
    Keep,
    /// All are deleted, with their bytes
    Delete,
}

impl DeleteArgs {
    fn then(&self) -> VolumesThen {
        match self.volumes {
            None => VolumesThen::AsSaid,
            Some(Then::Keep) => VolumesThen::Keep,
            Some(Then::Delete) => VolumesThen::Delete,
        }
    }
}

/// Asks for the end of all, then waits for each.
pub(super) async fn run(client: &Client, output: Output, args: &DeleteArgs) -> Result<(), Failure> {
    let (mut asked, mut failures) = (Vec::new(), Vec::new());
    for machine in &args.machines {
        if args.dry_run {
            match read(client, "delete", machine).await {
                Ok(seen) => output.value(&seen, &would(&seen, args.then()), &seen.meta.name)?,
                Err(failure) => failures.push(failure),
            }
            continue;
        }
        match client.delete_machine(machine.as_str(), args.then(), None).await {
            Ok(deleted) => asked.push(deleted),
            Err(error) => failures.push(failure(&format!("delete machine {machine}"), error)),
        }
    }
    for machine in &asked {
        let name = &machine.meta.name;
        let Some(limit) = args.waiting.limit_with_machines() else {
            output.changed(machine, &format!("machine {name} is being deleted"))?;
            continue;
        };
        match settle::gone(client, output, machine, limit).await {
            Ok(()) => output.changed(machine, &format!("machine {name} is deleted"))?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::together(failures)
}

/// Says what would go with a machine, and what would stay.
fn would(machine: &Machine, then: VolumesThen) -> String {
    let ends = |said: bool| match then {
        VolumesThen::AsSaid => said,
        VolumesThen::Keep => false,
        VolumesThen::Delete => true,
    };
    let of = |ending: bool| {
        let volumes = machine.spec.volumes.iter();
        let names: Vec<_> = volumes
            .filter(|volume| ends(volume.delete_with_machine) == ending)
            .map(|volume| volume.name.as_str())
            .collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let on = machine.node().map(|node| format!(" on {node}")).unwrap_or_default();
    format!(
        "machine {}{on} would be deleted; nothing was changed\nvolumes deleted with it: {}\nvolumes kept: {}\n",
        machine.meta.name,
        of(true),
        of(false)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::samples::machine;

    #[test]
    fn a_dry_run_names_the_volumes_that_go_and_stay() {
        let said = |then| would(&machine(), then);
        assert_eq!(
            said(VolumesThen::AsSaid),
            "machine web1 on node-1 would be deleted; nothing was changed\n\
             volumes deleted with it: web1-root\nvolumes kept: data\n"
        );
        assert!(said(VolumesThen::Keep).ends_with("volumes deleted with it: none\nvolumes kept: web1-root, data\n"));
        assert!(said(VolumesThen::Delete).ends_with("volumes deleted with it: web1-root, data\nvolumes kept: none\n"));
    }
}
