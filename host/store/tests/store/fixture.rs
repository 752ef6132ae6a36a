//! Stores for tests: a file in a folder that goes with them, and a clock that stands still.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use symphony_store::{Embedded, ManualClock, Options};
use tempfile::TempDir;

pub(crate) struct Fixture {
    folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new()),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store.redb")
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            clock: Arc::clone(&self.clock) as _,
            ..Options::default()
        }
    }

    pub(crate) async fn open(&self) -> Embedded {
        self.open_with(self.options()).await
    }

    pub(crate) async fn open_with(&self, options: Options) -> Embedded {
        Embedded::open(self.path(), options).await.unwrap()
    }

    pub(crate) fn advance(&self, step: Duration) {
        self.clock.advance(step);
    }
}
