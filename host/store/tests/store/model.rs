//! What a store should do, said as simply as possible: a list of all changes ever made, folded anew for every question.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use symphony_store::{
    Compare, CompareOp, Error, Event, Key, KeyValue, Keys, LeaseId, Op, OpResult, Range, RangeResult, Result, Revision,
    Target, Txn, TxnResult, WatchBatch,
};

type State = BTreeMap<Key, KeyValue>;

pub(crate) struct Model {
    pub(crate) revision: u64,
    compact: u64,
    /// Each change: when, which key, and what it is since.
    changes: Vec<(u64, Key, Option<KeyValue>)>,
    leases: BTreeSet<LeaseId>,
    last_lease: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            revision: 1,
            compact: 0,
            changes: Vec::new(),
            leases: BTreeSet::new(),
            last_lease: 0,
        }
    }

    fn state_at(&self, revision: u64) -> State {
        let mut state = State::new();
        for (at, key, kv) in &self.changes {
            if *at > revision {
                break;
            }
            match kv {
                Some(kv) => state.insert(key.clone(), kv.clone()),
                None => state.remove(key),
            };
        }
        state
    }

    fn check_revision(&self, at: u64) -> Result<()> {
        if at > self.revision {
            return Err(Error::FutureRevision {
                requested: Revision(at),
                current: Revision(self.revision),
            });
        }
        self.check_kept(at)
    }

    fn check_kept(&self, at: u64) -> Result<()> {
        if at < self.compact {
            return Err(Error::Compacted {
                requested: Revision(at),
                compact_revision: Revision(self.compact),
            });
        }
        Ok(())
    }

    pub(crate) fn range(&self, range: &Range) -> Result<RangeResult> {
        let at = range.at.map_or(self.revision, |at| at.0);
        self.check_revision(at)?;
        Ok(list(&self.state_at(at), range, Revision(self.revision)))
    }

    pub(crate) fn txn(&mut self, txn: &Txn) -> Result<TxnResult> {
        txn.check()?;
        let mut state = self.state_at(self.revision);
        let succeeded = txn.compares.iter().all(|compare| holds(&state, compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        for op in ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && !self.leases.contains(lease)
            {
                return Err(Error::LeaseNotFound { lease: *lease });
            }
        }
        let next = Revision(self.revision + 1);
        let mut changes = Vec::new();
        let mut results = Vec::new();
        for op in ops {
            results.push(match op {
                Op::Put { key, value, lease } => {
                    let old = state.get(key);
                    let kv = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: old.map_or(next, |old| old.create_revision),
                        mod_revision: next,
                        version: old.map_or(1, |old| old.version + 1),
                        lease: *lease,
                    };
                    state.insert(key.clone(), kv.clone());
                    changes.push((next.0, key.clone(), Some(kv)));
                    OpResult::Put
                }
                Op::Delete { keys } => {
                    let found: Vec<_> = state.keys().filter(|key| keys.contains(key)).cloned().collect();
                    for key in &found {
                        state.remove(key);
                        changes.push((next.0, key.clone(), None));
                    }
                    let deleted = found.len() as u64;
                    OpResult::Delete { deleted }
                }
                Op::Get { range } => OpResult::Get(list(&state, range, Revision::NONE)),
            });
        }
        self.add(changes);
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

    fn add(&mut self, changes: Vec<(u64, Key, Option<KeyValue>)>) {
        self.revision += u64::from(!changes.is_empty());
        self.changes.extend(changes);
    }

    pub(crate) fn grant(&mut self) -> Result<LeaseId> {
        self.last_lease += 1;
        self.leases.insert(LeaseId(self.last_lease));
        Ok(LeaseId(self.last_lease))
    }

    pub(crate) fn revoke(&mut self, lease: LeaseId) -> Result<Revision> {
        if !self.leases.remove(&lease) {
            return Err(Error::LeaseNotFound { lease });
        }
        let keys = self.lease_keys(lease);
        let next = self.revision + 1;
        self.add(keys.into_iter().map(|key| (next, key, None)).collect());
        Ok(Revision(self.revision))
    }

    fn lease_keys(&self, lease: LeaseId) -> Vec<Key> {
        let state = self.state_at(self.revision);
        state
            .into_values()
            .filter(|kv| kv.lease == Some(lease))
            .map(|kv| kv.key)
            .collect()
    }

    pub(crate) fn time_to_live(&self, lease: LeaseId, ttl: Duration) -> Result<(Duration, Vec<Key>)> {
        if !self.leases.contains(&lease) {
            return Err(Error::LeaseNotFound { lease });
        }
        Ok((ttl, self.lease_keys(lease)))
    }

    pub(crate) fn compact(&mut self, revision: Revision) -> Result<()> {
        if revision.0 <= self.compact {
            return Err(Error::Compacted {
                requested: revision,
                compact_revision: Revision(self.compact),
            });
        }
        self.check_revision(revision.0)?;
        self.compact = revision.0;
        Ok(())
    }

    /// All that a watch from `from` sees until now.
    pub(crate) fn events(&self, keys: &Keys, from: Revision) -> Result<Vec<WatchBatch>> {
        if from.0.max(2) <= self.compact {
            return Err(Error::Compacted {
                requested: from,
                compact_revision: Revision(self.compact),
            });
        }
        let mut batches: Vec<WatchBatch> = Vec::new();
        for (at, key, kv) in &self.changes {
            if *at < from.0 || !keys.contains(key) {
                continue;
            }
            let prev = self.state_at(at - 1).remove(key);
            let revision = Revision(*at);
            let event = match kv.clone() {
                Some(kv) => Event::Put { kv, prev },
                None => Event::Delete {
                    key: key.clone(),
                    mod_revision: revision,
                    prev,
                },
            };
            match batches.last_mut() {
                Some(batch) if batch.revision == revision => batch.events.push(event),
                _ => batches.push(WatchBatch {
                    revision,
                    events: vec![event],
                }),
            }
        }
        Ok(batches)
    }
}

