//! Leases: keys that go when their owner no longer says that it lives.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Key;

/// The name of a lease, given by the store. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The lease.
    pub lease: LeaseId,
    /// The time to live that it was granted.
    pub granted: Duration,
    /// What is left of it without another keep-alive.
    pub remaining: Duration,
    /// The keys that go with it, in order; at most [`LEASE_KEYS_MAX`](crate::limits::LEASE_KEYS_MAX).
    pub keys: Vec<Key>,
}
