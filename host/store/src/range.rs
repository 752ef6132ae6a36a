//! A question for keys, and its answer.

use crate::limits::TXN_GET_KEYS_MAX;
use crate::{Key, KeyValue, Keys, Revision};

/// Which keys to read, and how. Without more it is all of them at the newest revision, in order, with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The keys.
    pub keys: Keys,
    /// At most this many; none is all.
    pub limit: Option<usize>,
    /// As they were at this revision; none is now.
    pub at: Option<Revision>,
    /// From the last key to the first.
    pub reverse: bool,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
}

impl Range {
    /// Reads these keys.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            limit: None,
            at: None,
            reverse: false,
            keys_only: false,
            count_only: false,
        }
    }

    /// Reads one key.
    pub fn key(key: impl Into<Key>) -> Self {
        Self::new(Keys::one(key))
    }

    /// Reads all keys that start with `prefix`.
    pub fn prefix(prefix: impl Into<Key>) -> Self {
        Self::new(Keys::prefix(prefix))
    }

    /// Answers at most `limit` keys.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    /// Reads as of `revision`.
    #[must_use]
    pub fn at(self, revision: Revision) -> Self {
        Self {
            at: Some(revision),
            ..self
        }
    }

    /// Reads from the last key to the first.
    #[must_use]
    pub fn reverse(self) -> Self {
        Self { reverse: true, ..self }
    }

    /// Leaves the values out.
    #[must_use]
    pub fn keys_only(self) -> Self {
        Self {
            keys_only: true,
            ..self
        }
    }

    /// The same inside a transaction: at the newest revision, and not without end.
    pub(crate) fn in_txn(&self) -> Self {
        Self {
            at: None,
            limit: Some(self.limit.unwrap_or(TXN_GET_KEYS_MAX).min(TXN_GET_KEYS_MAX)),
            ..self.clone()
        }
    }

    /// Only counts; a limit has no effect on it.
    #[must_use]
    pub fn count_only(self) -> Self {
        Self {
            count_only: true,
            ..self
        }
    }
}

/// The answer to a [`Range`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeResult {
    /// The store's newest revision when the answer was made (not the revision asked for): watch from its
    /// [`next`](Revision::next).
    pub revision: Revision,
    /// The keys in the order asked for.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left keys out.
    pub more: bool,
    /// How many keys are in the whole span. None when a limit cut the list: counting would read all of them, so it is
    /// done on demand only ([`Range::count_only`]).
    pub count: Option<u64>,
}
