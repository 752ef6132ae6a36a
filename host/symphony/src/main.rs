//! The binary `symphony`: a manager, a small cloud on one server (`dev`), and the client. No logic of its own.

mod args;
mod commands;
mod dev;
mod etcd;
mod first_party;
mod folder;
mod logging;
mod manager;
mod restore;
mod signals;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
