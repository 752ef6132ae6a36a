//! `symphony agent`: becomes `symphony-agent`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use symphony_cli::Failure;

use crate::args::AgentArgs;
use crate::dev::fleet::agent_program;

/// Replaces this process by the agent: signals, exit code and stdin are its own then. Returns only when that fails.
pub(crate) fn become_agent(args: &AgentArgs) -> Failure {
    let program = match agent_program() {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let error = Command::new(&program)
        .arg("--config-dir")
        .arg(&args.config_dir)
        .args(&args.rest)
        .exec();
    Failure::caused(format!("could not start {}", program.display()), &error)
}
