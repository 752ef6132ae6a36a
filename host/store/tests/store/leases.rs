//! Leases of the embedded store over time and restarts.

use std::time::Duration;

use symphony_store::{Error, Options, Store as _, StoreExt as _, Txn, Watch};

use crate::fixture::Fixture;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test]
async fn time_counts_exactly_and_anew() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let lease = store.grant(TTL).await.unwrap();
    store.txn(Txn::new().put_leased("a", "", lease)).await.unwrap();
    fixture.advance(TTL - Duration::from_millis(1));
    let status = store.time_to_live(lease).await.unwrap();
    assert_eq!((status.granted, status.remaining), (TTL, Duration::from_millis(1)));
    store.keep_alive(lease).await.unwrap();
    assert_eq!(store.time_to_live(lease).await.unwrap().remaining, TTL);
    fixture.advance(TTL);
    // From this moment on nothing keeps it alive, whether or not its keys are deleted already.
    assert!(matches!(
        store.keep_alive(lease).await,
        Err(Error::LeaseNotFound { .. })
    ));
}

#[tokio::test]
async fn a_restart_gives_every_lease_its_whole_time() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let lease = store.grant(TTL).await.unwrap();
    store.txn(Txn::new().put_leased("a", "", lease)).await.unwrap();
    fixture.advance(TTL - Duration::from_secs(1));
    store.close().await;
    fixture.advance(TTL * 2);
    let store = fixture.open().await;
    assert_eq!(store.time_to_live(lease).await.unwrap().remaining, TTL);
    let from = store.status().await.unwrap().revision.next();
    let mut watch = store.watch(Watch::key("a", from)).await.unwrap();
    fixture.advance(TTL);
    loop {
        let batch = watch.next().await.unwrap().unwrap();
        if !batch.events.is_empty() {
            break;
        }
    }
    assert!(store.get(&"a".into(), None).await.unwrap().is_none());
    store.close().await;
    let store = fixture.open().await;
    assert!(matches!(
        store.time_to_live(lease).await,
        Err(Error::LeaseNotFound { .. })
    ));
}

#[tokio::test]
async fn many_end_each_in_its_time() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    for n in 1..=20 {
        let lease = store.grant(Duration::from_secs(n)).await.unwrap();
        store
            .txn(Txn::new().put_leased(format!("{n:02}"), "", lease))
            .await
            .unwrap();
    }
    let from = store.status().await.unwrap().revision.next();
    let mut watch = store.watch(Watch::prefix("", from)).await.unwrap();
    for n in 1..=20 {
        fixture.advance(Duration::from_secs(1));
        let batch = loop {
            let batch = watch.next().await.unwrap().unwrap();
            if !batch.events.is_empty() {
                break batch;
            }
        };
        assert_eq!(batch.events.len(), 1);
        assert_eq!(batch.events[0].key().as_str(), Some(&*format!("{n:02}")));
    }
}

#[tokio::test]
async fn only_so_many_are_granted() {
    let fixture = Fixture::new();
    let options = Options {
        leases_max: 3,
        ..fixture.options()
    };
    let store = fixture.open_with(options.clone()).await;
    let first = store.grant(TTL).await.unwrap();
    for _ in 0..2 {
        store.grant(TTL).await.unwrap();
    }
    for store in [&store] {
        let error = store.grant(TTL).await.unwrap_err();
        assert!(
            matches!(error, Error::LimitReached { what: "leases", max: 3 }),
            "{error:?}"
        );
    }
    store.close().await;
    let store = fixture.open_with(options).await;
    assert!(store.grant(TTL).await.is_err());
    store.revoke(first).await.unwrap();
    assert!(store.grant(TTL).await.is_ok());
    store.put("a", "").await.unwrap();
}
