//! What a store knows, with etcd's rules and no time of its own: revisions, history, transactions, leases.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use symphony_store::limits::{
    DELETE_KEYS_MAX, LEASE_KEYS_MAX, LEASE_TTL_MAX, LEASE_TTL_MIN, RANGE_BYTES_MAX, TXN_GET_KEYS_MAX,
};
use symphony_store::{
    Compare, CompareOp, Error, Event, Key, KeyValue, Keys, LeaseId, LeaseStatus, Op, OpResult, Range, RangeResult,
    Result, Revision, Target, Txn, TxnResult, WatchBatch,
};
use tokio::time::Instant;

/// What is added for each key to the bytes of an answer.
const EACH_BYTES: usize = 64;

struct Lease {
    ttl: Duration,
    until: Instant,
    keys: BTreeSet<Key>,
}

/// See the module.
#[derive(Default)]
pub(super) struct State {
    pub(super) revision: u64,
    pub(super) compact: u64,
    pub(super) closed: bool,
    live: BTreeMap<Key, KeyValue>,
    /// All revisions after `compact`, each with what was before.
    history: VecDeque<WatchBatch>,
    leases: BTreeMap<u64, Lease>,
    last_lease: u64,
}

fn within<'m>(live: &'m BTreeMap<Key, KeyValue>, keys: &'m Keys) -> impl Iterator<Item = &'m KeyValue> {
    live.range(keys.start().clone()..)
        .map(|(_, kv)| kv)
        .take_while(|kv| keys.contains(&kv.key))
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            revision: 1,
            ..Self::default()
        }
    }

    pub(super) fn range(&self, range: &Range) -> Result<RangeResult> {
        Txn::new().then(Op::Get { range: range.clone() }).check()?;
        let current = Revision(self.revision);
        let past;
        let live = match range.at {
            Some(requested) if requested > current => return Err(Error::FutureRevision { requested, current }),
            Some(requested) if requested.0 < self.compact => {
                let compact_revision = Revision(self.compact);
                return Err(Error::Compacted {
                    requested,
                    compact_revision,
                });
            }
            Some(at) if at < current => {
                past = self.at(at.0);
                &past
            }
            _ => &self.live,
        };
        list(live, range, current, false)
    }

    /// The keys as they were.
    fn at(&self, revision: u64) -> BTreeMap<Key, KeyValue> {
        let mut live = self.live.clone();
        for batch in self
            .history
            .iter()
            .rev()
            .take_while(|batch| batch.revision.0 > revision)
        {
            for event in batch.events.iter().rev() {
                match event.prev() {
                    Some(prev) => drop(live.insert(prev.key.clone(), prev.clone())),
                    None => drop(live.remove(event.key())),
                }
            }
        }
        live
    }

    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnResult> {
        txn.check()?;
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        self.refuse(ops)?;
        let at = Revision(self.revision + 1);
        let mut events = Vec::new();
        let mut results = Vec::new();
        for op in ops {
            results.push(match op {
                Op::Put { key, value, lease } => {
                    let before = self.live.get(key).cloned();
                    let kv = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: before.as_ref().map_or(at, |kv| kv.create_revision),
                        mod_revision: at,
                        version: before.as_ref().map_or(0, |kv| kv.version) + 1,
                        lease: *lease,
                    };
                    self.unlease(before.as_ref());
                    if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease.0)) {
                        lease.keys.insert(key.clone());
                    }
                    self.live.insert(key.clone(), kv.clone());
                    events.push(Event::Put { kv, prev: before });
                    OpResult::Put
                }
                Op::Delete { keys } => {
                    let found: Vec<Key> = within(&self.live, keys).map(|kv| kv.key.clone()).collect();
                    for key in &found {
                        self.delete(key, at, &mut events);
                    }
                    OpResult::Delete {
                        deleted: found.len() as u64,
                    }
                }
                Op::Get { range } => {
                    let limit = range.limit.unwrap_or(TXN_GET_KEYS_MAX).min(TXN_GET_KEYS_MAX);
                    let range = Range {
                        at: None,
                        limit: Some(limit),
                        ..range.clone()
                    };
                    OpResult::Get(list(&self.live, &range, at, true)?)
                }
            });
        }
        self.finish(events);
        let revision = Revision(self.revision);
        for result in &mut results {
            if let OpResult::Get(answer) = result {
                answer.revision = revision;
            }
        }
        Ok(TxnResult {
            succeeded,
            revision,
            results,
        })
    }

    fn refuse(&self, ops: &[Op]) -> Result<()> {
        let mut added: BTreeMap<u64, usize> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Put {
                    key,
                    lease: Some(lease),
                    ..
                } => {
                    let known = self
                        .leases
                        .get(&lease.0)
                        .ok_or(Error::LeaseNotFound { lease: *lease })?;
                    let added = added.entry(lease.0).or_default();
                    *added += usize::from(!known.keys.contains(key));
                    if known.keys.len() + *added > LEASE_KEYS_MAX {
                        let (what, max) = ("keys of one lease", LEASE_KEYS_MAX);
                        return Err(Error::LimitReached { what, max });
                    }
                }
                Op::Delete { keys } if within(&self.live, keys).count() > DELETE_KEYS_MAX => {
                    let (what, max) = ("keys of one delete", DELETE_KEYS_MAX);
                    return Err(Error::LimitReached { what, max });
                }
                Op::Put { .. } | Op::Delete { .. } | Op::Get { .. } => {}
            }
        }
        Ok(())
    }

    fn unlease(&mut self, before: Option<&KeyValue>) {
        if let Some(before) = before
            && let Some(lease) = before.lease.and_then(|lease| self.leases.get_mut(&lease.0))
        {
            lease.keys.remove(&before.key);
        }
    }

    fn delete(&mut self, key: &Key, mod_revision: Revision, events: &mut Vec<Event>) {
        let Some(before) = self.live.remove(key) else { return };
        self.unlease(Some(&before));
        events.push(Event::Delete {
            key: key.clone(),
            mod_revision,
            prev: Some(before),
        });
    }

    fn finish(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            self.revision += 1;
            self.history.push_back(WatchBatch {
                revision: Revision(self.revision),
                events,
            });
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut any = false;
        for kv in within(&self.live, &compare.keys) {
            any = true;
            let lease = kv.lease.map_or(0, |lease| lease.0);
            let numbers = (kv.version, kv.create_revision.0, kv.mod_revision.0, lease);
            let one = match &compare.target {
                Target::Value(wanted) => is(compare.op, &kv.value, wanted),
                target => numbers_hold(compare.op, target, numbers),
            };
            if !one {
                return false;
            }
        }
        any || numbers_hold(compare.op, &compare.target, (0, 0, 0, 0))
    }

    /// The last revision, to whoever looks at what is done.
    pub(super) fn newest(&self) -> Option<&WatchBatch> {
        self.history.back()
    }

    /// The first revision from `next` on in which something of these keys changed.
    pub(super) fn after(&self, keys: &Keys, prev_kv: bool, next: u64) -> Option<WatchBatch> {
        let skipped = next.saturating_sub(self.compact.max(1) + 1);
        let batches = self.history.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
        for batch in batches {
            let mut events: Vec<Event> = batch
                .events
                .iter()
                .filter(|event| keys.contains(event.key()))
                .cloned()
                .collect();
            if events.is_empty() || batch.revision.0 < next {
                continue;
            }
            if !prev_kv {
                for event in &mut events {
                    match event {
                        Event::Put { prev, .. } | Event::Delete { prev, .. } => *prev = None,
                    }
                }
            }
            return Some(WatchBatch {
                revision: batch.revision,
                events,
            });
        }
        None
    }

    pub(super) fn check_watch(&self, from: u64) -> Result<()> {
        if from.max(2) <= self.compact {
            let (requested, compact_revision) = (Revision(from), Revision(self.compact));
            return Err(Error::Compacted {
                requested,
                compact_revision,
            });
        }
        Ok(())
    }

    pub(super) fn compact(&mut self, requested: Revision) -> Result<()> {
        let (current, compact_revision) = (Revision(self.revision), Revision(self.compact));
        if requested > current {
            return Err(Error::FutureRevision { requested, current });
        }
        if requested <= compact_revision {
            return Err(Error::Compacted {
                requested,
                compact_revision,
            });
        }
        while self.history.front().is_some_and(|batch| batch.revision <= requested) {
            self.history.pop_front();
        }
        self.compact = requested.0;
        Ok(())
    }

    pub(super) fn grant(&mut self, ttl: Duration) -> Result<LeaseId> {
        if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
            let (min_secs, max_secs) = (LEASE_TTL_MIN.as_secs(), LEASE_TTL_MAX.as_secs());
            return Err(Error::InvalidTtl { min_secs, max_secs });
        }
        self.last_lease += 1;
        let until = Instant::now() + ttl;
        self.leases.insert(
            self.last_lease,
            Lease {
                ttl,
                until,
                keys: BTreeSet::new(),
            },
        );
        Ok(LeaseId(self.last_lease))
    }

    pub(super) fn keep_alive(&mut self, lease: LeaseId) -> Result<Duration> {
        let known = self.leases.get_mut(&lease.0).ok_or(Error::LeaseNotFound { lease })?;
        known.until = Instant::now() + known.ttl;
        Ok(known.ttl)
    }

    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<Revision> {
        let known = self.leases.remove(&lease.0).ok_or(Error::LeaseNotFound { lease })?;
        let at = Revision(self.revision + 1);
        let mut events = Vec::new();
        for key in &known.keys {
            self.delete(key, at, &mut events);
        }
        self.finish(events);
        Ok(Revision(self.revision))
    }

    pub(super) fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        let known = self.leases.get(&lease.0).ok_or(Error::LeaseNotFound { lease })?;
        Ok(LeaseStatus {
            lease,
            granted: known.ttl,
            remaining: known.until.saturating_duration_since(Instant::now()),
            keys: known.keys.iter().cloned().collect(),
        })
    }

    /// The next lease whose time is over.
    pub(super) fn expired(&self) -> Option<LeaseId> {
        let now = Instant::now();
        let mut over = self.leases.iter().filter(|(_, lease)| lease.until <= now);
        over.next().map(|(id, _)| LeaseId(*id))
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.until).min()
    }
}

