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
    /// This seed alone: what a failed run says of itself.
    #[arg(long)]
    seed: Option<u64>,
    /// How long each script is, in simulated minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Something that is wrong on purpose: `keeps-all`, `boards-lie`, …; the simulation names them all.
    #[arg(long, default_value = "none")]
    mutation: String,
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
    let (minutes, seed) = (
        arguments.minutes.to_string(),
        arguments.seed.map(|seed| seed.to_string()),
    );
    words.extend(["--", "--hours", &hours, "--from", &from, "--minutes", &minutes]);
    words.extend(["--mutation", &arguments.mutation]);
    if let Some(seed) = &seed {
        words.extend(["--seed", seed]);
    }
    start(&mut cargo(&words))
}
