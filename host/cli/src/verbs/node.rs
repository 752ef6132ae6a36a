//! `symphony node`: the servers.

use clap::Subcommand;
use symphony_api::Client;
use symphony_api::v1::{PatchNode, PatchNodeSpec};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use crate::target::Target;

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
    }
}

async fn cordon(client: &Client, output: Output, nodes: &[Target], cordoned: bool) -> Result<(), Failure> {
    let patch = PatchNode {
        labels: None,
        spec: Some(PatchNodeSpec {
            cordoned: Some(cordoned),
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
