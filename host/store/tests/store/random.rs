//! Random calls do on the embedded store exactly what they do on the model.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use symphony_store::{
    Compare, CompareOp, Key, Keys, LeaseId, Op, Options, Range, Result, Revision, Store, Target, Txn, Watch, WatchBatch,
};

use crate::fixture::Fixture;
use crate::model::Model;

pub(crate) const TTL: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Txn(Txn),
    Range(Range),
    Get(Key, Option<Revision>),
    Compact(Revision),
    Grant,
    Revoke(LeaseId),
    TimeToLive(LeaseId),
    Watch(Keys, Revision),
    Reopen,
}

/// Few keys, so that they meet, and such as are easily mistaken for each other.
fn key() -> impl Strategy<Value = Key> {
    let keys: [&[u8]; 7] = [b"a", b"a\x00", b"a\x01", b"ab", b"b", b"b\xff", b"\xff"];
    prop::sample::select(keys.map(Key::from).to_vec())
}

fn keys() -> impl Strategy<Value = Keys> {
    prop_oneof![
        3 => key().prop_map(Keys::one),
        2 => key().prop_map(Keys::prefix),
        2 => (key(), key()).prop_map(|(start, end)| Keys::between(start, end)),
        1 => key().prop_map(Keys::starting_at),
        1 => Just(Keys::all()),
    ]
}

fn revision() -> impl Strategy<Value = Revision> {
    (0..40_u64).prop_map(Revision)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (1..5_u64).prop_map(LeaseId)
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "x", "xy", "z"])
}

fn compare() -> impl Strategy<Value = Compare> {
    let op = prop::sample::select(vec![
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Greater,
        CompareOp::Less,
    ]);
    let target = prop_oneof![
        value().prop_map(|value| Target::Value(value.into())),
        (0..4_u64).prop_map(Target::Version),
        revision().prop_map(Target::CreateRevision),
        revision().prop_map(Target::ModRevision),
        option::of(lease()).prop_map(Target::Lease),
    ];
    (keys(), op, target).prop_map(|(keys, op, target)| Compare::new(keys, op, target))
}

fn range() -> impl Strategy<Value = Range> {
    let limit = option::weighted(0.3, 0..4_usize);
    let at = option::weighted(0.5, revision());
    (
        keys(),
        limit,
        at,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(keys, limit, at, reverse, keys_only, count_only)| Range {
            keys,
            limit,
            at,
            reverse,
            keys_only,
            count_only,
        })
}

fn op() -> impl Strategy<Value = Op> {
    let put = (key(), value(), option::weighted(0.3, lease()));
    prop_oneof![
        6 => put.prop_map(|(key, value, lease)| Op::Put { key, value: value.into(), lease }),
        3 => keys().prop_map(|keys| Op::Delete { keys }),
        2 => range().prop_map(|range| Op::Get { range }),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    (vec(compare(), 0..3), vec(op(), 0..4), vec(op(), 0..3)).prop_map(|(compares, success, failure)| Txn {
        compares,
        success,
        failure,
    })
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => txn().prop_map(Action::Txn),
        // Two operations that agree are rare when drawn together; alone they always do.
        10 => op().prop_map(|op| Action::Txn(Txn::new().then(op))),
        10 => range().prop_map(Action::Range),
        3 => (key(), option::of(revision())).prop_map(|(key, at)| Action::Get(key, at)),
        2 => revision().prop_map(Action::Compact),
        3 => Just(Action::Grant),
        1 => lease().prop_map(Action::Revoke),
        2 => lease().prop_map(Action::TimeToLive),
        4 => (keys(), revision()).prop_map(|(keys, from)| Action::Watch(keys, from)),
        1 => Just(Action::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn random_calls_match_the_model(actions in vec(action(), 1..60), small in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(actions, small));
    }
}

async fn run(actions: Vec<Action>, small: bool) {
    let fixture = Fixture::new();
    let mut options = fixture.options();
    if small {
        options = Options {
            recent_revisions: 3,
            sweep_rows: 1,
            batch_max: 1,
            ..options
        };
    }
    let mut store = fixture.open_with(options.clone()).await;
    let mut model = Model::new();
    for action in actions {
        match &action {
            Action::Txn(txn) => same(&action, store.txn(txn.clone()).await, model.txn(txn)),
            Action::Range(range) => same(&action, store.range(range.clone()).await, model.range(range)),
            Action::Get(key, at) => {
                let range = Range {
                    at: *at,
                    ..Range::key(key)
                };
                let expected = model.range(&range).map(|answer| answer.kvs.into_iter().next());
                same(&action, store.get(key, *at).await, expected);
            }
            Action::Compact(revision) => same(&action, store.compact(*revision).await, model.compact(*revision)),
            Action::Grant => same(&action, store.grant(TTL).await, model.grant()),
            Action::Revoke(lease) => same(&action, store.revoke(*lease).await, model.revoke(*lease)),
            Action::TimeToLive(lease) => {
                let status = store.time_to_live(*lease).await;
                let status = status.map(|status| (status.granted, status.keys));
                same(&action, status, model.time_to_live(*lease, TTL));
            }
            Action::Watch(keys, from) => {
                let expected = model.events(keys, *from);
                same(&action, watched(&store, keys, *from, model.revision).await, expected);
            }
            Action::Reopen => {
                store.close().await;
                store = fixture.open_with(options.clone()).await;
            }
        }
        assert_eq!(
            store.status().await.unwrap().revision.0,
            model.revision,
            "after {action:?}"
        );
    }
    let all = Range::prefix("");
    same(&"the end", store.range(all.clone()).await, model.range(&all));
}

/// What a watch sees until it has caught up.
pub(crate) async fn watched(store: &dyn Store, keys: &Keys, from: Revision, now: u64) -> Result<Vec<WatchBatch>> {
    let mut watch = store.watch(Watch::new(keys.clone(), from).with_prev_kv()).await?;
    let mut batches = Vec::new();
    if from.0 > now + 1 {
        return Ok(batches);
    }
    loop {
        let batch = watch.next().await.expect("no end")?;
        if batch.events.is_empty() {
            assert_eq!(batch.revision.0, now);
            return Ok(batches);
        }
        batches.push(batch);
    }
}

pub(crate) fn same<T: std::fmt::Debug>(action: &dyn std::fmt::Debug, store: Result<T>, model: Result<T>) {
    // Errors have causes, which cannot be compared, but all of these can be shown.
    assert_eq!(format!("{store:#?}"), format!("{model:#?}"), "{action:?}");
}
