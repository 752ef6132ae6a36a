//! The one place where the manager's loops read the clock and mint ids.

use jiff::Timestamp;
use uuid::Uuid;

/// The time now, for display and for ages in tables; no decision is made on it.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A new UUIDv7: ordered by time.
#[must_use]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}
