//! `cargo xtask`: what this repository is built, tried and shown with. Each verb is a module of its own.

mod plugins;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, tries and shows symphony.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

// `demo`, `test`, `bench` and `lint` come here, each with a module beside `plugins`.
#[derive(Subcommand)]
enum Verb {
    /// Builds the first-party components into `target/plugins/`, where `symphony` embeds them from.
    Plugins(plugins::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
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
