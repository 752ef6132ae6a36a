//! Leases and the keys that go with them.

use std::time::Duration;

use crate::conformance::{Subject, changes, next_events};
use crate::limits::{LEASE_TTL_MAX, LEASE_TTL_MIN};
use crate::{Error, LeaseId, StoreExt as _, Txn, Watch};

/// Short enough to wait for on a real clock, more than the least that etcd grants (2 s), and so much more than what is
/// waited between two keep-alives that a busy machine does not lose the lease.
const TTL: Duration = Duration::from_secs(5);
/// More than a backend takes to notice that a lease is over.
const OVER: Duration = Duration::from_secs(6);

async fn put_leased(s: &Subject, name: &str, lease: LeaseId) {
    s.store
        .txn(Txn::new().put_leased(s.key(name), "x", lease))
        .await
        .unwrap();
}

pub(super) async fn keys_go_when_time_is_over(s: Subject) {
    let lease = s.store.grant(TTL).await.unwrap();
    let other = s.store.grant(Duration::from_secs(600)).await.unwrap();
    put_leased(&s, "a", lease).await;
    put_leased(&s, "b", lease).await;
    put_leased(&s, "c", other).await;
    s.put("d", "").await;
    assert_eq!(s.get("a").await.unwrap().lease, Some(lease));
    let from = s.revision().await.next();
    let mut watch = s.store.watch(Watch::prefix(s.key(""), from)).await.unwrap();
    s.pass(OVER).await;
    let batch = next_events(&mut watch).await;
    assert_eq!(
        (changes(&batch), batch.revision),
        (vec!["-a".into(), "-b".into()], from)
    );
    assert!(s.get("a").await.is_none() && s.get("b").await.is_none());
    assert!(s.get("c").await.is_some() && s.get("d").await.is_some());
    let error = s.store.time_to_live(lease).await.unwrap_err();
    assert!(
        matches!(error, Error::LeaseNotFound { lease: l } if l == lease),
        "{error:?}"
    );
    assert!(s.store.time_to_live(other).await.is_ok());
}

pub(super) async fn keep_alive_extends(s: Subject) {
    let lease = s.store.grant(TTL).await.unwrap();
    put_leased(&s, "a", lease).await;
    for _ in 0..7 {
        s.pass(Duration::from_secs(1)).await;
        assert_eq!(s.store.keep_alive(lease).await.unwrap(), TTL);
    }
    let status = s.store.time_to_live(lease).await.unwrap();
    assert_eq!((status.lease, status.granted), (lease, TTL));
    assert!(status.remaining <= TTL);
    assert!(s.get("a").await.is_some());
    let mut watch = s
        .store
        .watch(Watch::key(s.key("a"), s.revision().await.next()))
        .await
        .unwrap();
    s.pass(OVER).await;
    assert_eq!(changes(&next_events(&mut watch).await), ["-a"]);
}

pub(super) async fn revoking_deletes_in_one_revision(s: Subject) {
    let lease = s.store.grant(Duration::from_secs(600)).await.unwrap();
    let before = s.revision().await;
    for name in ["b", "a", "c"] {
        put_leased(&s, name, lease).await;
    }
    assert_eq!(s.revision().await.0, before.0 + 3, "a grant makes no revision");
    let from = s.revision().await.next();
    let mut watch = s.store.watch(Watch::prefix(s.key(""), from)).await.unwrap();
    assert_eq!(s.store.revoke(lease).await.unwrap(), from);
    assert_eq!(changes(&next_events(&mut watch).await), ["-a", "-b", "-c"]);
    let bare = s.store.grant(TTL).await.unwrap();
    assert_eq!(
        s.store.revoke(bare).await.unwrap(),
        from,
        "without keys nothing changes"
    );
}

pub(super) async fn an_ended_lease_does_nothing(s: Subject) {
    let lease = s.store.grant(Duration::from_secs(600)).await.unwrap();
    let next = s.store.grant(Duration::from_secs(600)).await.unwrap();
    assert_ne!(lease, next);
    s.store.revoke(lease).await.unwrap();
    let before = s.put("a", "1").await;
    let put = Txn::new().put(s.key("b"), "").put_leased(s.key("a"), "2", lease);
    let errors = [
        s.store.revoke(lease).await.unwrap_err(),
        s.store.keep_alive(lease).await.unwrap_err(),
        s.store.time_to_live(lease).await.unwrap_err(),
        s.store.txn(put).await.unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(error, Error::LeaseNotFound { lease: l } if l == lease),
            "{error:?}"
        );
    }
    assert_eq!(s.revision().await, before);
    assert!(s.get("b").await.is_none());
}

pub(super) async fn a_put_moves_a_key_between_leases(s: Subject) {
    let one = s.store.grant(Duration::from_secs(600)).await.unwrap();
    let two = s.store.grant(Duration::from_secs(600)).await.unwrap();
    for name in ["moved", "freed", "deleted", "stays"] {
        put_leased(&s, name, one).await;
    }
    put_leased(&s, "moved", two).await;
    s.put("freed", "").await;
    s.store.delete(s.key("deleted")).await.unwrap();
    put_leased(&s, "stays", one).await;
    let keys = async |lease| s.store.time_to_live(lease).await.unwrap().keys;
    assert_eq!(keys(one).await, [s.key("stays")]);
    assert_eq!(keys(two).await, [s.key("moved")]);
    assert_eq!(s.get("freed").await.unwrap().lease, None);
    s.put("deleted", "again").await;
    s.store.revoke(one).await.unwrap();
    assert!(s.get("stays").await.is_none());
    for name in ["moved", "freed", "deleted"] {
        assert!(s.get(name).await.is_some(), "{name}");
    }
    s.store.revoke(two).await.unwrap();
    assert!(s.get("moved").await.is_none());
}

pub(super) async fn time_to_live_is_limited(s: Subject) {
    let millisecond = Duration::from_millis(1);
    for ttl in [Duration::ZERO, LEASE_TTL_MIN - millisecond, LEASE_TTL_MAX + millisecond] {
        let error = s.store.grant(ttl).await.unwrap_err();
        assert!(matches!(error, Error::InvalidTtl { .. }), "{error:?}");
    }
    assert!(s.store.grant(LEASE_TTL_MAX).await.is_ok());
}
