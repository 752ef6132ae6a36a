//! Watches: everything once, in order, from where they began.

use std::sync::Arc;

use crate::conformance::{Subject, changes, next_events};
use crate::{Error, Keys, Revision, StoreExt as _, Txn, Watch};

pub(super) async fn history_first_then_live(s: Subject) {
    let first = s.put("a", "1").await;
    s.put("a", "2").await;
    s.store.delete(s.key("a")).await.unwrap();
    let mut watch = s.store.watch(Watch::prefix(s.key(""), first)).await.unwrap();
    let mut revision = first;
    for expected in ["+a=1", "+a=2", "-a"] {
        let batch = next_events(&mut watch).await;
        assert_eq!((changes(&batch), batch.revision), (vec![expected.to_owned()], revision));
        revision = revision.next();
    }
    s.put("b", "live").await;
    let batch = next_events(&mut watch).await;
    assert_eq!(
        (changes(&batch), batch.revision),
        (vec!["+b=live".to_owned()], revision)
    );
    assert!(batch.events[0].is_create());
    s.put("b", "again").await;
    assert!(!next_events(&mut watch).await.events[0].is_create());
}

pub(super) async fn one_batch_a_revision(s: Subject) {
    s.put("old", "").await;
    let txn = Txn::new()
        .put(s.key("b"), "2")
        .delete(s.key("old"))
        .put(s.key("a"), "1");
    let done = s.store.txn(txn.clone()).await.unwrap().revision;
    let mut watch = s.store.watch(Watch::prefix(s.key(""), done)).await.unwrap();
    let batch = next_events(&mut watch).await;
    assert_eq!(
        (changes(&batch), batch.revision),
        (vec!["+b=2".into(), "-old".into(), "+a=1".into()], done)
    );
    // Live it is the same, and nothing is left over.
    s.put("old", "").await;
    let again = s.store.txn(txn).await.unwrap().revision;
    next_events(&mut watch).await;
    let batch = next_events(&mut watch).await;
    assert_eq!((batch.events.len(), batch.revision), (3, again));
}

pub(super) async fn only_what_is_watched(s: Subject) {
    let from = s.revision().await.next();
    let mut one = s.store.watch(Watch::key(s.key("b"), from)).await.unwrap();
    let mut span = s
        .store
        .watch(Watch::new(Keys::between(s.key("a"), s.key("c")), from))
        .await
        .unwrap();
    let txn = Txn::new()
        .put(s.key("a"), "")
        .put(s.key("b"), "")
        .put(s.key("bb"), "")
        .put(s.key("c"), "");
    s.store.txn(txn.clone()).await.unwrap();
    assert_eq!(changes(&next_events(&mut one).await), ["+b="]);
    assert_eq!(changes(&next_events(&mut span).await), ["+a=", "+b=", "+bb="]);
    let mut past = s.store.watch(Watch::key(s.key("c"), from)).await.unwrap();
    assert_eq!(changes(&next_events(&mut past).await), ["+c="]);
}

pub(super) async fn previous_values(s: Subject) {
    let from = s.put("a", "1").await;
    s.put("a", "2").await;
    s.store.delete(s.key("a")).await.unwrap();
    s.put("a", "3").await;
    let mut past = s
        .store
        .watch(Watch::key(s.key("a"), from).with_prev_kv())
        .await
        .unwrap();
    for expected in [None, Some("1"), Some("2"), None] {
        let batch = next_events(&mut past).await;
        let prev = batch.events[0].prev().map(|kv| kv.value.clone());
        assert_eq!(prev, expected.map(Into::into));
    }
    s.put("a", "4").await;
    let batch = next_events(&mut past).await;
    assert_eq!(batch.events[0].prev().unwrap().value, "3");
    let mut without = s.store.watch(Watch::key(s.key("a"), from.next())).await.unwrap();
    assert_eq!(next_events(&mut without).await.events[0].prev(), None);
}

pub(super) async fn a_mark_when_caught_up(s: Subject) {
    let from = s.put("watched", "").await;
    let newest = s.put("else", "").await;
    let mut watch = s.store.watch(Watch::key(s.key("watched"), from)).await.unwrap();
    assert_eq!(next_events(&mut watch).await.revision, from);
    let mark = watch.next().await.unwrap().unwrap();
    assert_eq!((mark.revision, mark.events.len()), (newest, 0));
}

