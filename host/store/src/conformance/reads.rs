//! Reading keys, now and as they were.

use crate::conformance::Subject;
use crate::{Error, Key, Keys, Range, Revision, StoreExt as _, Txn, read_all};

pub(super) async fn put_then_get(s: Subject) {
    let first = s.put("a", "1").await;
    let second = s.put("a", "2").await;
    assert_eq!(second, first.next());
    let kv = s.get("a").await.unwrap();
    assert_eq!((kv.key, &kv.value[..]), (s.key("a"), &b"2"[..]));
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (first, second, 2));
    assert_eq!(kv.lease, None);
    assert_eq!(s.revision().await, second);
}

pub(super) async fn absent_is_none(s: Subject) {
    s.put("ab", "1").await;
    assert_eq!(s.get("a").await, None);
    assert_eq!(s.get("abc").await, None);
    let answer = s.store.range(Range::prefix(s.key("x"))).await.unwrap();
    assert_eq!((answer.kvs.len(), answer.count, answer.more), (0, Some(0), false));
}

pub(super) async fn delete_then_put_begins_anew(s: Subject) {
    s.put("a", "1").await;
    s.put("a", "2").await;
    let deleted = s.store.delete(s.key("a")).await.unwrap();
    assert_eq!(s.get("a").await, None);
    let again = s.put("a", "3").await;
    assert_eq!(again, deleted.next());
    let kv = s.get("a").await.unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (again, again, 1));
}

async fn five(s: &Subject) -> Revision {
    for name in ["d", "b", "e", "a", "c"] {
        s.put(name, "value").await;
    }
    s.revision().await
}

pub(super) async fn ranges_are_ordered_and_limited(s: Subject) {
    let revision = five(&s).await;
    let all = Range::prefix(s.key(""));
    let answer = s.store.range(all.clone()).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["a", "b", "c", "d", "e"]);
    assert_eq!((answer.count, answer.more, answer.revision), (Some(5), false, revision));

    let answer = s.store.range(all.clone().limit(2)).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["a", "b"]);
    assert_eq!((answer.count, answer.more), (None, true));
    let answer = s.store.range(all.clone().limit(5)).await.unwrap();
    assert_eq!((answer.kvs.len(), answer.count, answer.more), (5, Some(5), false));

    let answer = s.store.range(all.clone().reverse().limit(2)).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["e", "d"]);
    assert!(answer.more);

    let between = Keys::between(s.key("b"), s.key("d"));
    let answer = s.store.range(Range::new(between)).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["b", "c"]);
    let empty = Keys::between(s.key("d"), s.key("b"));
    assert_eq!(s.store.range(Range::new(empty)).await.unwrap().kvs, []);
    let rest = Keys::prefix(s.key("")).after(&s.key("c"));
    let answer = s.store.range(Range::new(rest)).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["d", "e"]);
}

pub(super) async fn ranges_without_values(s: Subject) {
    five(&s).await;
    let all = Range::prefix(s.key(""));
    let whole = s.store.range(all.clone()).await.unwrap();
    let mut keys = s.store.range(all.clone().keys_only()).await.unwrap();
    assert!(keys.kvs.iter().all(|kv| kv.value.is_empty()));
    for (kv, whole) in keys.kvs.iter_mut().zip(&whole.kvs) {
        kv.value = whole.value.clone();
    }
    assert_eq!(keys, whole);
    let count = s.store.range(all.limit(2).count_only()).await.unwrap();
    assert_eq!((count.kvs.len(), count.count, count.more), (0, Some(5), false));
}

pub(super) async fn prefixes_end_where_they_should(s: Subject) {
    let case = s.key("").as_bytes().to_vec();
    let key = |tail: &[u8]| Key::from([&case[..], tail].concat());
    for tail in [&b"p"[..], b"p\x00", b"p\xff", b"p\xff\xff", b"q", b"o\xff"] {
        s.store.put(key(tail), "x").await.unwrap();
    }
    let count = async |tail: &[u8]| {
        let range = Range::prefix(key(tail)).count_only();
        s.store.range(range).await.unwrap().count
    };
    assert_eq!(count(b"p").await, Some(4));
    assert_eq!(count(b"p\xff").await, Some(2));
    assert_eq!(count(b"p\xff\xff").await, Some(1));
    assert_eq!(count(b"").await, Some(6));
    assert!(s.store.range(Range::new(Keys::all()).count_only()).await.unwrap().count >= Some(6));
}

