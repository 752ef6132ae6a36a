//! The one source of chance of a run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A xorshift generator. Clones share their state.
#[derive(Clone)]
pub struct Rng(Arc<Mutex<u64>>);

impl Rng {
    /// One that is told by its seed alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Seeds 0, 1, 2 … are far from one another after this.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(Arc::new(Mutex::new((mixed ^ (mixed >> 31)) | 1)))
    }

    /// Any number.
    #[must_use]
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 when that is 0.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 { 0 } else { (self.next() >> 16) % end }
    }

    /// Which of so many.
    #[must_use]
    pub fn index(&self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).unwrap_or(0)
    }

    /// Whether something happens that does so `permille` of a thousand times.
    #[must_use]
    pub fn happens(&self, permille: u64) -> bool {
        permille > 0 && self.below(1_000) < permille
    }

    /// A time from `low` to `high` milliseconds.
    #[must_use]
    pub fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.below(high.saturating_sub(low) + 1))
    }
}