pub(super) async fn from_the_future(s: Subject) {
    let now = s.put("a", "0").await;
    let from = Revision(now.0 + 3);
    let mut watch = s.store.watch(Watch::prefix(s.key(""), from)).await.unwrap();
    for value in ["1", "2", "3", "4"] {
        s.put("a", value).await;
    }
    assert_eq!(changes(&next_events(&mut watch).await), ["+a=3"]);
    assert_eq!(changes(&next_events(&mut watch).await), ["+a=4"]);
}

pub(super) async fn resumes_at_every_revision(s: Subject) {
    let from = s.revision().await.next();
    for n in 0..20 {
        s.store.put(s.key(&format!("{n:02}")), "").await.unwrap();
    }
    for begin in 0..20 {
        let at = Revision(from.0 + begin);
        let mut watch = s.store.watch(Watch::prefix(s.key(""), at)).await.unwrap();
        for n in begin..20 {
            let batch = next_events(&mut watch).await;
            assert_eq!(batch.revision.0, from.0 + n);
            assert_eq!(changes(&batch), [format!("+{n:02}=")]);
        }
    }
}

pub(super) async fn no_gap_and_no_repetition_under_load(s: Subject) {
    const WRITERS: u64 = 4;
    const EACH: u64 = 60;
    let from = s.revision().await.next();
    let last = Revision(from.0 + WRITERS * EACH - 1);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let s = s.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    let txn = Txn::new()
                        .put(s.key(&format!("x/{writer}")), n.to_string())
                        .put(s.key(&format!("y/{writer}")), n.to_string());
                    s.store.txn(txn).await.unwrap();
                }
            })
        })
        .collect();
    let readers: Vec<_> = [u64::MAX, 1, 7]
        .map(|resume_after| {
            let s = s.clone();
            tokio::spawn(read_all_of_it(s, from, last, resume_after))
        })
        .into();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.await.unwrap());
    }
    // And who begins when all is over sees the same.
    let late = read_all_of_it(s.clone(), from, last, 50).await;
    assert!(seen.iter().all(|seen| *seen == late));
}

/// Watches until `last`, beginning anew after every so many batches; checks that no revision is missing or twice.
async fn read_all_of_it(s: Subject, from: Revision, last: Revision, resume_after: u64) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut next = from;
    let mut watch = s.store.watch(Watch::prefix(s.key(""), next)).await.unwrap();
    let mut read = 0;
    while next <= last {
        let batch = watch.next().await.unwrap().unwrap();
        if batch.events.is_empty() {
            assert_eq!(batch.revision.next(), next, "a mark tells how far it is");
            continue;
        }
        assert_eq!(batch.revision, next);
        assert_eq!(batch.events.len(), 2);
        next = next.next();
        all.push(changes(&batch));
        read += 1;
        if read % resume_after == 0 {
            watch = Arc::clone(&s.store)
                .watch(Watch::prefix(s.key(""), next))
                .await
                .unwrap();
        }
    }
    all
}

pub(super) async fn a_compacted_beginning_is_an_error(s: Subject) {
    let from = s.put("a", "1").await;
    let kept = s.put("a", "2").await;
    s.put("a", "3").await;
    s.store.compact(kept).await.unwrap();
    // At the compacted revision itself a deletion may be forgotten.
    for from in [from, kept] {
        let error = match s.store.watch(Watch::prefix(s.key(""), from)).await {
            Err(error) => error,
            // A backend may find out only when it reads.
            Ok(mut watch) => watch.next().await.unwrap().unwrap_err(),
        };
        assert!(
            matches!(error, Error::Compacted { requested, compact_revision } if (requested, compact_revision) == (from, kept)),
            "{error:?}"
        );
    }
    let mut watch = s.store.watch(Watch::prefix(s.key(""), kept.next())).await.unwrap();
    assert_eq!(changes(&next_events(&mut watch).await), ["+a=3"]);
}

pub(super) async fn a_deletion_after_the_compacted_revision_is_seen(s: Subject) {
    s.put("a", "1").await;
    let kept = s.put("b", "1").await;
    s.store.delete(s.key("a")).await.unwrap();
    s.store.compact(kept).await.unwrap();
    for _ in 0..20 {
        // More commits, so that whatever removes old history has had its turns.
        s.put("c", "").await;
    }
    let watch = Watch::prefix(s.key(""), kept.next()).with_prev_kv();
    let mut watch = s.store.watch(watch).await.unwrap();
    let batch = next_events(&mut watch).await;
    assert_eq!(changes(&batch), ["-a"]);
    assert_eq!(batch.events[0].prev().unwrap().value, "1");
}
