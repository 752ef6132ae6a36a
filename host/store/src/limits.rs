//! How much a store takes, and why. Each limit is an error when it is passed, never a silent cut unless it says so.

use std::time::Duration;

/// Operations in each branch of a transaction, and compares in its condition: etcd's default.
pub const OPS_MAX: usize = 128;
/// Bytes of all keys and values of a transaction: etcd's default.
pub const REQUEST_BYTES_MAX: usize = 1536 * 1024;
/// Bytes of one value. Images and logs do not belong into a store.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one key: several names of 253 bytes with what is between them.
pub const KEY_BYTES_MAX: usize = 4096;
/// Bytes of all keys and values of one answer; a longer list must be read in pages (`read_all` does).
pub const RANGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Keys that one `Get` inside a transaction answers; more are cut, and `more` says so.
pub const TXN_GET_KEYS_MAX: usize = 1000;
/// Keys that one delete may remove: all of them change in one commit, for which all other writers wait.
pub const DELETE_KEYS_MAX: usize = 10_000;
/// Keys of one lease, for the same reason: its end deletes them in one commit.
pub const LEASE_KEYS_MAX: usize = 10_000;
/// The shortest time to live of a lease.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(1);
/// The longest time to live of a lease: a year.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
