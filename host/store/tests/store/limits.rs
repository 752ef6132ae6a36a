//! The limits that only the embedded store has.

use std::sync::Arc;
use std::time::Duration;

use symphony_store::limits::{DELETE_KEYS_MAX, LEASE_KEYS_MAX, OPS_MAX};
use symphony_store::{Embedded, Error, LeaseId, Op, OpResult, Options, Range, Revision, Store as _, Txn, Watch};

use crate::fixture::Fixture;

/// Puts keys numbered from 0, with a lease or without.
async fn fill(store: &Embedded, count: usize, lease: Option<LeaseId>) {
    let numbers: Vec<_> = (0..count).collect();
    for numbers in numbers.chunks(OPS_MAX) {
        let txn = numbers.iter().fold(Txn::new(), |txn, n| {
            txn.then(Op::Put {
                key: format!("k/{n:06}").into(),
                value: "".into(),
                lease,
            })
        });
        store.txn(txn).await.unwrap();
    }
}

#[tokio::test]
async fn one_delete_removes_only_so_many() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    fill(&store, DELETE_KEYS_MAX + 1, None).await;
    let before = store.status().await.unwrap().revision;
    let error = store
        .txn(Txn::new().put("x", "").delete_prefix("k/"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::LimitReached {
                what: "keys of one delete",
                max: DELETE_KEYS_MAX
            }
        ),
        "{error:?}"
    );
    assert_eq!(store.status().await.unwrap().revision, before);
    store.txn(Txn::new().delete("k/000000")).await.unwrap();
    let done = store.txn(Txn::new().delete_prefix("k/")).await.unwrap();
    let deleted = DELETE_KEYS_MAX as u64;
    assert_eq!(done.results, [OpResult::Delete { deleted }]);
    assert_eq!(
        store.range(Range::prefix("").count_only()).await.unwrap().count,
        Some(0)
    );
    // A watch that reads it from history gets the whole revision in one batch.
    drop(store);
    let store = fixture.open().await;
    let mut watch = store.watch(Watch::prefix("", done.revision)).await.unwrap();
    let batch = watch.next().await.unwrap().unwrap();
    assert_eq!((batch.revision, batch.events.len()), (done.revision, DELETE_KEYS_MAX));
}

#[tokio::test]
async fn a_lease_holds_only_so_many_keys() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    fill(&store, LEASE_KEYS_MAX, Some(lease)).await;
    let refused = async |store: &Embedded| {
        let before = store.status().await.unwrap().revision;
        let error = store
            .txn(Txn::new().put("x", "").put_leased("y", "", lease))
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::LimitReached {
                    what: "keys of one lease",
                    max: LEASE_KEYS_MAX
                }
            ),
            "{error:?}"
        );
        assert_eq!(store.status().await.unwrap().revision, before);
    };
    refused(&store).await;
    // A key that is among them may be put again.
    store
        .txn(Txn::new().put_leased("k/000007", "again", lease))
        .await
        .unwrap();
    store.close().await;
    let store = fixture.open().await;
    refused(&store).await;
    store.txn(Txn::new().delete("k/000007")).await.unwrap();
    store.txn(Txn::new().put_leased("y", "", lease)).await.unwrap();
    assert_eq!(store.time_to_live(lease).await.unwrap().keys.len(), LEASE_KEYS_MAX);
    let before = store.status().await.unwrap().revision;
    assert_eq!(store.revoke(lease).await.unwrap(), before.next());
}

#[tokio::test]
async fn only_so_many_watch() {
    let fixture = Fixture::new();
    let options = Options {
        watches_max: 2,
        ..fixture.options()
    };
    let store = fixture.open_with(options).await;
    let watch = || store.watch(Watch::prefix("", Revision(1)));
    let first = watch().await.unwrap();
    let _second = watch().await.unwrap();
    let error = watch().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::LimitReached {
                what: "watches",
                max: 2
            }
        ),
        "{error:?}"
    );
    drop(first);
    assert!(watch().await.is_ok());
}

/// Far more callers than fit into the queue, and each request as large as all the room: all are served in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_makes_callers_wait() {
    let fixture = Fixture::new();
    let options = Options {
        queue_len: 2,
        queue_bytes: 0,
        batch_max: 3,
        ..fixture.options()
    };
    let store = Arc::new(fixture.open_with(options).await);
    let calls: Vec<_> = (0..60)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let value = vec![0; if n % 2 == 0 { 1024 * 1024 } else { 1 }];
                store.txn(Txn::new().put(format!("{n}"), value)).await.unwrap().revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for call in calls {
        revisions.push(call.await.unwrap().0);
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..62).collect::<Vec<_>>());
}
