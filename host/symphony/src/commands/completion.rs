//! `symphony completion`: what a shell needs to complete this command line.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;
use symphony_cli::Failure;

use crate::args::CommandLine;

/// Prints the script for a shell.
pub(crate) fn print(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "symphony", &mut script);
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(&script).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_our_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "symphony", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(
                script.contains("uncordon") && script.contains("--no-wait") || script.contains("no-wait"),
                "{shell}"
            );
        }
    }
}
