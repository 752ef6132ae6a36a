//! `symphony manager service`: what each node does, over the API or the manager's control socket.

use std::time::Duration;

use clap::Subcommand;
use symphony_api::Client;
use symphony_core::id::ServiceId;

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;

/// How long a new member may take to serve.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The services of the cluster
#[derive(Debug, Subcommand)]
pub enum ServiceVerb {
    /// List the services: one for each role of each node, and the manager's own
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  symphony manager service list\n  symphony --socket DIR/control.sock manager service list"
    )]
    List,
    /// Make the manager of this control socket a member: the first makes the cluster, the others join it
    #[command(
        hide = true,
        after_help = "Example:\n  symphony --socket M1/control.sock manager init"
    )]
    Init,
    /// Forget a service that is gone for good
    #[command(
        visible_alias = "rm",
        after_help = "Example:\n  symphony manager service remove 01890a5d-ac96-774b-bcce-b302099a8057"
    )]
    Remove {
        /// The id that `service list` prints
        #[arg(value_name = "ID")]
        id: ServiceId,
        /// Forget it with all that is placed on it: those volumes are lost
        #[arg(long)]
        force: bool,
    },
}

/// Waits until a manager that was made a member serves on its control socket too: the next command of a script is for that.
async fn serves(client: &Client) -> bool {
    let end = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < end {
        if client.services().await.is_ok() {
            return true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    false
}

/// Does a verb.
pub(crate) async fn run(client: &Client, output: Output, verb: &ServiceVerb) -> Result<(), Failure> {
    match verb {
        ServiceVerb::List => {
            let services = client
                .services()
                .await
                .map_err(|error| failure("list the services", error))?;
            output.list(&services.items)
        }
        ServiceVerb::Init => {
            let membership = client
                .manager_init()
                .await
                .map_err(|error| failure("make this manager a member", error))?;
            if !serves(client).await {
                output.remark("it is a member, and does not serve yet; its log says why");
            }
            let sentence = format!(
                "manager {} at {} is a member of cluster {}",
                membership.manager, membership.address, membership.cluster
            );
            output.value(&membership, &format!("{sentence}\n"), &membership.manager)
        }
        ServiceVerb::Remove { id, force } => {
            let removed = client.remove_service(&id.to_string(), *force).await;
            let removed = removed.map_err(|error| failure(&format!("remove service {id}"), error))?;
            output.changed(
                &removed,
                &format!("service {} of {} is removed", removed.role, removed.node),
            )
        }
    }
}