pub(super) async fn reads_at_a_revision(s: Subject) {
    let before = s.put("other", "x").await;
    let one = s.put("a", "1").await;
    let two = s.put("a", "2").await;
    let gone = s.store.delete(s.key("a")).await.unwrap();
    let three = s.put("a", "3").await;
    let key = s.key("a");
    let value = async |at| {
        let kv = s.store.get(&key, Some(at)).await.unwrap();
        kv.map(|kv| (kv.value, kv.create_revision, kv.version))
    };
    assert_eq!(value(before).await, None);
    assert_eq!(value(one).await, Some(("1".into(), one, 1)));
    assert_eq!(value(two).await, Some(("2".into(), one, 2)));
    assert_eq!(value(gone).await, None);
    assert_eq!(value(three).await, Some(("3".into(), three, 1)));
}

pub(super) async fn ranges_at_a_revision(s: Subject) {
    let then = five(&s).await;
    s.put("aa", "new").await;
    s.put("b", "changed").await;
    s.store.delete(s.key("c")).await.unwrap();
    let now = s.revision().await;
    let past = Range::prefix(s.key("")).at(then);
    let answer = s.store.range(past.clone()).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["a", "b", "c", "d", "e"]);
    assert!(answer.kvs.iter().all(|kv| kv.value == "value"));
    assert_eq!((answer.revision, answer.count), (now, Some(5)));
    let answer = s.store.range(past.clone().reverse().limit(3)).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["e", "d", "c"]);
    assert!(answer.more);
    let answer = s.store.range(past.clone().limit(3)).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["a", "b", "c"]);
    assert_eq!(s.store.range(past.count_only()).await.unwrap().count, Some(5));
    let answer = s.store.range(Range::prefix(s.key("")).at(now)).await.unwrap();
    assert_eq!(s.names(&answer.kvs), ["a", "aa", "b", "d", "e"]);
}

pub(super) async fn the_future_cannot_be_read(s: Subject) {
    let current = s.put("a", "1").await;
    let requested = current.next();
    let error = s.store.get(&s.key("a"), Some(requested)).await.unwrap_err();
    assert!(
        matches!(error, Error::FutureRevision { requested: r, current: c } if (r, c) == (requested, current)),
        "{error:?}"
    );
    let range = Range::prefix(s.key("")).at(requested);
    let error = s.store.range(range).await.unwrap_err();
    assert!(matches!(error, Error::FutureRevision { .. }), "{error:?}");
}

pub(super) async fn empty_keys_are_refused(s: Subject) {
    let error = s.store.get(&Key::from(""), None).await.unwrap_err();
    assert!(matches!(error, Error::EmptyKey), "{error:?}");
    let before = s.revision().await;
    for txn in [
        Txn::new().put("", "x"),
        Txn::new().delete(""),
        Txn::new().or_else_get(""),
    ] {
        let error = s.store.txn(txn).await.unwrap_err();
        assert!(matches!(error, Error::EmptyKey), "{error:?}");
    }
    assert_eq!(s.revision().await, before);
}

pub(super) async fn pages_are_of_one_revision(s: Subject) {
    five(&s).await;
    let all = Range::prefix(s.key(""));
    let whole = s.store.range(all.clone()).await.unwrap();
    let first = s.store.range(all.clone().limit(2)).await.unwrap();
    s.put("bb", "too late").await;
    s.store.delete(s.key("d")).await.unwrap();
    let mut rest = Range::new(all.keys.after(&s.key("b"))).at(first.revision);
    let answer = s.store.range(rest.clone()).await.unwrap();
    assert_eq!(answer.kvs, whole.kvs[2..]);
    rest.keys = all.keys.clone();
    for page in [1, 2, 3, 5, 100] {
        let paged = read_all(&*s.store, rest.clone(), page).await.unwrap();
        assert_eq!(
            (paged.kvs, paged.count, paged.more),
            (whole.kvs.clone(), Some(5), false)
        );
        let cut = read_all(&*s.store, rest.clone().limit(4), page).await.unwrap();
        assert_eq!((cut.kvs.len(), cut.more, cut.count), (4, true, None));
    }
}