fn list(state: &State, range: &Range, revision: Revision) -> RangeResult {
    let mut kvs: Vec<_> = state
        .values()
        .filter(|kv| range.keys.contains(&kv.key))
        .cloned()
        .collect();
    let count = kvs.len();
    if range.reverse {
        kvs.reverse();
    }
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    if range.count_only {
        kvs.clear();
    }
    let limit = range.limit.filter(|_| !range.count_only).unwrap_or(usize::MAX);
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    RangeResult {
        revision,
        kvs,
        more,
        count: (!more).then_some(count as u64),
    }
}

fn holds(state: &State, compare: &Compare) -> bool {
    let mut found = state.values().filter(|kv| compare.keys.contains(&kv.key)).peekable();
    if found.peek().is_none() {
        return kv_holds(None, compare);
    }
    found.all(|kv| kv_holds(Some(kv), compare))
}

fn kv_holds(kv: Option<&KeyValue>, compare: &Compare) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let revision = |of: fn(&KeyValue) -> Revision| kv.map_or(Revision::NONE, of);
    let order = match &compare.target {
        Target::Value(value) => match kv {
            Some(kv) => kv.value.cmp(value),
            None => return false,
        },
        Target::Version(version) => kv.map_or(0, |kv| kv.version).cmp(version),
        Target::CreateRevision(at) => revision(|kv| kv.create_revision).cmp(at),
        Target::ModRevision(at) => revision(|kv| kv.mod_revision).cmp(at),
        Target::Lease(lease) => kv.and_then(|kv| kv.lease).cmp(lease),
    };
    match compare.op {
        CompareOp::Equal => order == Equal,
        CompareOp::NotEqual => order != Equal,
        CompareOp::Greater => order == Greater,
        CompareOp::Less => order == Less,
    }
}
