//! A writer and a watcher that go on through whatever happens to the cluster, and what must hold at the end: each write
//! that was acknowledged is there once, at its revision; each that was refused for sure is not; and the watch saw every
//! revision once and in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use symphony_store::conformance::members::PATIENCE;
use symphony_store::{
    Compare, Error, Etcd, EtcdOptions, Event, Range, Revision, Store as _, Txn, Watch, WatchStream, read_all,
};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Whoever waits longer hangs.
pub(crate) async fn soon<T>(call: impl Future<Output = T>) -> T {
    timeout(PATIENCE, call).await.expect("it hangs")
}

/// Less patient than by default, so that the tests are done sooner: what is tried is the same.
pub(crate) fn impatient(endpoints: impl Iterator<Item = String>) -> EtcdOptions {
    EtcdOptions {
        connect_timeout: Duration::from_millis(500),
        attempt_timeout: Duration::from_secs(1),
        deadline: Duration::from_millis(2500),
        check_interval: Duration::from_secs(2),
        ..EtcdOptions::new(endpoints)
    }
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done(Revision),
    /// It was said not to have been done.
    Not,
    /// It was said that it may have been.
    Unknown,
}

#[derive(Debug, Default)]
struct Said {
    ends: Mutex<BTreeMap<String, End>>,
    done: AtomicUsize,
    stop: AtomicBool,
}

pub(crate) struct Story {
    pub(crate) store: Arc<Etcd>,
    said: Arc<Said>,
    writer: JoinHandle<()>,
    watcher: JoinHandle<BTreeMap<String, Revision>>,
}

impl Story {
    pub(crate) async fn begin(options: EtcdOptions) -> Self {
        let store = Arc::new(Etcd::connect(options).await.unwrap());
        let from = store.status().await.unwrap().revision.next();
        let watch = store.watch(Watch::prefix("", from)).await.unwrap();
        let said = Arc::new(Said::default());
        Self {
            writer: tokio::spawn(write(Arc::clone(&store), Arc::clone(&said))),
            watcher: tokio::spawn(follow(watch, from)),
            store,
            said,
        }
    }

    /// Waits until so many more writes were acknowledged.
    pub(crate) async fn goes_on(&self) {
        const MORE: usize = 20;
        let wanted = self.said.done.load(Ordering::SeqCst) + MORE;
        soon(async {
            while self.said.done.load(Ordering::SeqCst) < wanted {
                assert!(!self.writer.is_finished() && !self.watcher.is_finished());
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        // And what was written can be read.
        soon(self.store.range(Range::prefix("w/").limit(10))).await.unwrap();
    }

    /// Waits until a write was refused or may have been lost.
    pub(crate) async fn stands_still(&self) {
        let failed = || {
            let ends = self.said.ends.lock().unwrap();
            ends.values().filter(|end| !matches!(end, End::Done(_))).count()
        };
        let before = failed();
        soon(async {
            while failed() == before {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Ends it, and checks all.
    pub(crate) async fn end(self) {
        self.said.stop.store(true, Ordering::SeqCst);
        soon(self.writer).await.unwrap();
        // A key that tells the watcher that this is all.
        let last = soon(async {
            loop {
                match self.store.txn(Txn::new().put("end", "")).await {
                    Ok(done) => return done.revision,
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
        })
        .await;
        let seen = soon(self.watcher).await.unwrap();
        let all = soon(read_all(&*self.store, Range::prefix("w/").at(last), 500))
            .await
            .unwrap();
        let there: BTreeMap<_, _> = all.kvs.iter().map(|kv| (kv.key.to_string(), kv)).collect();
        let ends = self.said.ends.lock().unwrap();
        for (name, end) in ends.iter() {
            let kv = there.get(name);
            match end {
                End::Done(revision) => {
                    let kv = kv.unwrap_or_else(|| panic!("{name} was acknowledged at {revision} and is lost"));
                    assert_eq!((kv.mod_revision, kv.version), (*revision, 1), "{name}");
                }
                End::Not => assert!(kv.is_none(), "{name} was said not to have been written"),
                End::Unknown => {}
            }
            assert_eq!(seen.get(name), kv.map(|kv| &kv.mod_revision), "{name} in the watch");
        }
        let counts = [End::Not, End::Unknown].map(|wanted| ends.values().filter(|end| **end == wanted).count());
        eprintln!("{} writes, {} refused, {} unknown", ends.len(), counts[0], counts[1]);
    }
}

async fn write(store: Arc<Etcd>, said: Arc<Said>) {
    for n in 0.. {
        if said.stop.load(Ordering::SeqCst) {
            return;
        }
        let name = format!("w/{n:06}");
        let txn = Txn::new().when(Compare::absent(&name)).put(&name, "x");
        let end = match soon(store.txn(txn)).await {
            Ok(done) => {
                assert!(done.succeeded, "{name} was written twice");
                said.done.fetch_add(1, Ordering::SeqCst);
                End::Done(done.revision)
            }
            Err(error) => {
                assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
                if error.is_ambiguous() { End::Unknown } else { End::Not }
            }
        };
        said.ends.lock().unwrap().insert(name, end);
        sleep(Duration::from_millis(5)).await;
    }
}

/// Follows everything until the key `end`.
async fn follow(mut watch: WatchStream, from: Revision) -> BTreeMap<String, Revision> {
    let mut seen = BTreeMap::new();
    let mut next = from;
    loop {
        let batch = watch.next().await.unwrap().unwrap();
        if batch.events.is_empty() {
            assert!(batch.revision < next, "a mark is not ahead of the events");
            continue;
        }
        assert_eq!(batch.revision, next, "no gap and no repetition");
        next = next.next();
        for event in batch.events {
            if event.key().as_str() == Some("end") {
                return seen;
            }
            assert!(matches!(event, Event::Put { .. }));
            assert_eq!(seen.insert(event.key().to_string(), event.revision()), None);
        }
    }
}
