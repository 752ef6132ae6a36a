//! `symphony node`: the servers.

mod fence;
mod power;

use clap::Subcommand;
use symphony_api::Client;
use symphony_api::v1::{DrainNode, DrainedMachine, PatchNode, PatchNodeSpec};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use crate::target::Target;

pub(crate) use fence::FenceArgs;
pub(crate) use power::PowerVerb;

/// Servers with an agent on them
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// List the nodes
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  symphony node list\n  symphony node list -o wide"
    )]
    List,
    /// Show one node, its services and its pools
    #[command(after_help = "Example:\n  symphony node show node-1")]
    Show {
        /// Name or id
        #[arg(value_name = "NODE")]
        node: Target,
    },
    /// Keep new work away from nodes; what is there stays
    #[command(after_help = "Example:\n  symphony node cordon node-1")]
    Cordon {
        /// Names or ids
        #[arg(value_name = "NODE", required = true)]
        nodes: Vec<Target>,
    },
    /// Let nodes take new work again
    #[command(after_help = "Example:\n  symphony node uncordon node-1")]
    Uncordon {
        /// Names or ids
        #[arg(value_name = "NODE", required = true)]
        nodes: Vec<Target>,
    },
    /// Empty a node: no new work, and what is off and can run elsewhere leaves
    #[command(
        long_about = "Empty a node: no new work goes there, and machines that are off and can run elsewhere leave. What \
                      holds the others is said. Drain again until nothing is left.",
        after_help = "Examples:\n  symphony node drain node-1\n  symphony node drain node-1 --stop"
    )]
    Drain {
        /// Name or id
        #[arg(value_name = "NODE")]
        node: Target,
        /// Ask machines that run and could leave to stop; they leave at the next drain
        #[arg(long)]
        stop: bool,
    },
    /// Make sure that a node is off, so that its machines are started elsewhere
    #[command(
        long_about = "Fence a node: machines of it that can run elsewhere are started there. Its devices (see `symphony node \
                      power`) cut its power, and it is fenced once they say that it is off. With --confirm it is you who says \
                      so; if the node is not off, its machines run twice and ruin their disks. When its agent is heard of \
                      again, it ends what it must not run any more.",
        after_help = "Examples:\n  symphony node fence node-1\n  symphony node fence node-1 --confirm"
    )]
    Fence(FenceArgs),
    /// What can cut a node's power: show, set, clear
    Power {
        /// What to do with them
        #[command(subcommand)]
        verb: PowerVerb,
    },
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: NodeVerb) -> Result<(), Failure> {
    match verb {
        NodeVerb::List => {
            let nodes = client
                .all_nodes(None)
                .await
                .map_err(|error| failure("list the nodes", error))?;
            output.list(&nodes)
        }
        NodeVerb::Show { node } => {
            let node = client
                .node(node.as_str())
                .await
                .map_err(|error| failure(&format!("show node {node}"), error))?;
            output.object(&node)
        }
        NodeVerb::Cordon { nodes } => cordon(client, output, &nodes, true).await,
        NodeVerb::Uncordon { nodes } => cordon(client, output, &nodes, false).await,
        NodeVerb::Drain { node, stop } => drain(client, output, &node, stop).await,
        NodeVerb::Fence(args) => fence::run(client, output, args).await,
        NodeVerb::Power { verb } => power::run(client, output, verb).await,
    }
}

async fn drain(client: &Client, output: Output, node: &Target, stop: bool) -> Result<(), Failure> {
    let drained = client.drain_node(node.as_str(), &DrainNode { stop }).await;
    let drained = drained.map_err(|error| failure(&format!("drain node {node}"), error))?;
    let of = |machine: &DrainedMachine| format!("{}/{}", machine.project, machine.machine);
    for machine in &drained.leaving {
        output.remark(&format!("machine {} leaves", of(machine)));
    }
    for machine in &drained.stopping {
        output.remark(&format!(
            "machine {} is being stopped; drain again once it is off",
            of(machine)
        ));
    }
    for machine in &drained.staying {
        output.remark(&format!("machine {} stays: {}", of(machine), machine.why));
    }
    output.changed(
        &drained.node,
        &format!("node {} takes no new work", drained.node.meta.name),
    )
}

async fn cordon(client: &Client, output: Output, nodes: &[Target], cordoned: bool) -> Result<(), Failure> {
    let patch = PatchNode {
        labels: None,
        spec: Some(PatchNodeSpec {
            cordoned: Some(cordoned),
            ..PatchNodeSpec::default()
        }),
    };
    let (verb, now) = if cordoned {
        ("cordon", "takes no new work")
    } else {
        ("uncordon", "takes new work again")
    };
    let mut failures = Vec::new();
    for node in nodes {
        match client.patch_node(node.as_str(), &patch, None).await {
            Ok(changed) => output.changed(&changed, &format!("node {} {now}", changed.meta.name))?,
            Err(error) => failures.push(failure(&format!("{verb} node {node}"), error)),
        }
    }
    Failure::together(failures)
}
