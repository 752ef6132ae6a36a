//! SIGTERM and SIGINT: the first asks for a clean end, the second ends at once.

use symphony_cli::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that was interrupted twice, as shells have it.
const INTERRUPTED: i32 = 130;

/// Gives a token that is cancelled by the first signal.
///
/// # Errors
/// When the handlers can't be installed.
pub(crate) fn stop_token() -> Result<CancellationToken, Failure> {
    let failed = |error: std::io::Error| Failure::caused("could not listen for signals", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        for last in [false, true] {
            // Both are safe to cancel: a signal that came is kept by the handler.
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if last {
                std::process::exit(INTERRUPTED);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
