//! `symphony config`: which manager this client talks to. Never prints a token.

use clap::Subcommand;
use serde::Serialize;

use crate::connect::{ConfigFile, find};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::Output;
use crate::table::details;

/// Which manager this client talks to
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Show the address, the project and where they come from
    #[command(after_help = "Examples:\n  symphony config show\n  SYMPHONY_CONFIG=DIR/client.toml symphony config show")]
    Show,
}

#[derive(Debug, Serialize)]
struct Shown {
    address: String,
    project: String,
    token: &'static str,
    source: String,
    file: String,
}

/// Does a verb.
pub(crate) fn run(globals: &Globals, output: Output, verb: &ConfigVerb) -> Result<(), Failure> {
    let ConfigVerb::Show = verb;
    let file = ConfigFile::of_the_environment()?;
    let found = find(globals, &file)?;
    let shown = Shown {
        address: found.context.address,
        project: found.context.project,
        token: if found.context.token.is_some() {
            "set"
        } else {
            "not set"
        },
        source: found.source,
        file: file.path.display().to_string(),
    };
    let text = details(&[
        ("address", shown.address.clone()),
        ("project", shown.project.clone()),
        ("token", shown.token.to_owned()),
        ("from", shown.source.clone()),
        ("file", shown.file.clone()),
    ]);
    output.value(&shown, &text, &shown.address)
}
