//! Work that blocks its thread for a while: on the pool of threads that is for it. A simulation, in which nothing may depend
//! on when a thread gets its turn, has it done at once instead.

use tokio::task::JoinError;

#[cfg(feature = "simulated")]
thread_local! {
    static AT_ONCE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From now on what blocks is done on this thread, when it comes.
#[cfg(feature = "simulated")]
pub fn at_once() {
    AT_ONCE.set(true);
}

/// Does it, and waits for it.
///
/// # Errors
/// It panicked, or the runtime ends.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    #[cfg(feature = "simulated")]
    if AT_ONCE.get() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
