//! Transactions: all or nothing, one after the other.

use std::sync::Arc;

use crate::conformance::Subject;
use crate::{Compare, Error, Keys, Op, OpResult, Range, Revision, StoreExt as _, Txn};

pub(super) async fn one_revision_for_all_changes(s: Subject) {
    let old = s.put("old", "x").await;
    let txn = Txn::new()
        .put(s.key("a"), "1")
        .put(s.key("b"), "2")
        .delete(s.key("old"));
    let done = s.store.txn(txn).await.unwrap();
    assert!(done.succeeded);
    assert_eq!(done.revision, old.next());
    assert_eq!(
        done.results,
        [OpResult::Put, OpResult::Put, OpResult::Delete { deleted: 1 }]
    );
    assert_eq!(s.get("a").await.unwrap().mod_revision, done.revision);
    assert_eq!(s.get("b").await.unwrap().mod_revision, done.revision);
    assert_eq!(s.get("old").await, None);
}

pub(super) async fn a_false_condition_does_the_other_branch(s: Subject) {
    let created = s.put("a", "1").await;
    let create = Txn::new()
        .when(Compare::absent(s.key("a")))
        .put(s.key("a"), "2")
        .or_else_get(s.key("a"));
    let done = s.store.txn(create).await.unwrap();
    assert!(!done.succeeded);
    assert_eq!(done.revision, created);
    assert_eq!(done.first_kv().unwrap().value, "1");
    let instead = Txn::new()
        .when(Compare::value(s.key("a"), "other"))
        .put(s.key("yes"), "")
        .or_else(Op::put(s.key("no"), ""));
    let done = s.store.txn(instead).await.unwrap();
    assert_eq!((done.succeeded, done.revision), (false, created.next()));
    assert!(s.get("yes").await.is_none() && s.get("no").await.is_some());
}

pub(super) async fn nothing_changed_no_revision(s: Subject) {
    let before = s.put("a", "1").await;
    let nothing = [
        Txn::new(),
        Txn::new().get(s.key("a")),
        Txn::new().delete(s.key("absent")),
        Txn::new().delete_prefix(s.key("absent/")),
        Txn::new().when(Compare::absent(s.key("a"))).put(s.key("b"), ""),
    ];
    for txn in nothing {
        assert_eq!(s.store.txn(txn).await.unwrap().revision, before);
    }
    assert_eq!(s.revision().await, before);
    // Putting what is there already is a change.
    assert_eq!(s.put("a", "1").await, before.next());
}

pub(super) async fn every_compare_must_hold(s: Subject) {
    let a = s.put("a", "1").await;
    let b = s.put("b", "2").await;
    let both = |a: Revision, b: Revision| {
        Txn::new()
            .when(Compare::mod_revision(s.key("a"), a))
            .when(Compare::mod_revision(s.key("b"), b))
            .when(Compare::absent(s.key("c")))
            .put(s.key("done"), "")
    };
    for (wrong_a, wrong_b) in [(a.next(), b), (a, b.next()), (b, a)] {
        assert!(!s.store.txn(both(wrong_a, wrong_b)).await.unwrap().succeeded);
    }
    assert!(s.get("done").await.is_none());
    assert!(s.store.txn(both(a, b)).await.unwrap().succeeded);
    s.put("c", "").await;
    assert!(!s.store.txn(both(a, b)).await.unwrap().succeeded);
}

pub(super) async fn operations_see_those_before_them(s: Subject) {
    s.put("a", "old").await;
    s.put("b", "old").await;
    let count = Range::prefix(s.key("")).count_only();
    let txn = Txn::new()
        .get(s.key("a"))
        .put(s.key("a"), "new")
        .get(s.key("a"))
        .delete(s.key("b"))
        .get(s.key("b"))
        .put(s.key("c"), "new")
        .then(Op::Get { range: count });
    let done = s.store.txn(txn).await.unwrap();
    let gets: Vec<_> = done
        .results
        .iter()
        .filter_map(|result| match result {
            OpResult::Get(answer) => Some(answer),
            _ => None,
        })
        .collect();
    assert_eq!(gets[0].kvs[0].value, "old");
    assert_eq!(
        (&gets[1].kvs[0].value[..], gets[1].kvs[0].mod_revision),
        (&b"new"[..], done.revision)
    );
    assert_eq!(gets[2].kvs, []);
    assert_eq!(gets[3].count, Some(2));
    assert!(gets.iter().all(|answer| answer.revision == done.revision));
}

