//! What requests do to the tables inside one write transaction. It commits nothing and answers nobody.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use redb::ReadableTable;

use crate::embedded::read::{Overflow, View};
use crate::embedded::tables::{GONE, Heads, LiveRow, Meta, Tables, encode_put, failed};
use crate::limits::{DELETE_KEYS_MAX, LEASE_KEYS_MAX};
use crate::{
    Compare, CompareOp, Error, Event, Key, Keys, LeaseId, Op, OpResult, Result, Revision, Target, Txn, TxnResult,
    WatchBatch,
};

/// The changes of one commit, while they are made.
pub(super) struct Draft<'d> {
    pub(super) heads: Heads,
    /// The new revisions, in order.
    pub(super) batches: Vec<WatchBatch>,
    /// How many keys each lease has.
    attached: &'d mut HashMap<u64, usize>,
}

impl<'d> Draft<'d> {
    pub(super) fn new(heads: Heads, attached: &'d mut HashMap<u64, usize>) -> Self {
        Self {
            heads,
            batches: Vec::new(),
            attached,
        }
    }

    /// Does a transaction. A refusal (`Ok(Err)`) changed nothing; a failure (`Err`) spoils the commit.
    pub(super) fn txn(&mut self, tables: &mut Tables<'_>, txn: &Txn) -> Result<Result<TxnResult>> {
        let view = View {
            live: &tables.live,
            versions: &tables.versions,
        };
        let succeeded = view.holds(&txn.compares)?;
        let ops = if succeeded { &txn.success } else { &txn.failure };
        if let Err(refusal) = self.refuse(tables, ops)? {
            return Ok(Err(refusal));
        }
        let mut change = Change::at(self.heads.revision + 1);
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            results.push(match op {
                Op::Put { key, value, lease } => {
                    self.put(tables, &mut change, key, value, lease.map_or(0, |lease| lease.0))?;
                    OpResult::Put
                }
                Op::Delete { keys } => OpResult::Delete {
                    deleted: self.delete(tables, &mut change, &found(tables, keys)?)?,
                },
                Op::Get { range } => {
                    let view = View {
                        live: &tables.live,
                        versions: &tables.versions,
                    };
                    OpResult::Get(view.range(&range.in_txn(), self.heads, Overflow::Cuts)?)
                }
            });
        }
        self.finish(change);
        let revision = Revision(self.heads.revision);
        // What was read inside the transaction is as of its own revision, which is known only now.
        for result in &mut results {
            if let OpResult::Get(answer) = result {
                answer.revision = revision;
            }
        }
        Ok(Ok(TxnResult {
            succeeded,
            revision,
            results,
        }))
    }

    /// Looks for what forbids the operations before any is done.
    fn refuse(&self, tables: &Tables<'_>, ops: &[Op]) -> Result<Result<()>> {
        let mut added: HashMap<u64, usize> = HashMap::new();
        for op in ops {
            match op {
                Op::Put {
                    key,
                    lease: Some(lease),
                    ..
                } => {
                    if tables.leases.get(lease.0).map_err(failed)?.is_none() {
                        return Ok(Err(Error::LeaseNotFound { lease: *lease }));
                    }
                    if live(tables, key.as_bytes())?.is_none_or(|meta| meta.lease != lease.0) {
                        let added = added.entry(lease.0).or_default();
                        *added += 1;
                        if self.attached.get(&lease.0).copied().unwrap_or(0) + *added > LEASE_KEYS_MAX {
                            return Ok(Err(Error::LimitReached {
                                what: "keys of one lease",
                                max: LEASE_KEYS_MAX,
                            }));
                        }
                    }
                }
                Op::Delete { keys } if keys.as_one().is_none() => {
                    if found(tables, keys)?.len() > DELETE_KEYS_MAX {
                        return Ok(Err(Error::LimitReached {
                            what: "keys of one delete",
                            max: DELETE_KEYS_MAX,
                        }));
                    }
                }
                Op::Put { .. } | Op::Delete { .. } | Op::Get { .. } => {}
            }
        }
        Ok(Ok(()))
    }

    /// Makes a lease.
    pub(super) fn grant(&mut self, tables: &mut Tables<'_>, ttl: Duration, max: usize) -> Result<Result<LeaseId>> {
        if self.attached.len() >= max {
            return Ok(Err(Error::LimitReached { what: "leases", max }));
        }
        self.heads.last_lease += 1;
        let lease = self.heads.last_lease;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        tables.leases.insert(lease, ttl_ms).map_err(failed)?;
        self.attached.insert(lease, 0);
        Ok(Ok(LeaseId(lease)))
    }

    /// Ends a lease and deletes its keys in one revision.
    pub(super) fn end_lease(&mut self, tables: &mut Tables<'_>, lease: LeaseId) -> Result<Result<Revision>> {
        if tables.leases.remove(lease.0).map_err(failed)?.is_none() {
            return Ok(Err(Error::LeaseNotFound { lease }));
        }
        let mut keys = Vec::new();
        for row in tables
            .lease_keys
            .range::<(u64, &[u8])>((lease.0, &[][..])..(lease.0 + 1, &[][..]))
            .map_err(failed)?
        {
            keys.push(row.map_err(failed)?.0.value().1.to_vec());
        }
        let mut change = Change::at(self.heads.revision + 1);
        self.delete(tables, &mut change, &keys)?;
        self.attached.remove(&lease.0);
        self.finish(change);
        Ok(Ok(Revision(self.heads.revision)))
    }

    fn put(
        &mut self,
        tables: &mut Tables<'_>,
        change: &mut Change,
        key: &Key,
        value: &Bytes,
        lease: u64,
    ) -> Result<()> {
        let old = live(tables, key.as_bytes())?.unwrap_or_default();
        let meta = Meta {
            modified: change.revision,
            created: if old.modified == 0 {
                change.revision
            } else {
                old.created
            },
            version: old.version + 1,
            lease,
        };
        let bytes = key.as_bytes();
        tables
            .versions
            .insert((bytes, meta.modified), &encode_put(meta, value)[..])
            .map_err(failed)?;
        tables.live.insert(bytes, meta.row()).map_err(failed)?;
        tables
            .log
            .insert((change.revision, change.next_position()), bytes)
            .map_err(failed)?;
        self.move_lease(tables, bytes, old.lease, lease)?;
        change.events.push(Event::Put {
            kv: meta.with_value(key.clone(), value.clone()),
            prev: None,
        });
        Ok(())
    }

    fn delete(&mut self, tables: &mut Tables<'_>, change: &mut Change, keys: &[Vec<u8>]) -> Result<u64> {
        let mut deleted = 0;
        for key in keys {
            let row = tables.live.remove(&key[..]).map_err(failed)?.map(|row| row.value());
            let Some(old) = row.map(Meta::from_row) else {
                continue;
            };
            tables
                .versions
                .insert((&key[..], change.revision), GONE)
                .map_err(failed)?;
            tables
                .log
                .insert((change.revision, change.next_position()), &key[..])
                .map_err(failed)?;
            self.move_lease(tables, key, old.lease, 0)?;
            change.events.push(Event::Delete {
                key: Key::from(&key[..]),
                mod_revision: Revision(change.revision),
                prev: None,
            });
            deleted += 1;
        }
        Ok(deleted)
    }

    fn move_lease(&mut self, tables: &mut Tables<'_>, key: &[u8], old: u64, new: u64) -> Result<()> {
        if old == new {
            return Ok(());
        }
        if old != 0 {
            tables.lease_keys.remove((old, key)).map_err(failed)?;
            if let Some(count) = self.attached.get_mut(&old) {
                *count = count.saturating_sub(1);
            }
        }
        if new != 0 {
            tables.lease_keys.insert((new, key), ()).map_err(failed)?;
            *self.attached.entry(new).or_default() += 1;
        }
        Ok(())
    }

    fn finish(&mut self, change: Change) {
        if change.events.is_empty() {
            return;
        }
        self.heads.revision = change.revision;
        self.batches.push(WatchBatch {
            revision: Revision(change.revision),
            events: change.events,
        });
    }
}

