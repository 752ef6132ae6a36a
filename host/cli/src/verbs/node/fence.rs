//! `symphony node fence`: somebody's word, or devices that cut the power.

use clap::Args;
use symphony_api::Client;
use symphony_api::v1::{FenceNode, Kind, Node};

use crate::failure::Failure;
use crate::globals::Waiting;
use crate::output::Output;
use crate::progress::Progress;
use crate::refusal::failure;
use crate::target::Target;
use crate::wait::{self, Goal, Look};

/// What `node fence` takes.
#[derive(Debug, Args)]
pub struct FenceArgs {
    /// Name or id
    #[arg(value_name = "NODE")]
    node: Target,
    /// Say that the node has no power: you made sure of it
    #[arg(long)]
    confirm: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Fences a node; waits for its devices when they are to do it.
pub(super) async fn run(client: &Client, output: Output, args: FenceArgs) -> Result<(), Failure> {
    let FenceArgs { node, confirm, waiting } = args;
    let asked = client.fence_node(node.as_str(), &FenceNode { confirm }).await;
    let asked = asked.map_err(|error| failure(&format!("fence node {node}"), error))?;
    let name = asked.meta.name.clone();
    let limit = waiting.limit_with_machines().filter(|_| asked.status.fencing.is_some());
    let fenced = match limit {
        Some(limit) => settle(client, output, &asked, limit).await?,
        None => asked,
    };
    let then = match fenced.status.fencing {
        Some(_) => "is to be fenced: its power is being cut",
        None => "is fenced; what can run elsewhere is placed anew",
    };
    output.changed(&fenced, &format!("node {name} {then}"))
}

async fn settle(client: &Client, output: Output, node: &Node, limit: std::time::Duration) -> Result<Node, Failure> {
    let (name, id) = (&node.meta.name, node.meta.id.to_string());
    let subject = format!("node {name}");
    let mut progress = Progress::waiting(&subject, output.quiet);
    let goal = Goal {
        kind: Kind::Node,
        id: id.clone(),
        revision: node.meta.revision,
        state: "fenced",
        limit,
        story: None,
    };
    wait::until(client, &goal, &mut progress, &subject, async || {
        let seen = client.node(&id).await;
        let seen = seen.map_err(|error| failure(&format!("wait for node {name}"), error))?;
        look(seen)
    })
    .await
}

/// How far it is.
fn look(seen: Node) -> Result<Look<Node>, Failure> {
    match &seen.status.fencing {
        Some(fencing) if fencing.held_by.is_empty() => Ok(Look::Going("its power is being cut".to_owned())),
        Some(fencing) => Ok(Look::Going(format!(
            "its power could not be cut yet: {}",
            fencing.held_by
        ))),
        None if seen.status.phase == "Fenced" => Ok(Look::Done(seen)),
        None => Err(Failure::new(format!(
            "node {} is not fenced, and not to be any more: it is {}",
            seen.meta.name, seen.status.phase
        ))
        .hint(format!(
            "symphony events shows why; symphony node show {} how it is",
            seen.meta.name
        ))),
    }
}
