//! What compares hold for.

use std::time::Duration;

use crate::CompareOp::{Equal, Greater, Less, NotEqual};
use crate::conformance::Subject;
use crate::{Compare, CompareOp, Keys, LeaseId, Revision, Target, Txn};

async fn holds(s: &Subject, keys: &Keys, op: CompareOp, target: &Target) -> bool {
    let compare = Compare::new(keys.clone(), op, target.clone());
    // A transaction that could write is decided by the writer, one that only reads elsewhere: they must agree.
    let reading = Txn::new().when(compare.clone()).get(s.key("a"));
    let writing = Txn::new().when(compare).delete(s.key("never there"));
    let holds = s.store.txn(reading).await.unwrap().succeeded;
    assert_eq!(s.store.txn(writing).await.unwrap().succeeded, holds);
    holds
}

/// Checks all operators against a target that the stored side is below, at and above.
async fn check(s: &Subject, keys: &Keys, [below, at, above]: [Target; 3]) {
    for (target, expected) in [
        (
            below,
            [(Equal, false), (NotEqual, true), (Greater, true), (Less, false)],
        ),
        (at, [(Equal, true), (NotEqual, false), (Greater, false), (Less, false)]),
        (
            above,
            [(Equal, false), (NotEqual, true), (Greater, false), (Less, true)],
        ),
    ] {
        for (op, expected) in expected {
            assert_eq!(holds(s, keys, op, &target).await, expected, "{op:?} {target:?}");
        }
    }
}

pub(super) async fn every_target_with_every_operator(s: Subject) {
    let created = s.put("a", "m").await;
    s.put("a", "m").await;
    let modified = s.put("a", "m").await;
    let keys = Keys::one(s.key("a"));
    let around = |revision: Revision| [Revision(revision.0 - 1), revision, revision.next()];
    check(&s, &keys, [2, 3, 4].map(Target::Version)).await;
    check(&s, &keys, around(created).map(Target::CreateRevision)).await;
    check(&s, &keys, around(modified).map(Target::ModRevision)).await;
    check(&s, &keys, ["a", "m", "z"].map(|value| Target::Value(value.into()))).await;
    check(&s, &keys, ["", "m", "mm"].map(|value| Target::Value(value.into()))).await;
    let lease = s.store.grant(Duration::from_secs(60)).await.unwrap();
    s.store
        .txn(Txn::new().put_leased(s.key("a"), "m", lease))
        .await
        .unwrap();
    let leases = [None, Some(lease), Some(LeaseId(lease.0 + 1))];
    check(&s, &keys, leases.map(Target::Lease)).await;
}

pub(super) async fn an_absent_key_is_zero(s: Subject) {
    let keys = Keys::one(s.key("absent"));
    for zero in [
        Target::Version(0),
        Target::CreateRevision(Revision::NONE),
        Target::ModRevision(Revision::NONE),
        Target::Lease(None),
    ] {
        assert!(holds(&s, &keys, Equal, &zero).await);
        assert!(!holds(&s, &keys, NotEqual, &zero).await);
        assert!(!holds(&s, &keys, Greater, &zero).await);
    }
    assert!(holds(&s, &keys, Less, &Target::Version(1)).await);
    assert!(
        !s.store
            .txn(Txn::new().when(Compare::present(s.key("absent"))))
            .await
            .unwrap()
            .succeeded
    );
}

pub(super) async fn values_of_absent_keys_never_compare(s: Subject) {
    for keys in [Keys::one(s.key("absent")), Keys::prefix(s.key("absent/"))] {
        for op in [Equal, NotEqual, Greater, Less] {
            assert!(!holds(&s, &keys, op, &Target::Value("".into())).await);
            assert!(!holds(&s, &keys, op, &Target::Value("x".into())).await);
        }
    }
}

pub(super) async fn a_span_holds_when_each_key_does(s: Subject) {
    s.put("b", "same").await;
    s.put("c", "same").await;
    let newest = s.put("d", "same").await;
    s.put("e", "other").await;
    let same = Keys::between(s.key("b"), s.key("e"));
    let all = Keys::prefix(s.key(""));
    let value = Target::Value("same".into());
    assert!(holds(&s, &same, Equal, &value).await);
    assert!(!holds(&s, &all, Equal, &value).await);
    assert!(!holds(&s, &all, NotEqual, &value).await);
    assert!(holds(&s, &same, Less, &Target::ModRevision(newest.next())).await);
    assert!(!holds(&s, &all, Less, &Target::ModRevision(newest.next())).await);
    assert!(holds(&s, &all, Equal, &Target::Version(1)).await);
    let unchanged = |since| {
        Txn::new()
            .when(Compare::unchanged_under(s.key(""), since))
            .get(s.key("b"))
    };
    let now = s.revision().await;
    assert!(s.store.txn(unchanged(now)).await.unwrap().succeeded);
    s.put("c", "same").await;
    assert!(!s.store.txn(unchanged(now)).await.unwrap().succeeded);
    assert!(!holds(&s, &all, Equal, &Target::Version(1)).await);
}

pub(super) async fn an_empty_span_is_an_absent_key(s: Subject) {
    s.put("a", "").await;
    for keys in [Keys::prefix(s.key("none/")), Keys::between(s.key("b"), s.key("a"))] {
        assert!(holds(&s, &keys, Equal, &Target::CreateRevision(Revision::NONE)).await);
        assert!(holds(&s, &keys, Less, &Target::Version(1)).await);
        assert!(!holds(&s, &keys, Greater, &Target::Version(0)).await);
    }
}

pub(super) async fn nothing_under_a_prefix(s: Subject) {
    let create = || {
        Txn::new()
            .when(Compare::none_under(s.key("dir/")))
            .put(s.key("dir/a"), "")
    };
    s.put("dir", "beside it").await;
    s.put("dir0", "behind it").await;
    assert!(s.store.txn(create()).await.unwrap().succeeded);
    assert!(!s.store.txn(create()).await.unwrap().succeeded);
    s.store.txn(Txn::new().delete(s.key("dir/a"))).await.unwrap();
    assert!(s.store.txn(create()).await.unwrap().succeeded);
}
