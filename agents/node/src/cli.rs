//! The arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use symphony_core::name::Name;

/// The agent of one node: does what the manager asks, with the node's own pools and images.
#[derive(Debug, Parser)]
#[command(
    name = "symphony-agent",
    version,
    subcommand_negates_reqs = true,
    after_help = "Example:\n  symphony-agent --config-dir /etc/symphony/agent\n\n\
                  The folder holds the agent's identity and ledger, and agent.toml if there is one; it may be empty or missing.\n\
                  An agent that is in no cluster waits for this, said on its server:\n  \
                  symphony --socket /etc/symphony/agent/control.sock block init MANAGER --token T"
)]
pub(crate) struct Cli {
    /// The agent's folder; relative paths in agent.toml start here.
    #[arg(long, value_name = "DIR", required = true, env = "SYMPHONY_AGENT_CONFIG_DIR")]
    pub(crate) config_dir: Option<PathBuf>,
    /// The node's name [default: that in agent.toml, else that of this server]; it keeps the one it was let in with.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// End when standard input ends: an agent that was started by a program ends with it.
    #[arg(long)]
    pub(crate) exit_with_stdin: bool,
    /// Say more; twice: say everything. RUST_LOG overrides it.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// What it does instead of running.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say in one line what this node lacks for the roles of its agent, and end with 1; nothing, and 0, when it lacks nothing
    #[command(after_help = "Example:\n  symphony-agent check --config-dir /etc/symphony/agent")]
    Check {
        /// The folder of agent.toml.
        #[arg(long, value_name = "DIR", env = "SYMPHONY_AGENT_CONFIG_DIR")]
        config_dir: Option<PathBuf>,
    },
    /// End all that a stopped agent has left running here: machines, libvirtd, networks. Disks and definitions stay
    #[command(
        after_help = "Example:\n  systemctl stop symphony-agent\n  symphony-agent down --config-dir /etc/symphony/agent\n\n\
                      Machines are asked to shut down, and cut off when they do not. When the agent runs again, whatever is \
                      wanted here comes back."
    )]
    Down {
        /// The folder of agent.toml.
        #[arg(long, value_name = "DIR", env = "SYMPHONY_AGENT_CONFIG_DIR")]
        config_dir: Option<PathBuf>,
        /// How long machines may take to shut down, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
        patience: u64,
    },
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
