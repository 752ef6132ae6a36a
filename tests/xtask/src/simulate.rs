//! `cargo xtask simulate`: many simulated hours of clusters, with faults.

use std::error::Error;

use crate::process::{cargo, run as start};

/// For how long, and from where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Simulated hours.
    #[arg(long, default_value_t = 200.0)]
    hours: f64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Optimised; building that takes some minutes.
    #[arg(long)]
    release: bool,
}

/// Builds it and runs it; says how far it is, and prints simulated hours, faults, violations and the time it took.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (hours, from) = (arguments.hours.to_string(), arguments.from.to_string());
    let mut words = vec!["run", "-p", "symphony-simulate"];
    if arguments.release {
        words.push("--release");
    }
    words.extend(["--", "--hours", &hours, "--from", &from]);
    start(&mut cargo(&words))
}
