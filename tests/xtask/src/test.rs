//! `cargo xtask test`: all that must hold, on a machine that has nothing but Rust.

use std::error::Error;

use crate::{demo, guests, lint, plugins, process, setup};

/// Sets up, builds, lints, tests, and ends with the demonstration.
pub(crate) fn run(only_tests: bool) -> Result<(), Box<dyn Error>> {
    setup::run(setup::Need::Machines)?;
    plugins::run(&plugins::Arguments {
        guests: true,
        offline: false,
    })?;
    guests::run()?;
    if !only_tests {
        lint::run()?;
    }
    // The system tests drive the real programs; cargo does not build another package's binaries for a test.
    process::run(&mut process::cargo(&[
        "build",
        "--quiet",
        "-p",
        "symphony",
        "-p",
        "symphony-node",
    ]))?;
    process::run(&mut process::cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    if !only_tests {
        demo::run(&demo::Arguments {
            once: true,
            image: None,
            nodes: 3,
        })?;
    }
    Ok(())
}
