//! Backups written into stores of tests' own.

use symphony_api::backup::{FORMAT, Header, Writer};
use symphony_core::Timestamp;
use symphony_store::{Embedded, Options, StoreExt as _, read_all};

use super::*;

async fn store(folder: &Path) -> Embedded {
    Embedded::open(folder.join("store"), Options::default()).await.unwrap()
}

/// More than one batch, and each kind of key that is treated in a way of its own.
fn entries() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = BTreeMap::new();
    for number in 0..250 {
        entries.insert(format!("v1/volume/p/{number:03}").into_bytes(), vec![number as u8; 9]);
    }
    for number in 0..3 {
        entries.insert(format!("parts/plugin/x/{number}").into_bytes(), vec![7; 700 << 10]);
    }
    entries.insert(keys::EPOCH.into(), br#"{"v":1,"epoch":41}"#.to_vec());
    entries.insert(b"v1/enrolment/manager/m1".to_vec(), b"{}".to_vec());
    entries.insert(b"v1/enrolment/node/n1".to_vec(), b"{}".to_vec());
    entries
}

fn backup(folder: &Path) -> std::path::PathBuf {
    let header = Header {
        format: FORMAT.to_owned(),
        cluster: None,
        revision: 9,
        version: "0.1.0".to_owned(),
        taken_at: Timestamp::UNIX_EPOCH,
    };
    let (mut writer, mut lines) = Writer::begin(&header).unwrap();
    for (key, value) in entries() {
        writer.entry(&mut lines, &key, &value);
    }
    lines.extend(writer.end());
    let path = folder.join("backup");
    std::fs::write(&path, lines).unwrap();
    path
}

async fn all(store: &dyn Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let all = read_all(store, Range::new(Keys::all()), 50).await.unwrap();
    let pair = |kv: symphony_store::KeyValue| (kv.key.as_bytes().to_vec(), kv.value.to_vec());
    all.kvs.into_iter().map(pair).collect()
}

/// Looks that a store has the whole backup, a higher epoch and an event more, and nothing else.
async fn is_whole(store: &dyn Store) {
    let mut found = all(store).await;
    let mut wanted = entries();
    wanted.remove(&b"v1/enrolment/manager/m1"[..]);
    wanted.remove(keys::EPOCH.as_bytes());
    let epoch: serde_json::Value = serde_json::from_slice(&found.remove(keys::EPOCH.as_bytes()).unwrap()).unwrap();
    assert_eq!(epoch["epoch"], 1_000_041);
    let is_event = |key: &[u8]| key.starts_with(keys::EVENTS.as_bytes());
    let events: Vec<_> = found.iter().filter(|(key, _)| is_event(key)).collect();
    assert_eq!(events.len(), 1);
    let event: Event = record::decode(events[0].1).unwrap();
    assert_eq!(event.reason, "restored");
    found.retain(|key, _| !is_event(key));
    assert!(found == wanted, "{:?}", found.keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn an_empty_store_gets_all_of_it() {
    let home = tempfile::tempdir().unwrap();
    let path = backup(home.path());
    let summary = check(&path).unwrap();
    let store = store(home.path()).await;
    let restored = restore(&store, &path, &summary).await.unwrap();
    assert_eq!(restored.keys, summary.count - 1, "all but the manager's enrolment");
    is_whole(&store).await;
    let again = restore(&store, &path, &summary).await.unwrap_err();
    assert!(matches!(again, RestoreError::Occupied(_)));
    is_whole(&store).await;
}

#[tokio::test]
async fn a_store_with_anything_in_it_is_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let path = backup(home.path());
    let summary = check(&path).unwrap();
    for key in ["v1/node/n1", "parts/plugin/x/0"] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        store.put(key, "x").await.unwrap();
        let before = all(&store).await;
        let error = restore(&store, &path, &summary).await.unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.contains("1 keys"), "{failure:?}");
        assert_eq!(all(&store).await, before);
    }
}

#[tokio::test]
async fn a_restore_that_broke_off_begins_anew_and_nobody_joins_meanwhile() {
    let home = tempfile::tempdir().unwrap();
    let path = backup(home.path());
    let summary = check(&path).unwrap();
    let store = std::sync::Arc::new(store(home.path()).await);
    let mut writing = Writing::begin(store.as_ref(), &summary).await.unwrap();
    let stray = Entry {
        key: b"v1/volume/p/stray".to_vec(),
        value: b"of another backup".to_vec(),
    };
    writing.put(stray).await.unwrap();
    writing.flush().await.unwrap();

    let members = symphony_control::members::Members::new(store.clone());
    let error = members.found().await.unwrap_err();
    assert!(error.to_string().contains("run `symphony restore` again"), "{error}");

    restore(store.as_ref(), &path, &summary).await.unwrap();
    is_whole(store.as_ref()).await;
    // The first one was only slow: it can't write any more.
    let late = Entry {
        key: b"v1/volume/p/late".to_vec(),
        value: b"x".to_vec(),
    };
    writing.put(late).await.unwrap();
    assert!(matches!(writing.finish(&summary).await, Err(RestoreError::Overtaken)));
    is_whole(store.as_ref()).await;
}

#[tokio::test]
async fn a_file_that_changes_under_it_makes_no_store() {
    let home = tempfile::tempdir().unwrap();
    let path = backup(home.path());
    let summary = check(&path).unwrap();
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(check(&path).unwrap_err().message.contains("cut off"));
    let store = store(home.path()).await;
    assert!(restore(&store, &path, &summary).await.is_err());
    assert!(store.get(&keys::RESTORE.into(), None).await.unwrap().is_some());
}
