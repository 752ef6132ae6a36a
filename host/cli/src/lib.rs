//! The client verbs of `symphony`: arguments, requests through the typed client, tables, progress, exit codes.
//!
//! ```text
//!   arguments (clap) ─► parsed values ─► symphony_api::Client ─► Output: stdout: the answer alone
//!         │ wrong: exit 2                     │ Failure                  stderr: remarks, progress
//!         └───────────────────────────────────┴────────────────────────► stderr: error + hint, exit 1, 3, 4, 5
//! ```
//! Never here: a server, a store, a sandbox. Everything goes over the API, or a
//! manager's or an agent's control socket.

#![warn(missing_docs)]

mod age;
mod connect;
mod console;
mod doctor;
mod failure;
mod globals;
mod output;
mod progress;
mod refusal;
mod rows;
mod socket;
mod story;
mod table;
mod target;
mod upload;
mod verbs;
mod verdicts;
mod wait;

use clap::Subcommand;
use symphony_core::node::Role;

pub use console::{DetachKey, DetachKeyError};
pub use failure::{Exit, Failure};
pub use globals::Globals;
pub use output::Format;
pub use target::Target;
pub use verbs::audit::AuditArgs;
pub use verbs::authority::AuthorityVerb;
pub use verbs::backup::BackupArgs;
pub use verbs::config::ConfigVerb;
pub use verbs::events::EventsArgs;
pub use verbs::explain::ExplainVerb;
pub use verbs::image::ImageVerb;
pub use verbs::join::{JoinArgs, RoleVerb};
pub use verbs::machine::MachineVerb;
pub use verbs::network::NetworkVerb;
pub use verbs::node::NodeVerb;
pub use verbs::plugin::PluginVerb;
pub use verbs::project::ProjectVerb;
pub use verbs::service::ServiceVerb;
pub use verbs::token::TokenVerb;
pub use verbs::volume::VolumeVerb;

use output::Output;

#[cfg(test)]
mod tests;

/// The client's verbs; flattened into the command line of the binary.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Disk images: create, list, show, delete
    #[command(subcommand, visible_alias = "images")]
    Image(ImageVerb),
    /// Block volumes: create, list, show, resize, delete
    #[command(subcommand, visible_alias = "volumes")]
    Volume(VolumeVerb),
    /// Virtual machines: create, list, show, start, stop, reboot, resize, attach, detach, console, delete
    #[command(subcommand, visible_alias = "vm", aliases = ["machines", "vms"])]
    Machine(MachineVerb),
    /// Virtual networks: create, list, show, delete
    #[command(subcommand, visible_alias = "net", alias = "networks")]
    Network(NetworkVerb),
    /// The node of a control socket as block storage: init
    #[command(subcommand)]
    Block(RoleVerb),
    /// The node of a control socket as a runner of machines: init
    #[command(subcommand)]
    Compute(RoleVerb),
    /// Servers: list, show, cordon, uncordon, drain, fence, power
    #[command(subcommand, visible_alias = "nodes")]
    Node(NodeVerb),
    /// Schedulers and drivers: new, build, push, list, show, activate, rollback
    #[command(subcommand, visible_alias = "plugins")]
    Plugin(PluginVerb),
    /// Why something is where it is, or nowhere
    #[command(subcommand)]
    Explain(ExplainVerb),
    /// What happened
    Events(EventsArgs),
    /// Tenants and what they may have: create, list, show, set-quota, delete
    #[command(subcommand, visible_alias = "projects")]
    Project(ProjectVerb),
    /// What lets processes join, and people use the API: create, list, revoke
    #[command(subcommand, visible_alias = "tokens")]
    Token(TokenVerb),
    /// Who wrote, and who was refused
    Audit(AuditArgs),
    /// What is wrong with the store, managers, nodes and plugins, and what to do about it
    #[command(after_help = verbs::doctor::HELP)]
    Doctor,
    /// Write all that the managers keep into a file, for `restore`; secrets are in it
    Backup(BackupArgs),
    /// Which manager this client talks to
    #[command(subcommand)]
    Config(ConfigVerb),
}

/// Does one verb.
///
/// # Errors
/// What failed, what to do next, and the exit code.
pub async fn run(globals: &Globals, verb: Verb) -> Result<(), Failure> {
    let output = Output {
        format: globals.output,
        quiet: globals.quiet,
    };
    let verb = match verb {
        // These ask no manager, or the agent of a node.
        Verb::Block(RoleVerb::Init(args)) => return verbs::join::run(globals, output, Role::Block, &args).await,
        Verb::Compute(RoleVerb::Init(args)) => return verbs::join::run(globals, output, Role::Compute, &args).await,
        Verb::Image(ImageVerb::Init(args)) => return verbs::join::run(globals, output, Role::Image, &args).await,
        Verb::Network(NetworkVerb::Init(args)) => return verbs::join::run(globals, output, Role::Network, &args).await,
        Verb::Config(verb) => return verbs::config::run(globals, output, &verb),
        Verb::Plugin(verb) => match verbs::plugin::run_locally(output, verb)? {
            Some(verb) => Verb::Plugin(verb),
            None => return Ok(()),
        },
        other => other,
    };
    let client = match verb {
        Verb::Project(_) | Verb::Token(_) | Verb::Audit(_) | Verb::Backup(_) | Verb::Doctor => {
            connect::over_either(globals)?
        }
        _ => connect::over_the_api(globals)?,
    };
    match verb {
        Verb::Project(verb) => verbs::project::run(&client, output, verb).await,
        Verb::Token(verb) => verbs::token::run(&client, output, globals, verb).await,
        Verb::Audit(args) => verbs::audit::run(&client, output, &args).await,
        Verb::Doctor => verbs::doctor::run(&client, output, globals.socket.is_none()).await,
        Verb::Backup(args) => verbs::backup::run(&client, output, &args).await,
        Verb::Image(verb) => verbs::image::run(&client, output, verb).await,
        Verb::Volume(verb) => verbs::volume::run(&client, output, verb).await,
        Verb::Machine(verb) => verbs::machine::run(&client, output, verb).await,
        Verb::Network(verb) => verbs::network::run(&client, output, verb).await,
        Verb::Node(verb) => verbs::node::run(&client, output, verb).await,
        Verb::Plugin(verb) => verbs::plugin::run(&client, output, verb).await,
        Verb::Explain(ExplainVerb::Volume { volume }) => verbs::explain::volume(&client, output, &volume).await,
        Verb::Explain(ExplainVerb::Machine { machine }) => verbs::explain::machine(&client, output, &machine).await,
        Verb::Events(args) => verbs::events::run(&client, output, &args).await,
        Verb::Config(_) | Verb::Block(_) | Verb::Compute(_) => Ok(()),
    }
}

/// Does one verb of `manager ca`: over the control socket when one is given, else over the API.
///
/// # Errors
/// As [`run`].
pub async fn run_authority(globals: &Globals, verb: AuthorityVerb) -> Result<(), Failure> {
    let output = Output {
        format: globals.output,
        quiet: globals.quiet,
    };
    let client = connect::over_either(globals)?;
    verbs::authority::run(&client, output, &verb).await
}

/// Does one verb of `manager service`: over the control socket when one is given, else over the API.
///
/// # Errors
/// As [`run`].
pub async fn run_service(globals: &Globals, verb: ServiceVerb) -> Result<(), Failure> {
    let output = Output {
        format: globals.output,
        quiet: globals.quiet,
    };
    let client = connect::over_either(globals)?;
    verbs::service::run(&client, output, &verb).await
}
