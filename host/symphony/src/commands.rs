//! From the command line to what it asks for.

mod agent;
mod completion;
pub(crate) mod dev;
mod manager;
mod restore;

use std::process::ExitCode;

use clap::Parser as _;
use symphony_cli::{Failure, ServiceVerb};

use crate::args::{Command, CommandLine, ManagerVerb};
use crate::logging;

/// Reads the command line and does it.
pub(crate) fn main() -> ExitCode {
    let line = CommandLine::parse();
    let color = line.globals.color();
    if matches!(line.command, Command::CompilePlugin) {
        // Before anything else is set up: this process is to hold as little as possible.
        return symphony_runtime::compile::child_main();
    }
    logging::start(line.verbose, color);
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(color),
    }
}

fn run(line: CommandLine) -> Result<(), Failure> {
    let CommandLine {
        globals,
        verbose,
        command,
    } = line;
    let (args, verb) = match command {
        Command::Agent(args) => return Err(agent::become_agent(&args)),
        Command::Completion { shell } => return completion::print(shell),
        Command::CompilePlugin => return Ok(()),
        Command::Dev(args) => return runtime()?.block_on(dev::run(&globals, &args, verbose)),
        Command::Restore(args) => return runtime()?.block_on(restore::run(&globals, &args)),
        Command::Client(verb) => return runtime()?.block_on(symphony_cli::run(&globals, verb)),
        Command::Manager(manager) => (manager.args, manager.verb),
    };
    let service = match verb {
        None => return runtime()?.block_on(manager::run(&args)),
        Some(ManagerVerb::Ca(verb)) => return runtime()?.block_on(symphony_cli::run_authority(&globals, verb)),
        Some(ManagerVerb::Service(verb)) => verb,
        Some(ManagerVerb::Init { address: _ }) => ServiceVerb::Init,
        Some(ManagerVerb::Remove { id, force }) => ServiceVerb::Remove { id, force },
    };
    runtime()?.block_on(symphony_cli::run_service(&globals, service))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::caused("could not start", &error))
}
