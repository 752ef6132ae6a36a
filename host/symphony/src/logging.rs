//! Logs go to stderr, and are quiet unless asked for. Never to stdout: that is for answers.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging: warnings of ours alone, `-v` for what happens, `-vv` for everything of ours. `RUST_LOG` wins.
pub(crate) fn start(verbose: u8, color: bool) {
    let default = match verbose {
        0 => "error",
        1 => "info",
        2 => {
            "info,symphony=debug,symphony_control=debug,symphony_server=debug,symphony_runtime=debug,symphony_store=debug"
        }
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A second start in one process (a test) keeps the first.
    _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color && std::io::stderr().is_terminal())
        .try_init();
}
