//! `cargo xtask chaos`: a whole cluster in namespaces, struck at random for as long as one likes.

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::process::{cargo, run as start};

/// For how long, and from where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Minutes.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The seed; a new one each time when not given. It is printed.
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds the programs and the test, and runs it; prints each round.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|since| since.as_secs())
    };
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => now()?,
    };
    start(&mut cargo(&[
        "build",
        "--quiet",
        "-p",
        "symphony",
        "-p",
        "symphony-node",
    ]))?;
    let words = ["test", "--quiet", "-p", "symphony-tests", "--test", "system", "--"];
    let test = ["--exact", "system::chaos::on_and_on", "--ignored", "--nocapture"];
    let mut test = cargo(&[&words[..], &test].concat());
    test.env("SYMPHONY_CHAOS_MINUTES", arguments.minutes.to_string());
    test.env("SYMPHONY_CHAOS_SEED", seed.to_string());
    start(&mut test)
}
