//! `symphony machine start`, `stop`, `reboot` and `resize`: orders to machines that exist.

use clap::{ArgGroup, Args};
use symphony_api::v1::{Machine, PatchMachine, PatchMachineSpec, Size};
use symphony_api::{Client, ClientError, Code};
use symphony_core::quantity::Bytes;

use super::settle::{self, Until};
use super::{cpus, summary, wanted};
use crate::failure::Failure;
use crate::globals::Waiting;
use crate::output::Output;
use crate::refusal::failure;
use crate::target::Target;

/// What `machine start`, `stop` and `reboot` take.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// Names or ids
    #[arg(value_name = "MACHINE", required = true)]
    machines: Vec<Target>,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `machine resize` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("size").required(true).multiple(true).args(["cpus", "memory"]))]
pub struct ResizeArgs {
    /// Name or id
    #[arg(value_name = "MACHINE")]
    machine: Target,
    /// Virtual processors
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = wanted::cpus)]
    cpus: Option<u32>,
    /// Memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = wanted::memory)]
    memory: Option<Bytes>,
    #[command(flatten)]
    waiting: Waiting,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Start,
    Stop,
    Reboot,
}

impl Order {
    const fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reboot => "reboot",
        }
    }

    async fn give(self, client: &Client, machine: &Target) -> Result<Machine, ClientError> {
        let name = machine.as_str();
        match self {
            Self::Start => client.start_machine(name).await,
            Self::Stop => client.stop_machine(name).await,
            Self::Reboot => client.reboot_machine(name).await,
        }
    }
}

/// Orders all, then waits for each: they do it at the same time.
pub(super) async fn order(client: &Client, output: Output, args: &OrderArgs, order: Order) -> Result<(), Failure> {
    let (mut asked, mut failures) = (Vec::new(), Vec::new());
    for machine in &args.machines {
        match order.give(client, machine).await {
            Ok(ordered) => asked.push(ordered),
            Err(error) => failures.push(failure(&format!("{} machine {machine}", order.verb()), error)),
        }
    }
    for machine in &asked {
        let Some(limit) = args.waiting.limit_with_machines() else {
            let sentence = format!("machine {} is ordered to {}", machine.meta.name, order.verb());
            output.changed(machine, &sentence)?;
            continue;
        };
        match settle::wait(client, output, machine, Until::Settled, limit).await {
            Ok(settled) => output.changed(&settled, &summary(&settled))?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::together(failures)
}

/// Gives a machine another size.
pub(super) async fn resize(client: &Client, output: Output, args: &ResizeArgs) -> Result<(), Failure> {
    let machine = &args.machine;
    let patch = PatchMachine {
        labels: None,
        spec: Some(PatchMachineSpec {
            cpus: args.cpus,
            memory: args.memory.map(|memory| Size::bytes(memory.0)),
            ..PatchMachineSpec::default()
        }),
    };
    let changed = client.patch_machine(machine.as_str(), &patch, None).await;
    let changed = changed.map_err(|error| {
        let running = error.code() == Some(Code::WrongPower);
        let failure = failure(&format!("resize machine {machine}"), error);
        if running {
            failure.hint(format!(
                "a machine is resized while it is off: symphony machine stop {machine}"
            ))
        } else {
            failure
        }
    })?;
    let settled = match args.waiting.limit_with_machines() {
        Some(limit) => settle::wait(client, output, &changed, Until::Settled, limit).await?,
        None => changed,
    };
    let size = format!("{} and {}", cpus(settled.spec.cpus), Bytes(settled.spec.memory_bytes));
    output.changed(&settled, &format!("machine {} has {size} now", settled.meta.name))
}
