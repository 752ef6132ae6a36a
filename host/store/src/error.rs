//! What a store can answer instead of a result. A compare that does not hold is no error: see `TxnResult::succeeded`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Key, LeaseId, Revision};

/// The result of a call to a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of a failure below the store.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked to. Unless [`is_ambiguous`](Error::is_ambiguous), nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// History at this revision is gone: read again at the newest, and watch from there on.
    #[error("revision {requested} is compacted, the oldest one left is {compact_revision}")]
    Compacted {
        /// The revision that was asked for.
        requested: Revision,
        /// The oldest revision that can be read and watched.
        compact_revision: Revision,
    },
    /// This revision has not been written yet.
    #[error("revision {requested} is in the future, the newest one is {current}")]
    FutureRevision {
        /// The revision that was asked for.
        requested: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// A transaction has too many operations or compares.
    #[error("transaction has {count} {what}, at most {max} are allowed")]
    TooManyOps {
        /// `operations` or `compares`.
        what: &'static str,
        /// How many it has.
        count: usize,
        /// How many it may have.
        max: usize,
    },
    /// A key, a value, a request or an answer is too large.
    #[error("{what} is larger than {max} bytes")]
    TooLarge {
        /// `key`, `value`, `request` or `answer`.
        what: &'static str,
        /// The limit in bytes.
        max: usize,
    },
    /// More of something than this store holds or handles at a time.
    #[error("limit of {max} {what} is reached")]
    LimitReached {
        /// `leases`, `watches`, `keys of one lease` or `keys of one delete`.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A key is put twice, or put and deleted, in one branch of a transaction.
    #[error("key {key} is changed twice in one transaction")]
    DuplicateKey {
        /// That key.
        key: Key,
    },
    /// A key is empty.
    #[error("key is empty")]
    EmptyKey,
    /// The lease never was, is revoked or has expired.
    #[error("lease {lease} does not exist")]
    LeaseNotFound {
        /// That lease.
        lease: LeaseId,
    },
    /// A lease's time to live is too short or too long.
    #[error("time to live must be between {min_secs} and {max_secs} seconds")]
    InvalidTtl {
        /// The shortest allowed, in seconds.
        min_secs: u64,
        /// The longest allowed, in seconds.
        max_secs: u64,
    },
    /// The store cannot be reached for now, or has no majority.
    #[error("store is unavailable")]
    Unavailable {
        /// Whether a write may have been made all the same; otherwise it surely was not.
        maybe_done: bool,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The store's members have no room left: reads and deletes work, puts and new leases do not until an operator has
    /// compacted, defragmented each member and disarmed the alarm. A write may have been made all the same: the one that
    /// raises the alarm is.
    #[error(
        "store has no space left: compact it, defragment each member, then disarm the alarm (etcdctl alarm disarm)"
    )]
    NoSpace,
    /// The store does not take this user, or not for this.
    #[error("store refused the user: {said}")]
    Denied {
        /// What it said.
        said: String,
    },
    /// One of the endpoints is a member of another cluster than the rest, or than before.
    #[error("{endpoint} belongs to etcd cluster {found:x}, not to {expected:x}")]
    WrongCluster {
        /// That endpoint.
        endpoint: String,
        /// Its cluster.
        found: u64,
        /// The cluster of the others.
        expected: u64,
    },
    /// What the store was to be opened or reached with cannot be right.
    #[error("store can't be reached like this: {what}")]
    Misconfigured {
        /// What is wrong.
        what: String,
    },
    /// The disk failed under the store, which is closed from now on. A write may or may not have been made.
    #[error("storage failed, the store is closed")]
    Failed {
        /// Why.
        #[source]
        source: Cause,
    },
    /// What is stored cannot be understood.
    #[error("store is corrupt: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// The store is closed.
    #[error("store is closed")]
    Closed,
    /// Another process, or this one, has the store file open.
    #[error("store {} is open already", path.display())]
    AlreadyOpen {
        /// The store's file.
        path: PathBuf,
    },
    /// The store file is of a format that this version does not know.
    #[error("store has format {found}, this version knows format {supported}")]
    UnknownFormat {
        /// The file's format.
        found: u64,
        /// The one format that can be read.
        supported: u64,
    },
}

impl Error {
    /// Whether the same call may succeed later on the same store. After an ambiguous failure look first what is there.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NoSpace)
    }

    /// Whether a write that was answered with this may have been made all the same.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Unavailable { maybe_done, .. } => *maybe_done,
            Self::NoSpace | Self::Failed { .. } => true,
            _ => false,
        }
    }
}
