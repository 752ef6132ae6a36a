//! `symphony machine`: virtual machines.

pub(crate) mod attach;
pub(crate) mod create;
pub(crate) mod delete;
mod first_boot;
pub(crate) mod plan;
pub(crate) mod power;
mod settle;
mod wanted;

use std::time::Duration;

use clap::{Args, Subcommand};
use symphony_api::Client;
use symphony_api::v1::{Machine, MachinePhase};

use crate::console::{self, DetachKey};
use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use crate::target::Target;
use power::Order;

/// How long `machine console` waits for a machine that is being started.
const STARTING: Duration = Duration::from_secs(30);

/// Virtual machines
#[derive(Debug, Subcommand)]
pub enum MachineVerb {
    /// Make a machine, with its volumes and ports
    #[command(after_help = create::HELP)]
    Create(Box<create::CreateArgs>),
    /// List the machines of the project
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  symphony machine list\n  symphony machine list -o wide"
    )]
    List,
    /// Show one machine
    #[command(after_help = "Examples:\n  symphony machine show web1\n  symphony machine show web1 -o yaml")]
    Show {
        /// Name or id
        #[arg(value_name = "MACHINE")]
        machine: Target,
    },
    /// Start machines
    #[command(after_help = "Examples:\n  symphony machine start web1 web2\n  symphony machine start web1 --no-wait")]
    Start(power::OrderArgs),
    /// Shut machines down; a guest that does not obey is switched off after a while
    #[command(after_help = "Examples:\n  symphony machine stop web1\n  symphony machine stop web1 --timeout 5m")]
    Stop(power::OrderArgs),
    /// Let machines boot again
    #[command(after_help = "Example:\n  symphony machine reboot web1")]
    Reboot(power::OrderArgs),
    /// Give a machine more or fewer processors, or memory, while it is off
    #[command(after_help = "Example:\n  symphony machine resize web1 --cpus 4 --memory 8GiB")]
    Resize(power::ResizeArgs),
    /// Give a machine a volume that exists, or connect it to a network
    #[command(
        after_help = "Examples:\n  symphony machine attach web1 --volume data\n  symphony machine attach web1 --network net2,address=10.2.0.5 --allow tcp:443"
    )]
    Attach(attach::AttachArgs),
    /// Take a volume from a machine, or disconnect it from a network
    #[command(
        after_help = "Examples:\n  symphony machine detach web1 --volume data\n  symphony machine detach web1 --network net2"
    )]
    Detach(attach::DetachArgs),
    /// Attach this terminal to a machine's console, or print what it has said
    #[command(
        after_help = "Examples:\n  symphony machine console web1\n  symphony machine console web1 --log | tail\n  symphony machine console web1 --detach-key ctrl-a"
    )]
    Console(ConsoleArgs),
    /// Delete machines; their volumes as they were made, or as said
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  symphony machine delete web1\n  symphony machine delete web1 --volumes keep\n  symphony machine delete web1 --dry-run"
    )]
    Delete(delete::DeleteArgs),
}

/// What `machine console` takes.
#[derive(Debug, Args)]
pub struct ConsoleArgs {
    /// Name or id
    #[arg(value_name = "MACHINE")]
    machine: Target,
    /// Print what is kept of what it has said, and end
    #[arg(long, conflicts_with = "detach_key")]
    log: bool,
    /// The key that lets go of the console: ctrl- and a letter or one of [ \ ] ^ _, or none
    #[arg(long, value_name = "KEY", default_value_t)]
    detach_key: DetachKey,
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: MachineVerb) -> Result<(), Failure> {
    match verb {
        MachineVerb::Create(args) => create::run(client, output, &args).await,
        MachineVerb::List => {
            let machines = client
                .all_machines(None)
                .await
                .map_err(|error| failure("list the machines", error))?;
            output.list(&machines)
        }
        MachineVerb::Show { machine } => output.object(&read(client, "show", &machine).await?),
        MachineVerb::Start(args) => power::order(client, output, &args, Order::Start).await,
        MachineVerb::Stop(args) => power::order(client, output, &args, Order::Stop).await,
        MachineVerb::Reboot(args) => power::order(client, output, &args, Order::Reboot).await,
        MachineVerb::Resize(args) => power::resize(client, output, &args).await,
        MachineVerb::Attach(args) => attach::attach(client, output, &args).await,
        MachineVerb::Detach(args) => attach::detach(client, output, &args).await,
        MachineVerb::Console(args) if args.log => console::log(client, args.machine.as_str()).await,
        MachineVerb::Console(args) => {
            console::attach(client, output, args.machine.as_str(), args.detach_key, STARTING).await
        }
        MachineVerb::Delete(args) => delete::run(client, output, &args).await,
    }
}

async fn read(client: &Client, verb: &str, machine: &Target) -> Result<Machine, Failure> {
    client
        .machine(machine.as_str())
        .await
        .map_err(|error| failure(&format!("{verb} machine {machine}"), error))
}

/// `1 cpu`, `2 cpus`.
fn cpus(cpus: u32) -> String {
    format!("{cpus} {}", if cpus == 1 { "cpu" } else { "cpus" })
}

/// How a machine is, in one sentence.
fn summary(machine: &Machine) -> String {
    let name = &machine.meta.name;
    let on = machine.node().map(|node| format!(" on {node}")).unwrap_or_default();
    let addresses: Vec<_> = machine.spec.ports.iter().map(|port| port.address.as_str()).collect();
    match machine.status.phase {
        MachinePhase::Running if addresses.is_empty() => format!("machine {name} runs{on}"),
        MachinePhase::Running => format!("machine {name} runs{on} ({})", addresses.join(", ")),
        MachinePhase::Stopped => format!("machine {name} is off{on}"),
        _ => format!("machine {name}{on}: {}", settle::doing(machine)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::samples::machine;

    #[test]
    fn one_sentence_says_how_it_is() {
        let mut machine = machine();
        assert_eq!(summary(&machine), "machine web1 runs on node-1 (10.0.0.2)");
        machine.spec.ports.clear();
        assert_eq!(summary(&machine), "machine web1 runs on node-1");
        machine.status.phase = MachinePhase::Stopped;
        machine.status.placement = None;
        assert_eq!(summary(&machine), "machine web1 is off");
        machine.status.phase = MachinePhase::Starting;
        assert_eq!(summary(&machine), "machine web1: Starting");
        assert_eq!([cpus(1), cpus(2)], ["1 cpu", "2 cpus"]);
    }
}
