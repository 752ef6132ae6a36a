//! Where symphony keeps what it must not forget: one [`Store`] with etcd's semantics, and its backends.
//!
//! Owns keys, values, revisions, transactions, watches and leases, and the file they are in ([`Embedded`]). It knows no
//! resource kind: what a key means and what is in a value is its callers' affair. The embedded store's times come from
//! a [`Clock`].
//!
//! ```text
//!   callers ──► Store (trait) ◄── Embedded (redb file, one writer thread, group commit)
//!                  ▲         ◄── Etcd (feature: the members of an etcd cluster)
//!            conformance (feature): the cases every backend must pass
//! ```
//!
//! What always holds, on every backend:
//! - A write is answered after it is durable, and only then seen by readers and watches.
//! - Every transaction that changes something gets one new revision, which all its changes share.
//! - A watch misses nothing and repeats nothing from the revision it began at, or ends with an error.

mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod embedded;
mod error;
#[cfg(feature = "etcd")]
pub mod etcd;
mod health;
mod key;
mod kv;
mod lease;
pub mod limits;
pub mod member;
mod range;
mod recent;
mod store;
mod txn;
mod watch;

pub use clock::{Clock, ManualClock, MonotonicClock};
pub use embedded::{Embedded, Options};
pub use error::{Cause, Error, Result};
#[cfg(feature = "etcd")]
pub use etcd::{Etcd, EtcdOptions, EtcdTls, Secret};
pub use health::{Alarm, MemberHealth, MemberState};
pub use key::{Key, Keys};
pub use kv::{KeyValue, Revision};
pub use lease::{LeaseId, LeaseStatus};
pub use range::{Range, RangeResult};
pub use store::{Status, Store, StoreExt, read_all};
pub use txn::{Compare, CompareOp, Op, OpResult, Target, Txn, TxnResult};
pub use watch::{Event, Watch, WatchBatch, WatchStream};
