//! SIGTERM and SIGINT: the first asks for a clean end, the second ends at once.

use std::io::Read as _;

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

/// Cancels a token when standard input ends: whoever started this process holds it open.
///
/// # Errors
/// When no thread can be had.
pub(crate) fn stop_with_stdin(stop: CancellationToken) -> Result<(), Failure> {
    // A thread of its own: a read of standard input can't be given up, and must not hold the process back.
    let wait = move || {
        let mut buffer = [0; 256];
        // What comes is of no interest, only its end.
        while matches!(std::io::stdin().read(&mut buffer), Ok(count) if count > 0) {}
        stop.cancel();
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(wait)
        .map(drop)
        .map_err(|error| Failure::caused("could not watch standard input", &error))
}
