//! `cargo xtask`: what this repository is built, tried and shown with. Each verb is a module of its own.

#![expect(clippy::print_stdout, reason = "what it shows is for whoever ran it")]

mod bench;
mod chaos;
mod demo;
mod guests;
mod lint;
mod plugins;
mod process;
mod setup;
mod simulate;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, tries and shows symphony.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Sets up, builds, and shows the main job on this machine.
    Demo(demo::Arguments),
    /// Sets up, builds, lints, and passes all tests; ends with the demonstration.
    Test {
        /// No lint and no demonstration.
        #[arg(long)]
        only_tests: bool,
    },
    /// Sets up, builds in release mode, and measures the figures that the project gives of itself.
    Bench(bench::Arguments),
    /// Strikes a cluster in namespaces at every stage of a machine's life, from a seed, and looks for what must never be.
    Chaos(chaos::Arguments),
    /// Makes the disk that system tests boot machines from, when it is not there or its recipe changed.
    Guests,
    /// Installs what this repository needs of a server; nothing when it is there.
    Setup,
    /// Runs simulated clusters with faults, each from a seed, and looks for what must never be.
    Simulate(simulate::Arguments),
    /// Checks format, clippy and documentation.
    Lint,
    /// Builds the first-party components into `target/plugins/`, where `symphony` embeds them from.
    Plugins(plugins::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test { only_tests } => test::run(only_tests),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Chaos(arguments) => chaos::run(&arguments),
        Verb::Guests => guests::run(),
        Verb::Setup => setup::run(setup::Need::Clusters),
        Verb::Simulate(arguments) => simulate::run(&arguments),
        Verb::Lint => lint::run(),
        Verb::Plugins(arguments) => plugins::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint_chain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, one line each.
fn eprint_chain(error: &dyn std::error::Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
