//! The embedded store's file: opened again, opened twice, of another format, and how its history is removed.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};
use symphony_store::{Compare, Embedded, Error, Options, Range, Revision, Store as _, StoreExt as _, Txn, Watch};

use crate::fixture::Fixture;

#[tokio::test]
async fn opening_again_finds_everything() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    assert_eq!(store.status().await.unwrap().revision, Revision(1));
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let first = store.put("a", "1").await.unwrap();
    store.put("a", "2").await.unwrap();
    store
        .txn(Txn::new().put_leased("b", "x", lease).delete("a"))
        .await
        .unwrap();
    store.compact(first).await.unwrap();
    let all = store.range(Range::prefix("")).await.unwrap();
    let status = store.status().await.unwrap();
    store.close().await;

    let store = fixture.open().await;
    assert_eq!(store.range(Range::prefix("")).await.unwrap(), all);
    let again = store.status().await.unwrap();
    assert_eq!((again.revision, again.compact_revision), (status.revision, first));
    assert_eq!(
        store.get(&"a".into(), Some(first.next())).await.unwrap().unwrap().value,
        "2"
    );
    assert_eq!(store.time_to_live(lease).await.unwrap().keys, ["b".into()]);
    let mut watch = store.watch(Watch::prefix("", first.next())).await.unwrap();
    for revision in first.0 + 1..=status.revision.0 {
        assert_eq!(watch.next().await.unwrap().unwrap().revision, Revision(revision));
    }
    let next = store.grant(Duration::from_secs(60)).await.unwrap();
    assert!(next > lease, "lease ids are never reused");
    assert_eq!(store.put("c", "").await.unwrap(), status.revision.next());
}

#[tokio::test]
async fn dropping_closes_the_file() {
    let fixture = Fixture::new();
    for round in 1..5_u64 {
        let store = fixture.open().await;
        // A watch that outlives the store does not keep its file open.
        let mut watch = store.watch(Watch::prefix("", Revision(1))).await.unwrap();
        store.put("a", round.to_string()).await.unwrap();
        drop(store);
        let end = loop {
            match watch.next().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(end, Error::Closed));
    }
    assert_eq!(
        fixture
            .open()
            .await
            .get(&"a".into(), None)
            .await
            .unwrap()
            .unwrap()
            .version,
        4
    );
}

#[tokio::test]
async fn a_file_is_opened_once_only() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let error = Embedded::open(fixture.path(), Options::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::AlreadyOpen { path } if *path == fixture.path()),
        "{error:?}"
    );
    assert!(store.put("a", "still works").await.is_ok());
    store.close().await;
    assert!(Embedded::open(fixture.path(), Options::default()).await.is_ok());
}

#[tokio::test]
async fn only_its_owner_reads_the_file() {
    let fixture = Fixture::new();
    let _store = fixture.open().await;
    let mode = std::fs::metadata(fixture.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn another_format_is_refused_and_left_alone() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let fixture = Fixture::new();
    fixture.open().await.close().await;
    let set_format = |format: Option<u64>| {
        let database = Database::open(fixture.path()).unwrap();
        let tx = database.begin_write().unwrap();
        let mut meta = tx.open_table(META).unwrap();
        match format {
            Some(format) => drop(meta.insert("format", format).unwrap()),
            None => drop(meta.remove("format").unwrap()),
        }
        drop(meta);
        tx.commit().unwrap();
    };
    set_format(Some(2));
    let error = Embedded::open(fixture.path(), Options::default()).await.unwrap_err();
    assert!(
        matches!(error, Error::UnknownFormat { found: 2, supported: 1 }),
        "{error:?}"
    );
    set_format(None);
    let error = Embedded::open(fixture.path(), Options::default()).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    set_format(Some(1));
    assert!(Embedded::open(fixture.path(), Options::default()).await.is_ok());
}

#[tokio::test]
async fn something_else_is_not_a_store() {
    let fixture = Fixture::new();
    let content = b"this is a letter to a friend\n".repeat(1000);
    std::fs::write(fixture.path(), &content).unwrap();
    let error = Embedded::open(fixture.path(), Options::default()).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert_eq!(std::fs::read(fixture.path()).unwrap(), content);
    let nowhere = fixture.path().join("no/such/folder");
    let error = Embedded::open(nowhere, Options::default()).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
}

/// How many rows the file's tables have, once it is closed: changes, and versions of keys.
fn rows(fixture: &Fixture) -> (u64, u64) {
    const LOG: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("log");
    const VERSIONS: TableDefinition<'_, (&[u8], u64), &[u8]> = TableDefinition::new("versions");
    let database = Database::open(fixture.path()).unwrap();
    let tx = database.begin_read().unwrap();
    (
        tx.open_table(LOG).unwrap().len().unwrap(),
        tx.open_table(VERSIONS).unwrap().len().unwrap(),
    )
}

#[tokio::test]
async fn old_history_goes_by_itself() {
    const KEEP: u64 = 40;
    let fixture = Fixture::new();
    let options = Options {
        history_keep: Some(KEEP),
        sweep_rows: 3,
        ..fixture.options()
    };
    let store = fixture.open_with(options.clone()).await;
    store.put("never touched", "x").await.unwrap();
    for n in 0..200_u64 {
        let key = format!("{}", n % 7);
        let txn = if n % 5 == 0 {
            Txn::new().delete(&key).put("other", "")
        } else {
            Txn::new().put(&key, "x")
        };
        store.txn(txn).await.unwrap();
        let status = store.status().await.unwrap();
        let kept = status.revision.0 - status.compact_revision.0;
        assert!(kept <= KEEP + KEEP / 8, "{status:?}");
        // What was promised to be kept can be read and watched.
        let oldest = Revision(status.revision.0.saturating_sub(KEEP).max(1));
        store.range(Range::prefix("").at(oldest)).await.unwrap();
        store.watch(Watch::prefix("", oldest.next())).await.unwrap();
    }
    let live = store.range(Range::prefix("")).await.unwrap();
    let status = store.status().await.unwrap();
    // Closed with rows left to remove, it goes on with that when it is opened. An idle store removes them by itself;
    // a compare that fails is a commit that changes nothing, and comes after a slice.
    store.close().await;
    let store = fixture.open_with(options).await;
    for _ in 0..200 {
        let nothing = Txn::new()
            .when(Compare::absent("never touched"))
            .delete("never touched");
        store.txn(nothing).await.unwrap();
    }
    assert_eq!(store.range(Range::prefix("")).await.unwrap(), live);
    store.close().await;
    let (changes, versions) = rows(&fixture);
    let kept = status.revision.0 - status.compact_revision.0 + 1;
    assert!(
        (kept..=2 * kept).contains(&changes),
        "{changes} changes of {kept} revisions"
    );
    // Besides those: at most one version of each of the 9 keys from before.
    assert!(versions <= changes + 9, "{versions} versions, {changes} changes");
}

#[tokio::test]
async fn compaction_leaves_what_is_live_and_nothing_else() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    for n in 0..30 {
        store.put(format!("{}", n % 3), n.to_string()).await.unwrap();
    }
    store.delete("0").await.unwrap();
    let last = store.put("1", "last").await.unwrap();
    store.compact(last).await.unwrap();
    for _ in 0..10 {
        store.txn(Txn::new().delete("absent")).await.unwrap();
    }
    store.close().await;
    // The change at the compacted revision; that version of "1", the one before it, and the one of "2".
    assert_eq!(rows(&fixture), (1, 3));
}
