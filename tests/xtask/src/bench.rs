//! `cargo xtask bench`: builds everything as it is shipped, and lets `symphony-bench` measure it.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use crate::{plugins, process, setup};

/// What `bench` takes; `symphony-bench` reads it again.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also write the figures to this file: an object with a number for each name.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure this one, or those below it (`place.scan`); may be given several times. All when absent.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// Sets up, builds, measures.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    setup::run(setup::Need::Machines)?;
    plugins::run(&plugins::Arguments::default())?;
    eprintln!("building in release mode …");
    process::run(&mut process::cargo(&[
        "build",
        "--quiet",
        "--release",
        "-p",
        "symphony",
        "-p",
        "symphony-node",
        "-p",
        "symphony-bench",
    ]))?;
    // The clouds' folders: on the disk that is built on, for a temporary folder may be in memory.
    let disk = process::target_dir().join("bench");
    std::fs::create_dir_all(&disk)?;
    let mut bench = Command::new(process::target_dir().join("release/symphony-bench"));
    bench.env("TMPDIR", &disk);
    bench.args(arguments.only.iter().flat_map(|name| ["--only", name]));
    if let Some(json) = &arguments.json {
        bench.arg("--json").arg(json);
    }
    let measured = process::run(&mut bench);
    // What the clouds compiled once for all of them is left in there.
    std::fs::remove_dir_all(&disk)?;
    measured
}
