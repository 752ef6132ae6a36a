//! Every limit: what just fits is done, what does not is refused and changes nothing.

use bytes::Bytes;

use crate::conformance::Subject;
use crate::limits::{KEY_BYTES_MAX, OPS_MAX, RANGE_BYTES_MAX, REQUEST_BYTES_MAX, TXN_GET_KEYS_MAX, VALUE_BYTES_MAX};
use crate::{Compare, Error, Key, Op, OpResult, Range, StoreExt as _, Txn, read_all};

async fn refused(s: &Subject, txn: Txn) -> Error {
    let before = s.revision().await;
    let error = s.store.txn(txn).await.unwrap_err();
    assert_eq!(s.revision().await, before);
    error
}

fn zeros(len: usize) -> Bytes {
    Bytes::from(vec![0; len])
}

pub(super) async fn operations_and_compares(s: Subject) {
    let puts = |count: usize| (0..count).fold(Txn::new(), |txn, n| txn.put(s.key(&n.to_string()), ""));
    assert!(s.store.txn(puts(OPS_MAX)).await.is_ok());
    let many = puts(OPS_MAX + 1);
    let failing = Txn {
        success: Vec::new(),
        failure: many.success.clone(),
        ..Txn::new()
    };
    for txn in [many, failing] {
        let error = refused(&s, txn).await;
        assert!(
            matches!(
                error,
                Error::TooManyOps {
                    what: "operations",
                    count: 129,
                    max: 128
                }
            ),
            "{error:?}"
        );
    }
    let whens = |count: usize| {
        (0..count).fold(Txn::new().put(s.key("a"), ""), |txn, _| {
            txn.when(Compare::version(s.key("0"), 1))
        })
    };
    assert!(s.store.txn(whens(OPS_MAX)).await.unwrap().succeeded);
    let error = refused(&s, whens(OPS_MAX + 1)).await;
    assert!(matches!(error, Error::TooManyOps { what: "compares", .. }), "{error:?}");
}

pub(super) async fn sizes_of_keys_and_values(s: Subject) {
    let key = |len: usize| {
        let mut key = s.key("").as_bytes().to_vec();
        key.resize(len, b'k');
        Key::from(key)
    };
    s.store.put(key(KEY_BYTES_MAX), zeros(VALUE_BYTES_MAX)).await.unwrap();
    let kv = s.store.get(&key(KEY_BYTES_MAX), None).await.unwrap().unwrap();
    assert_eq!(kv.value.len(), VALUE_BYTES_MAX);
    let error = refused(&s, Txn::new().put(s.key("a"), zeros(VALUE_BYTES_MAX + 1))).await;
    assert!(
        matches!(
            error,
            Error::TooLarge {
                what: "value",
                max: VALUE_BYTES_MAX
            }
        ),
        "{error:?}"
    );
    let long = key(KEY_BYTES_MAX + 1);
    for txn in [
        Txn::new().put(&long, ""),
        Txn::new().delete(&long),
        Txn::new().delete_prefix(&long),
        Txn::new().get(&long),
        Txn::new().when(Compare::absent(&long)),
    ] {
        let error = refused(&s, txn).await;
        assert!(
            matches!(
                error,
                Error::TooLarge {
                    what: "key",
                    max: KEY_BYTES_MAX
                }
            ),
            "{error:?}"
        );
    }
    let error = s.store.get(&long, None).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "key", .. }), "{error:?}");
    let error = s.store.range(Range::prefix(&long)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "key", .. }), "{error:?}");
}

pub(super) async fn size_of_a_request(s: Subject) {
    let half = REQUEST_BYTES_MAX / 2;
    let two = |len: usize| Txn::new().put(s.key("a"), zeros(len)).put(s.key("b"), zeros(half));
    assert!(s.store.txn(two(half - 200)).await.is_ok());
    for txn in [
        two(half),
        Txn::new()
            .put(s.key("a"), zeros(half))
            .or_else(Op::put(s.key("a"), zeros(half))),
        Txn::new()
            .when(Compare::value(s.key("a"), zeros(half)))
            .put(s.key("a"), zeros(half)),
    ] {
        let error = refused(&s, txn).await;
        assert!(
            matches!(
                error,
                Error::TooLarge {
                    what: "request",
                    max: REQUEST_BYTES_MAX
                }
            ),
            "{error:?}"
        );
    }
}

pub(super) async fn size_of_an_answer(s: Subject) {
    let count = RANGE_BYTES_MAX / VALUE_BYTES_MAX;
    for n in 0..count {
        s.store
            .put(s.key(&format!("{n:03}")), zeros(VALUE_BYTES_MAX))
            .await
            .unwrap();
    }
    let all = Range::prefix(s.key(""));
    let error = s.store.range(all.clone()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                what: "answer",
                max: RANGE_BYTES_MAX
            }
        ),
        "{error:?}"
    );
    assert_eq!(s.store.range(all.clone().keys_only()).await.unwrap().kvs.len(), count);
    assert_eq!(read_all(&*s.store, all.clone(), 10).await.unwrap().kvs.len(), count);
    // Inside a transaction the answer is cut, since other operations may be done already.
    let done = s
        .store
        .txn(Txn::new().put(s.key("done"), "").then(Op::Get { range: all }))
        .await
        .unwrap();
    let OpResult::Get(answer) = &done.results[1] else {
        panic!("{:?}", done.results[1]);
    };
    assert!(answer.more && answer.kvs.len() <= count);
}

pub(super) async fn keys_read_in_a_transaction(s: Subject) {
    let names: Vec<_> = (0..=TXN_GET_KEYS_MAX).map(|n| s.key(&format!("{n:05}"))).collect();
    for names in names.chunks(OPS_MAX) {
        let txn = names.iter().fold(Txn::new(), |txn, name| txn.put(name, ""));
        s.store.txn(txn).await.unwrap();
    }
    let get = |range| Txn::new().then(Op::Get { range });
    for (range, expected) in [
        (Range::prefix(s.key("")), TXN_GET_KEYS_MAX),
        (Range::prefix(s.key("")).limit(TXN_GET_KEYS_MAX + 1), TXN_GET_KEYS_MAX),
        (Range::prefix(s.key("")).limit(7), 7),
    ] {
        for txn in [get(range.clone()), get(range).put(s.key("x"), "")] {
            let done = s.store.txn(txn).await.unwrap();
            let OpResult::Get(answer) = &done.results[0] else {
                panic!("{:?}", done.results[0]);
            };
            assert_eq!((answer.kvs.len(), answer.more, answer.count), (expected, true, None));
        }
    }
}
