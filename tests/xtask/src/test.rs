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
    // The system tests drive the real programs, of other packages: all of the workspace is built before the first test
    // runs. Building these programs by themselves would build most dependencies once more, with fewer features.
    process::run(&mut process::cargo(&["test", "--quiet", "--workspace", "--no-run"]))?;
    process::run(&mut process::cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    if !only_tests {
        demo::run(&demo::Arguments {
            once: true,
            image: None,
            nodes: 3,
            is_built: true,
        })?;
    }
    Ok(())
}
