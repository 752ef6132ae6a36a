//! What compaction takes and what it leaves; and what a closed store answers.

use std::time::Duration;

use crate::conformance::Subject;
use crate::{Error, Range, Revision, StoreExt as _, Txn, Watch};

fn is_compacted(error: &Error, at: Revision) -> bool {
    matches!(error, Error::Compacted { compact_revision, .. } if *compact_revision == at)
}

pub(super) async fn before_it_nothing_can_be_read(s: Subject) {
    let one = s.put("a", "1").await;
    let two = s.put("a", "2").await;
    let three = s.put("a", "3").await;
    assert_eq!(s.store.get(&s.key("a"), Some(one)).await.unwrap().unwrap().value, "1");
    s.store.compact(two).await.unwrap();
    let error = s.store.get(&s.key("a"), Some(one)).await.unwrap_err();
    assert!(is_compacted(&error, two), "{error:?}");
    let error = s.store.range(Range::prefix(s.key("")).at(one)).await.unwrap_err();
    assert!(is_compacted(&error, two), "{error:?}");
    assert_eq!(s.store.get(&s.key("a"), Some(two)).await.unwrap().unwrap().value, "2");
    assert_eq!(s.store.get(&s.key("a"), Some(three)).await.unwrap().unwrap().value, "3");
    let status = s.store.status().await.unwrap();
    assert_eq!((status.revision, status.compact_revision), (three, two));
    assert!(status.size_bytes > 0);
}

pub(super) async fn live_keys_survive_it(s: Subject) {
    let created = s.put("old", "kept").await;
    s.put("changed", "1").await;
    s.put("gone", "1").await;
    s.store.delete(s.key("gone")).await.unwrap();
    let mut last = s.put("changed", "2").await;
    for _ in 0..3 {
        s.store.compact(last).await.unwrap();
        for name in ["x", "y", "changed"] {
            last = s.put(name, "3").await;
        }
        let kv = s.get("old").await.unwrap();
        assert_eq!(
            (&kv.value[..], kv.create_revision, kv.version),
            (&b"kept"[..], created, 1)
        );
        assert!(s.get("gone").await.is_none());
        let compact = s.store.status().await.unwrap().compact_revision;
        let then = s.store.range(Range::prefix(s.key("")).at(compact)).await.unwrap();
        assert!(s.names(&then.kvs).contains(&"old".to_owned()));
        assert!(!s.names(&then.kvs).contains(&"gone".to_owned()));
    }
    // A key that compaction passed and that is changed later has its past from there on.
    let compact = s.store.status().await.unwrap().compact_revision;
    s.put("old", "new").await;
    assert_eq!(
        s.store.get(&s.key("old"), Some(compact)).await.unwrap().unwrap().value,
        "kept"
    );
    let again = s.put("gone", "2").await;
    let kv = s.get("gone").await.unwrap();
    assert_eq!((kv.create_revision, kv.version), (again, 1));
}

pub(super) async fn it_goes_forward_only(s: Subject) {
    let one = s.put("a", "1").await;
    let two = s.put("a", "2").await;
    let error = s.store.compact(two.next()).await.unwrap_err();
    assert!(
        matches!(error, Error::FutureRevision { current, .. } if current == two),
        "{error:?}"
    );
    s.store.compact(two).await.unwrap();
    for revision in [one, two] {
        let error = s.store.compact(revision).await.unwrap_err();
        assert!(is_compacted(&error, two), "{error:?}");
    }
    assert_eq!(s.get("a").await.unwrap().value, "2");
}

pub(super) async fn a_closed_store_says_so(s: Subject) {
    let revision = s.put("a", "1").await;
    let lease = s.store.grant(Duration::from_secs(60)).await.unwrap();
    let mut watch = s.store.watch(Watch::prefix(s.key(""), revision.next())).await.unwrap();
    s.store.close().await;
    s.store.close().await;
    let errors = [
        s.store.get(&s.key("a"), None).await.unwrap_err(),
        s.store.range(Range::prefix(s.key(""))).await.unwrap_err(),
        s.store.put(s.key("a"), "2").await.unwrap_err(),
        s.store.txn(Txn::new().get(s.key("a"))).await.unwrap_err(),
        s.store.watch(Watch::prefix(s.key(""), revision)).await.unwrap_err(),
        s.store.grant(Duration::from_secs(60)).await.unwrap_err(),
        s.store.keep_alive(lease).await.unwrap_err(),
        s.store.time_to_live(lease).await.unwrap_err(),
        s.store.revoke(lease).await.unwrap_err(),
        s.store.compact(revision).await.unwrap_err(),
        s.store.status().await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Closed), "{error:?}");
        assert!(!error.is_retryable() && !error.is_ambiguous());
    }
    // A mark of progress may have been on its way.
    let end = loop {
        match watch.next().await {
            Some(Ok(batch)) => assert_eq!(batch.events, []),
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(Error::Closed))), "{end:?}");
    assert!(watch.next().await.is_none() && watch.next().await.is_none());
}
