//! A disk that fails under the embedded store.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use symphony_store::{Embedded, Error, Options, Store as _, StoreExt as _, Txn};

/// A disk in memory that counts what it is asked for, and fails to keep it from when it is told to.
#[derive(Debug, Clone, Default)]
struct Disk {
    content: Arc<InMemory>,
    broken: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct InMemory(InMemoryBackend);

impl Default for InMemory {
    fn default() -> Self {
        Self(InMemoryBackend::new())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.content.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.content.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.content.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.content.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.content.0.write(offset, data)
    }
}

#[tokio::test]
async fn after_a_failed_fsync_the_store_is_closed() {
    let disk = Disk::default();
    let store = Embedded::open_on(disk.clone(), Options::default()).await.unwrap();
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    store.put("a", "1").await.unwrap();
    disk.broken.store(true, Ordering::SeqCst);
    let error = store.put("a", "2").await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
    assert!(error.is_ambiguous() && !error.is_retryable());
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("the disk is gone"), "{cause}");

    // At once, and also when the disk is back: what it kept is not known before it is opened again.
    let error = store.get(&"a".into(), None).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
    let error = store.put("a", "3").await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
    disk.broken.store(false, Ordering::SeqCst);
    store.close().await;
    let syncs = disk.syncs.load(Ordering::SeqCst);
    for error in [
        store.put("a", "3").await.unwrap_err(),
        store.get(&"a".into(), None).await.unwrap_err(),
        store.txn(Txn::new().get("a")).await.unwrap_err(),
        store.keep_alive(lease).await.unwrap_err(),
        store.status().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Closed), "{error:?}");
    }
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs, "nothing is tried again");
}

/// Each of many callers at once gets the failure, none an acknowledgement, and none waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_answers_everyone() {
    let disk = Disk::default();
    let store = Arc::new(Embedded::open_on(disk.clone(), Options::default()).await.unwrap());
    disk.broken.store(true, Ordering::SeqCst);
    let calls: Vec<_> = (0..100)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put(format!("{n}"), "").await })
        })
        .collect();
    let mut failed = 0;
    for call in calls {
        match call.await.unwrap() {
            Err(Error::Failed { .. }) => failed += 1,
            Err(Error::Closed) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(failed > 0);
}

/// One fsync makes a lone write durable, and many writes at once share theirs.
#[tokio::test]
async fn writers_share_an_fsync() {
    let disk = Disk::default();
    let store = Embedded::open_on(disk.clone(), Options::default()).await.unwrap();
    let count = || disk.syncs.load(Ordering::SeqCst);
    let before = count();
    for n in 0..10 {
        store.put("a", n.to_string()).await.unwrap();
    }
    // One each, and some when the file grows. Commits of two phases would take 20.
    assert!(
        (10..15).contains(&(count() - before)),
        "{} fsyncs for 10 commits",
        count() - before
    );
    let before = count();
    store.txn(Txn::new().delete("absent")).await.unwrap();
    store.get(&"a".into(), None).await.unwrap();
    assert_eq!(count(), before, "what changes nothing needs none");
    let puts = (0..400).map(|n| store.put(format!("{n}"), ""));
    let revisions = futures_util::future::join_all(puts).await;
    assert!(revisions.iter().all(Result::is_ok));
    assert!(count() - before < 200, "{} fsyncs for 400 writes", count() - before);
}
