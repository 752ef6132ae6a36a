//! `symphony machine attach` and `detach`: volumes and networks of a machine that exists, whether it runs or not.

use clap::{ArgGroup, Args};
use symphony_api::Client;
use symphony_api::v1::{AttachVolume, Machine};
use symphony_core::network::Rule;

use super::settle::{self, Until};
use super::wanted::{self, NetworkFlag};
use crate::failure::Failure;
use crate::globals::Waiting;
use crate::output::Output;
use crate::refusal::failure;
use crate::target::Target;

/// What `machine attach` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("part").required(true).args(["volume", "network"]))]
pub struct AttachArgs {
    /// Name or id
    #[arg(value_name = "MACHINE")]
    machine: Target,
    /// A volume that exists and that no machine has: name or id
    #[arg(long, value_name = "VOLUME")]
    volume: Option<Target>,
    /// End the volume with the machine
    #[arg(long, conflicts_with = "network")]
    delete_with_machine: bool,
    /// A network
    #[arg(long, value_name = "NET[,address=A][,rate=R]")]
    network: Option<NetworkFlag>,
    /// What may come in at the port, like tcp:22, udp:60000-61000, icmp or tcp:443@10.0.0.0/8; everything when none is given
    #[arg(long, value_name = "RULE", conflicts_with = "volume")]
    allow: Vec<Rule>,
    /// The limit of the port in each direction, like 100Mbit
    #[arg(long, value_name = "RATE", value_parser = wanted::rate, conflicts_with = "volume")]
    rate: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `machine detach` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("part").required(true).args(["volume", "network"]))]
pub struct DetachArgs {
    /// Name or id
    #[arg(value_name = "MACHINE")]
    machine: Target,
    /// A volume of the machine, but not the one that it boots from: name or id
    #[arg(long, value_name = "VOLUME")]
    volume: Option<Target>,
    /// A network of the machine, or the id of its port
    #[arg(long, value_name = "NETWORK")]
    network: Option<Target>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Gives a machine a volume or a port.
pub(super) async fn attach(client: &Client, output: Output, args: &AttachArgs) -> Result<(), Failure> {
    let machine = &args.machine;
    let (what, answer) = match (&args.volume, &args.network) {
        (Some(volume), _) => {
            let body = AttachVolume {
                volume: volume.to_string(),
                delete_with_machine: args.delete_with_machine,
            };
            let answer = client.attach_volume(machine.as_str(), &body).await;
            (format!("volume {volume}"), answer)
        }
        (None, Some(network)) => {
            let body = network.wanted(&args.allow, args.rate.as_ref());
            let answer = client.add_port(machine.as_str(), &body).await;
            (format!("network {}", network.network()), answer)
        }
        // The group of both is required.
        (None, None) => return Err(Failure::usage("give --volume or --network")),
    };
    let changed = answer.map_err(|error| failure(&format!("attach {what} to machine {machine}"), error))?;
    let changed = settled(client, output, changed, &args.waiting).await?;
    let address = args.network.as_ref().and_then(|network| {
        let wanted = network.network().as_str();
        // It may have had one there before: the newest is the last.
        let port = changed
            .spec
            .ports
            .iter()
            .rfind(|port| port.network == wanted || port.network_id.to_string() == wanted);
        port.map(|port| format!(", address {}", port.address))
    });
    output.changed(
        &changed,
        &format!("machine {machine} has {what}{}", address.unwrap_or_default()),
    )
}

/// Takes a volume or a port from a machine.
pub(super) async fn detach(client: &Client, output: Output, args: &DetachArgs) -> Result<(), Failure> {
    let machine = &args.machine;
    let (what, answer) = match (&args.volume, &args.network) {
        (Some(volume), _) => {
            let answer = client.detach_volume(machine.as_str(), volume.as_str()).await;
            (format!("volume {volume}"), answer)
        }
        (None, Some(network)) => {
            let answer = client.remove_port(machine.as_str(), network.as_str()).await;
            (format!("network {network}"), answer)
        }
        (None, None) => return Err(Failure::usage("give --volume or --network")),
    };
    let changed = answer.map_err(|error| failure(&format!("detach {what} from machine {machine}"), error))?;
    let changed = settled(client, output, changed, &args.waiting).await?;
    output.changed(&changed, &format!("machine {machine} has {what} no more"))
}

async fn settled(client: &Client, output: Output, changed: Machine, waiting: &Waiting) -> Result<Machine, Failure> {
    match waiting.limit_with_machines() {
        Some(limit) => settle::wait(client, output, &changed, Until::Settled, limit).await,
        None => Ok(changed),
    }
}
