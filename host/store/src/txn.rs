//! Transactions: compares, and the operations to do when all of them hold or not.

mod check;

use bytes::Bytes;

use crate::{Key, Keys, LeaseId, Range, RangeResult, Revision};

/// What of a key is compared, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Its value. A key that does not exist has none, so that no compare of its value holds.
    Value(Bytes),
    /// How many times it was put; 0 when it does not exist.
    Version(u64),
    /// When it came to be; 0 when it does not exist.
    CreateRevision(Revision),
    /// When it was last changed; 0 when it does not exist.
    ModRevision(Revision),
    /// Its lease; none also when it does not exist.
    Lease(Option<LeaseId>),
}

/// How the stored side stands to the given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// Stored = given.
    Equal,
    /// Stored ≠ given.
    NotEqual,
    /// Stored > given.
    Greater,
    /// Stored < given.
    Less,
}

/// One condition. On a span of keys it holds when it holds for each key in it; when none is in it, it is made against
/// a key that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The keys.
    pub keys: Keys,
    /// How to compare.
    pub op: CompareOp,
    /// What with.
    pub target: Target,
}

impl Compare {
    /// Any compare on any keys.
    pub fn new(keys: Keys, op: CompareOp, target: Target) -> Self {
        Self { keys, op, target }
    }

    /// The key does not exist.
    pub fn absent(key: impl Into<Key>) -> Self {
        Self::create_revision(key, Revision::NONE)
    }

    /// The key exists.
    pub fn present(key: impl Into<Key>) -> Self {
        let target = Target::CreateRevision(Revision::NONE);
        Self::new(Keys::one(key), CompareOp::Greater, target)
    }

    /// No key starts with `prefix`.
    pub fn none_under(prefix: impl Into<Key>) -> Self {
        let target = Target::CreateRevision(Revision::NONE);
        Self::new(Keys::prefix(prefix), CompareOp::Equal, target)
    }

    /// The key was last changed at `revision` ([`Revision::NONE`]: it does not exist).
    pub fn mod_revision(key: impl Into<Key>, revision: Revision) -> Self {
        Self::new(Keys::one(key), CompareOp::Equal, Target::ModRevision(revision))
    }

    /// No key that starts with `prefix` was changed after `revision`. A deleted key leaves no trace here.
    pub fn unchanged_under(prefix: impl Into<Key>, revision: Revision) -> Self {
        let target = Target::ModRevision(revision.next());
        Self::new(Keys::prefix(prefix), CompareOp::Less, target)
    }

    /// The key came to be at `revision`: what a leader compares of its own key.
    pub fn create_revision(key: impl Into<Key>, revision: Revision) -> Self {
        Self::new(Keys::one(key), CompareOp::Equal, Target::CreateRevision(revision))
    }

    /// The key was put this many times.
    pub fn version(key: impl Into<Key>, version: u64) -> Self {
        Self::new(Keys::one(key), CompareOp::Equal, Target::Version(version))
    }

    /// The key exists and has this value.
    pub fn value(key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        Self::new(Keys::one(key), CompareOp::Equal, Target::Value(value.into()))
    }

    /// The key has this lease.
    pub fn lease(key: impl Into<Key>, lease: Option<LeaseId>) -> Self {
        Self::new(Keys::one(key), CompareOp::Equal, Target::Lease(lease))
    }
}

/// One operation of a transaction. They are done in order, and each sees what those before it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a key's value and lease; without a lease the key no longer belongs to one.
    Put {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// The lease that the key goes with.
        lease: Option<LeaseId>,
    },
    /// Deletes keys. That there are none is no error and no change.
    Delete {
        /// The keys, at most [`DELETE_KEYS_MAX`](crate::limits::DELETE_KEYS_MAX) of them.
        keys: Keys,
    },
    /// Reads keys: at most [`TXN_GET_KEYS_MAX`](crate::limits::TXN_GET_KEYS_MAX), and at the newest revision only (an
    /// `at` is ignored).
    Get {
        /// What to read.
        range: Range,
    },
}

impl Op {
    /// Puts a key that has no lease.
    pub fn put(key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        }
    }

    /// Deletes one key.
    pub fn delete(key: impl Into<Key>) -> Self {
        Self::Delete { keys: Keys::one(key) }
    }

    /// Reads one key.
    pub fn get(key: impl Into<Key>) -> Self {
        Self::Get { range: Range::key(key) }
    }

    fn is_write(&self) -> bool {
        !matches!(self, Self::Get { .. })
    }
}

/// A transaction: when all `compares` hold, all of `success` is done, else all of `failure`, as one.
///
/// ```ignore
/// let txn = Txn::new().when(Compare::absent("volumes/a")).put("volumes/a", record).or_else_get("volumes/a");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// The condition; without any it holds.
    pub compares: Vec<Compare>,
    /// Done when the condition holds.
    pub success: Vec<Op>,
    /// Done when it does not.
    pub failure: Vec<Op>,
}

impl Txn {
    /// A transaction that does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition; all of them must hold.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds an operation for when the condition holds.
    #[must_use]
    pub fn then(mut self, op: Op) -> Self {
        self.success.push(op);
        self
    }

    /// Adds an operation for when the condition does not hold.
    #[must_use]
    pub fn or_else(mut self, op: Op) -> Self {
        self.failure.push(op);
        self
    }

    /// Puts a key that has no lease.
    #[must_use]
    pub fn put(self, key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        self.then(Op::put(key, value))
    }

    /// Puts a key that goes with `lease`.
    #[must_use]
    pub fn put_leased(self, key: impl Into<Key>, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.then(Op::Put {
            key: key.into(),
            value: value.into(),
            lease: Some(lease),
        })
    }

    /// Deletes one key.
    #[must_use]
    pub fn delete(self, key: impl Into<Key>) -> Self {
        self.then(Op::delete(key))
    }

    /// Deletes all keys that start with `prefix`.
    #[must_use]
    pub fn delete_prefix(self, prefix: impl Into<Key>) -> Self {
        self.then(Op::Delete {
            keys: Keys::prefix(prefix),
        })
    }

    /// Reads one key.
    #[must_use]
    pub fn get(self, key: impl Into<Key>) -> Self {
        self.then(Op::get(key))
    }

    /// Reads one key when the condition does not hold: to see what was there instead.
    #[must_use]
    pub fn or_else_get(self, key: impl Into<Key>) -> Self {
        self.or_else(Op::get(key))
    }

    /// Whether either branch can change anything.
    pub fn is_read_only(&self) -> bool {
        !self.success.iter().chain(&self.failure).any(Op::is_write)
    }
}

/// What one operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResult {
    /// The key was put.
    Put,
    /// So many keys were deleted.
    Delete {
        /// How many.
        deleted: u64,
    },
    /// What was read.
    Get(RangeResult),
}

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnResult {
    /// Whether the condition held.
    pub succeeded: bool,
    /// The store's revision after the transaction: its own, when it changed something.
    pub revision: Revision,
    /// One result for each operation of the branch that was done, in order.
    pub results: Vec<OpResult>,
}

impl TxnResult {
    /// The first key that was read, if any: what [`Txn::or_else_get`] saw.
    pub fn first_kv(&self) -> Option<&crate::KeyValue> {
        self.results.iter().find_map(|result| match result {
            OpResult::Get(answer) => answer.kvs.first(),
            OpResult::Put | OpResult::Delete { .. } => None,
        })
    }
}
