//! `symphony network`: virtual networks.

use std::time::Duration;

use clap::{Args, Subcommand};
use symphony_api::v1::{CreateNetwork, CreateNetworkSpec, Kind, Network};
use symphony_api::{Client, Code};
use symphony_core::name::Name;
use symphony_core::network::{MTU_MAX, MTU_MIN, Subnet};

use crate::failure::Failure;
use crate::globals::Waiting;
use crate::output::Output;
use crate::progress::Progress;
use crate::refusal::failure;
use crate::target::{Target, label, labels};
use crate::verbs::join::{JOIN_HELP, JoinArgs};
use crate::wait::{self, Goal, Look};

/// Virtual networks
#[derive(Debug, Subcommand)]
pub enum NetworkVerb {
    /// Make a network
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// List the networks of the project
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  symphony network list\n  symphony network list -o wide"
    )]
    List,
    /// Show one network
    #[command(after_help = "Example:\n  symphony network show net1 -o yaml")]
    Show {
        /// Name or id
        #[arg(value_name = "NETWORK")]
        network: Target,
    },
    /// Delete networks; one that machines are connected to is kept
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  symphony network delete net1\n  symphony network delete net1 --dry-run"
    )]
    Delete(DeleteArgs),
    /// Let the node of this control socket into the cluster, for this role
    #[command(after_help = JOIN_HELP)]
    Init(JoinArgs),
}

const CREATE_HELP: &str = "\
Examples:
  symphony network create net1
  symphony network create net1 --subnet 10.0.0.0/24 --nat
  symphony network create storage --mtu 8950

Its first address is the gateway's, which also gives machines their addresses and knows their names. Networks of a
project don't overlap; those of two projects may, and never meet.";

/// What `network create` takes.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name, also its domain: lower-case letters, digits and '-'
    #[arg(value_name = "NAME")]
    name: Name,
    /// Its addresses, like 10.0.0.0/24; the first of 10.N.0.0/24 that is free when not given
    #[arg(long, value_name = "CIDR", value_parser = Subnet::of_network)]
    subnet: Option<Subnet>,
    /// Let its machines reach the outside
    #[arg(long)]
    nat: bool,
    /// Its longest packet, in bytes: what the network between your nodes takes, less 50; 1450 when not given
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(i64::from(MTU_MIN)..=i64::from(MTU_MAX)))]
    mtu: Option<u16>,
    /// A label of the network; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<String>,
}

/// What `network delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Names or ids
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<Target>,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: NetworkVerb) -> Result<(), Failure> {
    match verb {
        NetworkVerb::Create(args) => create(client, output, &args).await,
        NetworkVerb::List => {
            let networks = client
                .all_networks(None)
                .await
                .map_err(|error| failure("list the networks", error))?;
            output.list(&networks)
        }
        NetworkVerb::Show { network } => output.object(&read(client, "show", &network).await?),
        NetworkVerb::Delete(args) => delete(client, output, &args).await,
        // Asked of an agent, never here.
        NetworkVerb::Init(_) => Ok(()),
    }
}

async fn read(client: &Client, verb: &str, network: &Target) -> Result<Network, Failure> {
    client
        .network(network.as_str())
        .await
        .map_err(|error| failure(&format!("{verb} network {network}"), error))
}

/// There is nothing to wait for: its nodes make their parts of it when a machine needs them.
async fn create(client: &Client, output: Output, args: &CreateArgs) -> Result<(), Failure> {
    let body = body(args)?;
    let network = client.create_network(&body).await;
    let network = network.map_err(|error| failure(&format!("create network {}", args.name), error))?;
    output.changed(
        &network,
        &format!(
            "network {} has {}, gateway {}",
            args.name, network.spec.subnet, network.status.gateway
        ),
    )
}

fn body(args: &CreateArgs) -> Result<CreateNetwork, Failure> {
    let labels = labels(&args.labels).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(CreateNetwork {
        name: args.name.to_string(),
        labels: labels.into(),
        spec: CreateNetworkSpec {
            subnet: args.subnet.as_ref().map(ToString::to_string),
            nat: args.nat,
            mtu: args.mtu,
        },
    })
}

async fn delete(client: &Client, output: Output, args: &DeleteArgs) -> Result<(), Failure> {
    let (mut asked, mut failures) = (Vec::new(), Vec::new());
    for network in &args.networks {
        if args.dry_run {
            match read(client, "delete", network).await {
                Ok(seen) => {
                    let (name, subnet) = (&seen.meta.name, &seen.spec.subnet);
                    let text = format!("network {name} ({subnet}) would be deleted; nothing was changed\n");
                    output.value(&seen, &text, name)?;
                }
                Err(failure) => failures.push(failure),
            }
            continue;
        }
        match client.delete_network(network.as_str(), None).await {
            Ok(deleted) => asked.push(deleted),
            Err(error) => failures.push(failure(&format!("delete network {network}"), error)),
        }
    }
    for network in &asked {
        match gone(client, output, network, args.waiting.limit()).await {
            Ok(sentence) => output.changed(network, &sentence)?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::together(failures)
}

async fn gone(client: &Client, output: Output, network: &Network, limit: Option<Duration>) -> Result<String, Failure> {
    let (name, id) = (&network.meta.name, network.meta.id.to_string());
    let Some(limit) = limit else {
        return Ok(format!("network {name} is being deleted"));
    };
    let subject = format!("network {name}");
    let mut progress = Progress::waiting(&subject, output.quiet);
    let goal = Goal {
        kind: Kind::Network,
        id: id.clone(),
        revision: network.meta.revision,
        state: "gone",
        limit,
        story: None,
    };
    wait::until(client, &goal, &mut progress, &subject, async || {
        match client.network(&id).await {
            Ok(seen) => Ok(Look::Going(wait::state("Deleting", &seen.status.conditions))),
            Err(error) if error.code() == Some(Code::NotFound) => Ok(Look::Done(())),
            Err(error) => Err(failure(&format!("wait for the end of network {name}"), error)),
        }
    })
    .await?;
    Ok(format!("network {name} is deleted"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    #[test]
    fn flags_become_the_body() {
        let read = |line: &str| body(&Line::try_parse_from(line.split_whitespace()).unwrap().args);
        assert_eq!(
            serde_json::to_value(read("create net1 --subnet 10.2.0.0/24 --nat --label a=1").unwrap()).unwrap(),
            serde_json::json!({"name": "net1", "labels": {"a": "1"}, "spec": {"subnet": "10.2.0.0/24", "nat": true}})
        );
        assert_eq!(
            serde_json::to_value(read("create net1").unwrap()).unwrap(),
            serde_json::json!({"name": "net1", "spec": {"nat": false}})
        );
    }
}
