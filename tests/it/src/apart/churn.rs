//! A client that makes and deletes small volumes all the time, whoever suffers: calls are always under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use symphony_api::v1::{CreateVolume, CreateVolumeSpec, Labels, Size};

use super::History;

/// Between two volumes.
const PAUSE: Duration = Duration::from_millis(400);
/// Volumes that stay.
const KEPT: usize = 4;

/// The client, while this lives.
pub struct Churn {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Churn {
    /// Begins; the history knows what was acknowledged.
    #[must_use]
    pub fn start(history: &Arc<History>) -> Self {
        let (history, stop) = (Arc::clone(history), Arc::<AtomicBool>::default());
        let (stopped, runtime) = (Arc::clone(&stop), tokio::runtime::Handle::current());
        // A thread that nobody waits for when the test has failed.
        let thread = std::thread::spawn(move || runtime.block_on(churn(&history, &stopped)));
        Self { stop, thread }
    }

    /// Whether it was refused for good.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it when it was answered; gives how many volumes it made.
    ///
    /// # Panics
    /// When it was refused, with a code after which nobody asks again.
    pub async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await;
        let refused = "each failure was one after which the request may be sent again";
        ended.expect("it can be waited for").expect(refused)
    }
}

async fn churn(history: &History, stop: &AtomicBool) -> usize {
    let mut kept = VecDeque::new();
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let volume = CreateVolume {
            name: format!("churn-{number}"),
            labels: Labels::default(),
            spec: CreateVolumeSpec {
                size: Some(Size::text("1MiB")),
                ..CreateVolumeSpec::default()
            },
        };
        history.create_volume(&volume).await;
        kept.push_back(volume.name);
        if kept.len() > KEPT
            && let Some(oldest) = kept.pop_front()
        {
            history.delete_volume(&oldest).await;
        }
        number += 1;
        tokio::time::sleep(PAUSE).await;
    }
    number
}
