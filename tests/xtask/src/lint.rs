//! `cargo xtask lint`: what a reader would stumble over: format, clippy, documentation.

use std::error::Error;

use crate::{plugins, process, setup};

/// Checks everything; the first complaint ends it.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    setup::run(setup::Need::Building)?;
    process::run(&mut process::cargo(&["fmt", "--all", "--", "--check"]))?;
    plugins::run(&plugins::Arguments::default())?;
    process::run(&mut process::cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    // A module may speak of its private parts: its readers are those who change it.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    process::run(process::cargo(&["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", flags))?;
    eprintln!("lint: nothing to complain about");
    Ok(())
}
