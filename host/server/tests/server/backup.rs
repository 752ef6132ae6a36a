//! Backups: whole, of one revision, without what lives with a lease; for admins alone, and in the audit log.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use symphony_api::backup::{Reader, Summary};
use symphony_api::{Client, Code, Endpoint};
use symphony_core::keys;
use symphony_server::Limits;
use symphony_store::{Keys, Range, StoreExt as _, Txn, read_all};

use crate::harness::Harness;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

async fn taken(client: &Client) -> (Pairs, Summary) {
    let mut download = client.backup().await.unwrap();
    let (mut reader, mut pairs) = (Reader::new(), Pairs::new());
    while let Some(piece) = download.next().await.unwrap() {
        let each = |entry: symphony_api::backup::Entry| {
            pairs.insert(entry.key, entry.value);
        };
        reader.feed(&piece, each).unwrap();
    }
    (pairs, reader.finish().unwrap())
}

async fn stored(harness: &Harness) -> Pairs {
    let all = read_all(&*harness.store, Range::new(Keys::all()), 50).await.unwrap();
    let pair = |kv: symphony_store::KeyValue| (kv.key.as_bytes().to_vec(), kv.value.to_vec());
    all.kvs.into_iter().map(pair).collect()
}

#[tokio::test]
async fn a_backup_has_every_key_but_those_of_a_life() {
    let harness = Harness::start().await;
    // More than a page, under both roots, and something that is none of ours.
    for number in 0..120 {
        let txn = Txn::new()
            .put(format!("v1/volume/p/{number}"), vec![number; 3])
            .put(format!("parts/plugin/x/{number}"), vec![number; 9]);
        harness.store.txn(txn).await.unwrap();
    }
    let wanted = stored(&harness).await;
    harness.store.put("registry/of/another", "x").await.unwrap();
    let lease = harness.store.grant(Duration::from_secs(600)).await.unwrap();
    let of_a_life = Txn::new()
        .put(keys::LEADER, "{}")
        .put_leased("v1/manager-alive/m1", "{}", lease)
        .put_leased("v1/anything", "{}", lease);
    let at = harness.store.txn(of_a_life).await.unwrap().revision;

    let (pairs, summary) = taken(&harness.client()).await;
    assert!(pairs == wanted, "{:?}", pairs.keys().collect::<Vec<_>>());
    assert_eq!((summary.count, summary.header.revision), (wanted.len() as u64, at.0));

    let socket = Client::new(&Endpoint::Socket(harness.socket.clone()), None, "default").unwrap();
    assert!(taken(&socket).await.0 == wanted, "the control socket gives the same");
    harness.stop().await;
}

#[tokio::test]
async fn what_is_written_meanwhile_is_not_in_it() {
    let harness = Harness::start().await;
    // More than fits between two processes, so that the end is read after the writes below.
    for number in 0..64 {
        harness
            .store
            .put(format!("v1/a/{number:02}"), vec![7; 512 << 10])
            .await
            .unwrap();
    }
    let wanted = stored(&harness).await;
    let mut download = harness.client().backup().await.unwrap();
    harness.store.put("v1/z", "late").await.unwrap();
    harness.store.delete("v1/a/63").await.unwrap();
    let (mut reader, mut pairs) = (Reader::new(), Pairs::new());
    while let Some(piece) = download.next().await.unwrap() {
        let each = |entry: symphony_api::backup::Entry| {
            pairs.insert(entry.key, entry.value);
        };
        reader.feed(&piece, each).unwrap();
    }
    reader.finish().unwrap();
    assert!(pairs == wanted);
    harness.stop().await;
}

#[tokio::test]
async fn one_that_is_cut_off_is_refused_and_the_manager_ends() {
    let harness = Harness::with(Limits {
        drain: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    for number in 0..64 {
        harness
            .store
            .put(format!("v1/a/{number:02}"), vec![7; 512 << 10])
            .await
            .unwrap();
    }
    let mut download = harness.client().backup().await.unwrap();
    let mut reader = Reader::new();
    let first = download.next().await.unwrap().unwrap();
    reader.feed(&first, drop).unwrap();
    harness.stop().await;
    let mut broke = false;
    loop {
        match download.next().await {
            Ok(Some(piece)) => reader.feed(&piece, drop).unwrap(),
            Ok(None) => break,
            Err(_) => {
                broke = true;
                break;
            }
        }
    }
    assert!(broke || reader.finish().is_err());
}

#[tokio::test]
async fn few_at_a_time_and_each_is_audited() {
    let harness = Harness::with(Limits {
        backups: 1,
        ..Limits::default()
    })
    .await;
    for number in 0..64 {
        harness
            .store
            .put(format!("v1/a/{number:02}"), vec![7; 512 << 10])
            .await
            .unwrap();
    }
    let first = harness.ask(Method::GET, "/v1/backup").send().await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(first.headers()["content-type"], "application/x-ndjson");
    harness
        .refused(harness.ask(Method::GET, "/v1/backup"))
        .await
        .is(Code::TooManyRequests);
    let (_, viewer) = harness.token(json!({"role": "operator"})).await;
    harness
        .refused(harness.bare(Method::GET, "/v1/backup").bearer_auth(viewer))
        .await
        .is(Code::Forbidden);
    drop(first);
    let (_, audit) = crate::harness::json(harness.ask(Method::GET, "/v1/audit")).await;
    let statuses: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["path"] == "/v1/backup")
        .map(|line| line["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [403, 429, 200]);
    harness.stop().await;
}
