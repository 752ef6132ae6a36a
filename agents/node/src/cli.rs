//! The arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The agent of one node: does what the manager asks, with the node's own pools and images.
#[derive(Debug, Parser)]
#[command(
    name = "symphony-agent",
    version,
    subcommand_negates_reqs = true,
    after_help = "Example:\n  symphony-agent --config-dir /etc/symphony/agent\n\n\
                  The folder holds agent.toml and the agent's ledger. `symphony dev` writes one for each of its nodes."
)]
pub(crate) struct Cli {
    /// The folder of agent.toml; relative paths in it start here.
    #[arg(long, value_name = "DIR", required = true, env = "SYMPHONY_AGENT_CONFIG_DIR")]
    pub(crate) config_dir: Option<PathBuf>,
    /// End when standard input ends: an agent that was started by a program ends with it.
    #[arg(long)]
    pub(crate) exit_with_stdin: bool,
    /// Say more; twice: say everything. RUST_LOG overrides it.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) hidden: Option<Hidden>,
}

/// Not for people.
#[derive(Debug, Subcommand)]
pub(crate) enum Hidden {
    /// Closes the jail around this process and becomes a program.
    #[command(name = "__jail", hide = true)]
    Jail {
        /// The job, as JSON.
        job: String,
    },
}

/// An exit code from a number.
pub(crate) fn exit(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
