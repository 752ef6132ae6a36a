//! Random calls to a real etcd are answered as the model of a store answers them, so as the embedded store does.

use proptest::collection::vec;
use proptest::prelude::*;
use symphony_store::conformance::members::{self, on_loopback};
use symphony_store::{
    Compare, Error, Etcd, EtcdOptions, Event, KeyValue, LeaseId, Op, OpResult, Range, Result, Revision, Store as _,
    Target, Txn,
};

use crate::model::Model;
use crate::random::{Action, TTL, action, same, watched};

proptest! {
    // Each on an etcd of its own, so that revisions begin where the model's do.
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn random_calls_to_etcd_match_the_model(actions in vec(action(), 20..80), small in any::<bool>()) {
        if !members::can_run() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(actions, small));
    }
}

async fn run(actions: Vec<Action>, small: bool) {
    let folder = tempfile::tempdir().unwrap();
    let member = on_loopback(folder.path(), 1, |_| {}).await;
    let mut options = EtcdOptions::new([member[0].member.endpoint()]);
    if small {
        options.recent_revisions = 3;
    }
    let mut store = Etcd::connect(options.clone()).await.unwrap();
    let mut model = Model::new();
    let mut leases = Leases(Vec::new());
    for action in actions {
        match &action {
            // Nothing is there to forget, and etcd does not say afterwards that it was told to.
            Action::Compact(Revision(1)) => continue,
            Action::Txn(txn) => {
                let done = store.txn(leases.txn(txn)).await.map(|mut done| {
                    for result in &mut done.results {
                        if let OpResult::Get(answer) = result {
                            leases.kvs(&mut answer.kvs);
                        }
                    }
                    done
                });
                same(&action, lease(done), lease(model.txn(txn)));
            }
            Action::Range(range) => {
                let answer = store.range(range.clone()).await.map(|mut answer| {
                    leases.kvs(&mut answer.kvs);
                    answer
                });
                same(&action, answer, model.range(range));
            }
            Action::Get(key, at) => {
                let range = Range {
                    at: *at,
                    ..Range::key(key)
                };
                let expected = model.range(&range).map(|answer| answer.kvs.into_iter().next());
                let answer = store.get(key, *at).await.map(|mut kv| {
                    leases.kvs(kv.as_mut_slice());
                    kv
                });
                same(&action, answer, expected);
            }
            Action::Compact(revision) => same(&action, store.compact(*revision).await, model.compact(*revision)),
            Action::Grant => {
                leases.0.push(store.grant(TTL).await.unwrap());
                assert_eq!(model.grant().unwrap(), LeaseId(leases.0.len() as u64));
            }
            Action::Revoke(id) => {
                let done = store.revoke(leases.real(*id)).await;
                same(&action, lease(done), lease(model.revoke(*id)));
            }
            Action::TimeToLive(id) => {
                let status = store.time_to_live(leases.real(*id)).await;
                let status = status.map(|status| (status.granted, status.keys));
                same(&action, lease(status), lease(model.time_to_live(*id, TTL)));
            }
            Action::Watch(keys, from) => {
                let seen = watched(&store, keys, *from, model.revision).await.map(|mut batches| {
                    for event in batches.iter_mut().flat_map(|batch| &mut batch.events) {
                        leases.event(event);
                    }
                    batches
                });
                same(&action, seen, model.events(keys, *from));
            }
            Action::Reopen => {
                store.close().await;
                store = Etcd::connect(options.clone()).await.unwrap();
            }
        }
        assert_eq!(
            store.status().await.unwrap().revision.0,
            model.revision,
            "after {action:?}"
        );
    }
}

/// etcd does not say which of several leases it misses.
fn lease<T>(result: Result<T>) -> Result<T> {
    result.map_err(|error| match error {
        Error::LeaseNotFound { .. } => Error::LeaseNotFound { lease: LeaseId(0) },
        error => error,
    })
}

/// etcd's names of leases, where the model counts from 1.
struct Leases(Vec<LeaseId>);

impl Leases {
    fn real(&self, lease: LeaseId) -> LeaseId {
        let index = usize::try_from(lease.0).unwrap().wrapping_sub(1);
        // One that was not granted has a name after all others.
        let none = LeaseId(i64::MAX as u64 - 1000 + lease.0);
        self.0.get(index).copied().unwrap_or(none)
    }

    fn kvs(&self, kvs: &mut [KeyValue]) {
        for kv in kvs {
            kv.lease = kv.lease.map(|real| {
                let index = self.0.iter().position(|lease| *lease == real).unwrap();
                LeaseId(index as u64 + 1)
            });
        }
    }

    fn event(&self, event: &mut Event) {
        match event {
            Event::Put { kv, prev } => {
                self.kvs(std::slice::from_mut(kv));
                self.kvs(prev.as_mut_slice());
            }
            Event::Delete { prev, .. } => self.kvs(prev.as_mut_slice()),
        }
    }

    fn txn(&self, txn: &Txn) -> Txn {
        let mut txn = txn.clone();
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            if let Op::Put { lease, .. } = op {
                *lease = lease.map(|lease| self.real(lease));
            }
        }
        for Compare { target, .. } in &mut txn.compares {
            if let Target::Lease(lease) = target {
                *lease = lease.map(|lease| self.real(lease));
            }
        }
        txn
    }
}
