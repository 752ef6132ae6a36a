//! The child process that compiles: gives up whatever it does not need, then reads, compiles, writes and ends.
//!
//! It needs no file, no network and no other process: a component comes on standard input, machine code goes to standard
//! output. A bug in the compiler that a component exploits finds itself in there.

use std::io::{Read, Write};
use std::process::ExitCode;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError};
use rustix::process::{Resource, Rlimit};
use symphony_core::plugin::COMPONENT_BYTES_MAX;

use crate::engine::{Purpose, engine};
use crate::fault::chain;

/// The component is at fault; standard error says why.
pub(super) const EXIT_REFUSED: i32 = 3;
const MEMORY_BYTES: u64 = 2 << 30;
const CPU_SECONDS: u64 = 120;

/// What the child does, from start to end. The program that is the child calls this first of all, before it has started
/// any thread.
#[must_use]
pub fn child_main() -> ExitCode {
    if let Err(error) = confine() {
        let _ = writeln!(std::io::stderr(), "the compiler could not be confined: {error}");
        return ExitCode::FAILURE;
    }
    match compile() {
        Ok(code) => match std::io::stdout().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(text) => {
            let _ = write!(std::io::stderr(), "{text}");
            ExitCode::from(u8::try_from(EXIT_REFUSED).unwrap_or(u8::MAX))
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConfineError {
    #[error("{0}")]
    System(#[from] rustix::io::Errno),
    #[error("{0}")]
    Landlock(#[from] RulesetError),
}

fn confine() -> Result<(), ConfineError> {
    for (resource, limit) in [
        (Resource::As, MEMORY_BYTES),
        (Resource::Cpu, CPU_SECONDS),
        // Standard output is a pipe: there is no file to write.
        (Resource::Fsize, 0),
        (Resource::Nofile, 16),
        (Resource::Core, 0),
    ] {
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            },
        )?;
    }
    rustix::process::nice(10)?;
    rustix::thread::set_no_new_privs(true)?;
    // No path and no port is allowed. Kernels without Landlock go on without it.
    let abi = ABI::V4;
    Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .restrict_self()?;
    Ok(())
}

fn compile() -> Result<Vec<u8>, String> {
    let mut component = Vec::new();
    std::io::stdin()
        .take(COMPONENT_BYTES_MAX + 1)
        .read_to_end(&mut component)
        .map_err(|error| error.to_string())?;
    if component.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(format!("it has over {COMPONENT_BYTES_MAX} bytes"));
    }
    let engine = engine(Purpose::Production).map_err(|error| chain(&error))?;
    engine.precompile_component(&component).map_err(|error| chain(&error))
}