fn list(live: &BTreeMap<Key, KeyValue>, range: &Range, revision: Revision, cuts: bool) -> Result<RangeResult> {
    let found: Vec<&KeyValue> = if range.reverse {
        let mut found: Vec<_> = within(live, &range.keys).collect();
        found.reverse();
        found
    } else {
        within(live, &range.keys).collect()
    };
    if range.count_only {
        let count = Some(found.len() as u64);
        return Ok(RangeResult {
            revision,
            kvs: Vec::new(),
            more: false,
            count,
        });
    }
    let (mut kvs, mut bytes, mut more) = (Vec::new(), 0, false);
    for kv in found {
        if kvs.len() >= range.limit.unwrap_or(usize::MAX) || bytes > RANGE_BYTES_MAX {
            more = true;
            break;
        }
        let mut kv = kv.clone();
        if range.keys_only {
            kv.value = bytes::Bytes::new();
        }
        bytes += kv.key.as_bytes().len() + kv.value.len() + EACH_BYTES;
        if bytes > RANGE_BYTES_MAX && !cuts {
            return Err(Error::TooLarge {
                what: "answer",
                max: RANGE_BYTES_MAX,
            });
        }
        kvs.push(kv);
    }
    let count = (!more).then_some(kvs.len() as u64);
    Ok(RangeResult {
        revision,
        kvs,
        more,
        count,
    })
}

fn is<T: Ord + ?Sized>(op: CompareOp, stored: &T, given: &T) -> bool {
    match op {
        CompareOp::Equal => stored == given,
        CompareOp::NotEqual => stored != given,
        CompareOp::Greater => stored > given,
        CompareOp::Less => stored < given,
    }
}

/// Version, creation, change and lease.
fn numbers_hold(op: CompareOp, target: &Target, of: (u64, u64, u64, u64)) -> bool {
    match target {
        Target::Value(_) => false,
        Target::Version(version) => is(op, &of.0, version),
        Target::CreateRevision(revision) => is(op, &of.1, &revision.0),
        Target::ModRevision(revision) => is(op, &of.2, &revision.0),
        Target::Lease(lease) => is(op, &of.3, &lease.map_or(0, |lease| lease.0)),
    }
}