/// What one request changes, all at one revision.
struct Change {
    revision: u64,
    events: Vec<Event>,
    positions: u32,
}

impl Change {
    fn at(revision: u64) -> Self {
        Self {
            revision,
            events: Vec::new(),
            positions: 0,
        }
    }

    fn next_position(&mut self) -> u32 {
        self.positions += 1;
        self.positions
    }
}

fn live(tables: &Tables<'_>, key: &[u8]) -> Result<Option<Meta>> {
    let row = tables.live.get(key).map_err(failed)?;
    Ok(row.map(|row| Meta::from_row(row.value())))
}

/// The live keys of a span: all, or one more than a delete may remove.
fn found(tables: &Tables<'_>, keys: &Keys) -> Result<Vec<Vec<u8>>> {
    let view = View {
        live: &tables.live,
        versions: &tables.versions,
    };
    let mut found = Vec::new();
    view.each_live(keys, |key, _| {
        found.push(key.to_vec());
        Ok(found.len() <= DELETE_KEYS_MAX)
    })?;
    Ok(found)
}

impl<L, V> View<'_, L, V>
where
    L: ReadableTable<&'static [u8], LiveRow>,
    V: ReadableTable<(&'static [u8], u64), &'static [u8]>,
{
    /// Whether all compares hold.
    pub(super) fn holds(&self, compares: &[Compare]) -> Result<bool> {
        for compare in compares {
            if !self.compare_holds(compare)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn compare_holds(&self, compare: &Compare) -> Result<bool> {
        let mut any = false;
        let mut all = true;
        self.each_live(&compare.keys, |key, meta| {
            any = true;
            all = match &compare.target {
                Target::Value(wanted) => self
                    .written_at(key, meta.modified)?
                    .is_some_and(|kv| compare.op.holds(&kv.value, wanted)),
                target => numbers_hold(compare.op, target, meta),
            };
            Ok(all)
        })?;
        Ok(if any {
            all
        } else {
            numbers_hold(compare.op, &compare.target, Meta::default())
        })
    }
}

/// A compare of anything but a value; of a value it never holds, since a missing key has none.
fn numbers_hold(op: CompareOp, target: &Target, meta: Meta) -> bool {
    match target {
        Target::Value(_) => false,
        Target::Version(version) => op.holds(&meta.version, version),
        Target::CreateRevision(revision) => op.holds(&meta.created, &revision.0),
        Target::ModRevision(revision) => op.holds(&meta.modified, &revision.0),
        Target::Lease(lease) => op.holds(&meta.lease, &lease.map_or(0, |lease| lease.0)),
    }
}

impl CompareOp {
    fn holds<T: Ord + ?Sized>(self, stored: &T, given: &T) -> bool {
        match self {
            Self::Equal => stored == given,
            Self::NotEqual => stored != given,
            Self::Greater => stored > given,
            Self::Less => stored < given,
        }
    }
}
