//! What happened, in order: faults, orders, and what was seen of processes. Told when a test fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The most lines that are told.
const TOLD_MAX: usize = 400;

/// A list of lines with the time of each. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Story {
    began: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            lines: Arc::default(),
        }
    }
}

impl Story {
    /// Adds a line.
    pub fn note(&self, line: impl AsRef<str>) {
        let line = format!("{:9.3} s  {}", self.began.elapsed().as_secs_f64(), line.as_ref());
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Seconds since it began.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Its last lines.
    #[must_use]
    pub fn told(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines[lines.len().saturating_sub(TOLD_MAX)..].join("\n")
    }
}