pub(super) async fn a_key_changes_once_only(s: Subject) {
    let before = s.put("a", "1").await;
    let (a, b) = (s.key("a"), s.key("b"));
    let refused = [
        Txn::new().put(&a, "2").put(&a, "3"),
        Txn::new().put(&a, "2").delete(&a),
        Txn::new().delete(&a).put(&b, "").put(&a, "2"),
        Txn::new().put(&a, "2").delete_prefix(s.key("")),
        Txn::new()
            .put(&b, "")
            .or_else(Op::put(&a, "2"))
            .or_else(Op::put(&a, "3")),
    ];
    for txn in refused {
        let error = s.store.txn(txn).await.unwrap_err();
        assert!(matches!(&error, Error::DuplicateKey { key } if *key == a), "{error:?}");
    }
    assert_eq!(s.revision().await, before);
    // One branch does not know of the other.
    let either = Txn::new().put(&a, "2").or_else(Op::put(&a, "3"));
    assert!(s.store.txn(either).await.is_ok());
}

pub(super) async fn deletes_may_overlap(s: Subject) {
    s.put("a", "").await;
    s.put("b", "").await;
    let keys = Keys::prefix(s.key(""));
    let txn = Txn::new()
        .delete(s.key("a"))
        .then(Op::Delete { keys: keys.clone() })
        .then(Op::Delete { keys });
    let done = s.store.txn(txn).await.unwrap();
    let deleted = |deleted| OpResult::Delete { deleted };
    assert_eq!(done.results, [deleted(1), deleted(1), deleted(0)]);
}

pub(super) async fn concurrent_increments_are_all_there(s: Subject) {
    const TASKS: u64 = 8;
    const EACH: u64 = 25;
    let key = s.key("counter");
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (store, key) = (Arc::clone(&s.store), key.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while done < EACH {
                    let now = store.get(&key, None).await.unwrap();
                    let value: u64 = now
                        .as_ref()
                        .map_or(0, |kv| std::str::from_utf8(&kv.value).unwrap().parse().unwrap());
                    let revision = now.map_or(Revision::NONE, |kv| kv.mod_revision);
                    let txn = Txn::new()
                        .when(Compare::mod_revision(&key, revision))
                        .put(&key, (value + 1).to_string());
                    done += u64::from(store.txn(txn).await.unwrap().succeeded);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let kv = s.get("counter").await.unwrap();
    assert_eq!(kv.value, (TASKS * EACH).to_string());
    assert_eq!(kv.version, TASKS * EACH);
}

pub(super) async fn one_creator_wins(s: Subject) {
    for round in 0..10 {
        let key = s.key(&format!("{round}"));
        let tasks: Vec<_> = (0..10)
            .map(|id: i32| {
                let (store, key) = (Arc::clone(&s.store), key.clone());
                tokio::spawn(async move {
                    let value = id.to_string();
                    let txn = Txn::new()
                        .when(Compare::absent(&key))
                        .put(&key, value.clone())
                        .or_else_get(&key);
                    let done = store.txn(txn).await.unwrap();
                    (done.succeeded, done.first_kv().map(|kv| kv.value.clone()), value)
                })
            })
            .collect();
        let mut winners = Vec::new();
        let mut seen = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (true, _, value) => winners.push(value),
                (false, there, _) => seen.push(there.unwrap()),
            }
        }
        assert_eq!(winners.len(), 1);
        assert!(seen.iter().all(|there| *there == winners[0]));
    }
}

pub(super) async fn readers_see_all_or_nothing(s: Subject) {
    let writer = {
        let s = s.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                let txn = Txn::new().put(s.key("x"), n.to_string()).put(s.key("y"), n.to_string());
                s.store.txn(txn).await.unwrap();
            }
        })
    };
    let mut last = Revision::NONE;
    while !writer.is_finished() {
        let answer = s.store.range(Range::prefix(s.key(""))).await.unwrap();
        assert!(answer.revision >= last, "revisions never go back");
        last = answer.revision;
        if let [x, y] = &answer.kvs[..] {
            assert_eq!((&x.value, x.mod_revision), (&y.value, y.mod_revision));
        } else {
            assert_eq!(answer.kvs, []);
        }
    }
    writer.await.unwrap();
    s.store.delete(s.key("x")).await.unwrap();
}
