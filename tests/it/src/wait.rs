//! Waiting for something to be seen. The limit is there so that a broken system ends a test; nothing passes or fails by
//! how long it took.

use std::time::{Duration, Instant};

/// How long before a test gives up.
#[derive(Debug, Clone, Copy)]
pub struct Patience(pub Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(Duration::from_secs(90))
    }
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none before patience ends; `what` says what was waited for.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < Patience::default().0, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
