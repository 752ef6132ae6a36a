//! The one place where the manager's loops read the clock and mint ids.

use jiff::Timestamp;
use uuid::Uuid;

/// The time now, for display and for ages in tables; no decision is made on it.
#[must_use]
pub fn now() -> Timestamp {
    #[cfg(feature = "simulated")]
    if let Some(now) = simulated::now() {
        return now;
    }
    Timestamp::now()
}

/// A new UUIDv7: ordered by time.
#[must_use]
pub fn new_uuid() -> Uuid {
    #[cfg(feature = "simulated")]
    if let Some(uuid) = simulated::new_uuid() {
        return uuid;
    }
    Uuid::now_v7()
}

/// A clock that goes with tokio's, which a simulation pauses, and ids that are the same in every run.
#[cfg(feature = "simulated")]
pub mod simulated {
    use std::cell::Cell;

    use jiff::{SignedDuration, Timestamp};
    use tokio::time::Instant;
    use uuid::Uuid;

    /// When simulated time begins, in seconds since 1970.
    const BEGINNING: i64 = 1_800_000_000;

    thread_local! {
        static ZERO: Cell<Option<Instant>> = const { Cell::new(None) };
        static MINTED: Cell<u64> = const { Cell::new(0) };
    }

    /// From now on this thread's clock is tokio's, and its ids are counted. Within a runtime only.
    pub fn begin() {
        ZERO.set(Some(Instant::now()));
        MINTED.set(0);
    }

    pub(super) fn now() -> Option<Timestamp> {
        let zero = ZERO.get()?;
        let since = SignedDuration::try_from(zero.elapsed()).ok()?;
        Timestamp::from_second(BEGINNING).ok()?.checked_add(since).ok()
    }

    pub(super) fn new_uuid() -> Option<Uuid> {
        let now = now()?;
        let count = MINTED.get() + 1;
        MINTED.set(count);
        let millis = u64::try_from(now.as_millisecond()).ok()?;
        let mut rest = [0; 10];
        rest[2..].copy_from_slice(&count.to_be_bytes());
        Some(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid())
    }
}
