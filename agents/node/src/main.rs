//! The binary `symphony-agent`: the native process on a node, with the executors of the roles that it was given.

mod abilities;
mod cli;
mod down;
mod executors;
mod start;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse() {
        // Before anything else of the agent exists: this process is about to be locked in.
        cli::Cli {
            verb: Some(cli::Verb::Jail { job }),
            ..
        } => cli::exit(symphony_agent::jail::inside::enter(&job)),
        cli => start::start(&cli),
    }
}
