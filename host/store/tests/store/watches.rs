//! Slow readers, readers that give up, and marks of progress of the embedded store.

use std::time::Duration;

use futures_util::FutureExt as _;
use symphony_store::{Error, Options, Revision, Store as _, StoreExt as _, Watch};

use crate::fixture::Fixture;

/// A reader that is far behind what is kept in memory gets it all, from the file.
#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    for (recent_revisions, recent_bytes) in [(4, usize::MAX), (usize::MAX, 1000), (0, 0)] {
        let fixture = Fixture::new();
        let options = Options {
            recent_revisions,
            recent_bytes,
            ..fixture.options()
        };
        let store = fixture.open_with(options).await;
        let mut watch = store.watch(Watch::prefix("a", Revision(2))).await.unwrap();
        let mut next = 2;
        for round in 0..5 {
            for n in 0..30 {
                store.put("a", format!("{round} {n}")).await.unwrap();
            }
            // It reads some of it only, and falls behind more and more.
            for _ in 0..10 {
                let batch = watch.next().await.unwrap().unwrap();
                assert_eq!((batch.revision, batch.events.len()), (Revision(next), 1));
                next += 1;
            }
        }
        while next < 2 + 5 * 30 {
            let batch = watch.next().await.unwrap().unwrap();
            assert_eq!((batch.revision, batch.events.len()), (Revision(next), 1));
            next += 1;
        }
    }
}

#[tokio::test]
async fn a_reader_that_compaction_overtakes_is_told() {
    let fixture = Fixture::new();
    let options = Options {
        recent_revisions: 2,
        ..fixture.options()
    };
    let store = fixture.open_with(options).await;
    let mut watch = store.watch(Watch::prefix("", Revision(2))).await.unwrap();
    for _ in 0..20 {
        store.put("a", "").await.unwrap();
    }
    store.compact(Revision(15)).await.unwrap();
    let error = watch.next().await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Compacted {
                requested: Revision(2),
                compact_revision: Revision(15)
            }
        ),
        "{error:?}"
    );
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn giving_up_waiting_loses_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let mut watch = store.watch(Watch::prefix("", Revision(2))).await.unwrap();
    let mut seen = Vec::new();
    for n in 0..50 {
        // Polled once and dropped, at whatever point it is.
        if let Some(Some(Ok(batch))) = watch.next().now_or_never() {
            seen.extend((!batch.events.is_empty()).then_some(batch.revision.0));
        }
        store.put("a", n.to_string()).await.unwrap();
        tokio::task::yield_now().await;
    }
    while seen.last() != Some(&51) {
        let batch = watch.next().await.unwrap().unwrap();
        seen.extend((!batch.events.is_empty()).then_some(batch.revision.0));
    }
    assert_eq!(seen, (2..=51).collect::<Vec<_>>());
}

#[tokio::test]
async fn silence_is_broken_by_marks() {
    let fixture = Fixture::new();
    let interval = Duration::from_secs(15);
    let options = Options {
        progress_interval: interval,
        ..fixture.options()
    };
    let store = fixture.open_with(options).await;
    let mut watch = store.watch(Watch::prefix("watched", Revision(1))).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision, Revision(1));
    for n in 2..10 {
        store.put("else", "").await.unwrap();
        // Nothing that is watched happens: there is nothing to tell before the interval is over.
        assert!(watch.next().now_or_never().is_none());
        fixture.advance(interval);
        let mark = watch.next().await.unwrap().unwrap();
        assert_eq!((mark.revision, mark.events.len()), (Revision(n), 0));
    }
}
