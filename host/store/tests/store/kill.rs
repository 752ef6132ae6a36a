//! The embedded store after `kill -9`: what was acknowledged is there, and every transaction is there as a whole or not.
//!
//! This test starts its own binary again as a child that writes and says what was acknowledged, and kills it: after some
//! acknowledgements, or at each crash point.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use symphony_store::{Compare, Embedded, Event, LeaseId, Options, Range, Revision, Store, StoreExt as _, Txn, Watch};

use crate::fixture::Fixture;

const CHILD: &str = "SYMPHONY_STORE_TEST_CHILD";
/// Set when the child is to commit as in a large file, in two phases.
const TWO_PHASES: &str = "SYMPHONY_STORE_TEST_TWO_PHASES";
const WRITERS: usize = 4;
/// How many of its entries each writer keeps.
const WINDOW: u64 = 30;
const SIGKILL: i32 = 9;

/// Little history, so that it is compacted all the time.
fn options() -> Options {
    Options {
        history_keep: Some(60),
        sweep_rows: 4,
        quick_repair_from_bytes: if std::env::var_os(TWO_PHASES).is_some() {
            0
        } else {
            u64::MAX
        },
        ..Options::default()
    }
}

/// Not a test by itself: the child's side of those below.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(Embedded::open(path, options()).await.unwrap());
        let lease = store.grant(Duration::from_secs(3600)).await.unwrap();
        println!("\nlease {lease}");
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(Arc::clone(&store), writer)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

/// Writes until it is killed. Each transaction counts up, writes the count a second time, adds an entry and removes an
/// old one.
#[expect(clippy::print_stdout, reason = "this is how the child tells its parent")]
async fn write(store: Arc<dyn Store>, writer: usize) {
    let count_key = format!("count/{writer}");
    let kv = store.get(&count_key.as_str().into(), None).await.unwrap();
    let mut revision = kv.as_ref().map_or(Revision::NONE, |kv| kv.mod_revision);
    let mut count: u64 = kv.map_or(0, |kv| std::str::from_utf8(&kv.value).unwrap().parse().unwrap());
    loop {
        count += 1;
        let mut txn = Txn::new()
            .when(Compare::mod_revision(&count_key, revision))
            .put(&count_key, count.to_string())
            .put(format!("twice/{writer}"), count.to_string())
            .put(format!("entry/{writer}/{count:08}"), vec![b'x'; 200]);
        if count > WINDOW {
            txn = txn.delete(format!("entry/{writer}/{:08}", count - WINDOW));
        }
        let done = store.txn(txn).await.unwrap();
        assert!(done.succeeded);
        revision = done.revision;
        println!("\nack {writer} {count} {revision}");
    }
}

/// What a child said.
#[derive(Default)]
struct Said {
    /// By writer and count: the revision.
    acks: BTreeMap<(usize, u64), u64>,
    leases: Vec<LeaseId>,
}

/// Runs a child until it has acknowledged `kill_after` writes, or until it dies at the crash point.
fn run_child(path: &Path, kill_after: usize, crash_at: Option<&str>, two_phases: bool) -> Said {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kill::child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, path).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(point) = crash_at {
        command.env("SYMPHONY_CRASH_AT", point);
    }
    if two_phases {
        command.env(TWO_PHASES, "yes");
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Said::default();
    let mut killed = false;
    // To the end also after the kill: what was said before it counts.
    for line in lines {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["ack", writer, count, revision] => {
                let place = (writer.parse().unwrap(), count.parse().unwrap());
                said.acks.insert(place, revision.parse().unwrap());
            }
            ["lease", lease] => said.leases.push(LeaseId(lease.parse().unwrap())),
            _ => {}
        }
        if said.acks.len() >= kill_after && crash_at.is_none() && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.signal(),
        Some(SIGKILL),
        "child of {crash_at:?} ended otherwise: {stderr}"
    );
    said
}

/// Opens the store after a kill and checks everything; answers its revision.
async fn check(path: &Path, said: &Said, before: Revision) -> Revision {
    let store = Embedded::open(path, options()).await.unwrap();
    let status = store.status().await.unwrap();
    let acked = said.acks.values().max().copied().unwrap_or(0);
    assert!(status.revision >= before, "{} after {before}", status.revision);
    assert!(
        status.revision.0 >= acked,
        "{} after {acked} was acknowledged",
        status.revision
    );
    for lease in &said.leases {
        store.time_to_live(*lease).await.unwrap();
    }
    for writer in 0..WRITERS {
        check_writer(&store, said, writer).await;
    }
    check_history(&store, status.revision, status.compact_revision).await;
    // And it goes on.
    let next = store.put("opened", "").await.unwrap();
    assert_eq!(next, status.revision.next());
    store.close().await;
    next
}

async fn check_writer(store: &Embedded, said: &Said, writer: usize) {
    let kv = async |key: String| store.get(&key.into(), None).await.unwrap();
    let count = kv(format!("count/{writer}")).await;
    let twice = kv(format!("twice/{writer}")).await;
    let place = |kv: &symphony_store::KeyValue| (kv.value.clone(), kv.mod_revision, kv.version);
    assert_eq!(count.as_ref().map(place), twice.as_ref().map(place));
    let revision = count.as_ref().map_or(0, |kv| kv.mod_revision.0);
    let count: u64 = count.map_or(0, |kv| std::str::from_utf8(&kv.value).unwrap().parse().unwrap());
    let entries = store
        .range(Range::prefix(format!("entry/{writer}/")))
        .await
        .unwrap()
        .kvs;
    let expected: Vec<_> = (count.saturating_sub(WINDOW) + 1..=count)
        .map(|n| format!("entry/{writer}/{n:08}"))
        .collect();
    let found: Vec<_> = entries.iter().map(|kv| kv.key.as_str().unwrap().to_owned()).collect();
    assert_eq!(found, expected);
    assert_eq!(entries.last().map_or(0, |kv| kv.mod_revision.0), revision);
    for ((_, n), revision) in said.acks.range((writer, 0)..(writer + 1, 0)) {
        assert!(
            *n <= count,
            "write {n} of writer {writer} was acknowledged and is not there"
        );
        if *n + WINDOW > count {
            let entry = &entries[entries.len() - 1 - usize::try_from(count - n).unwrap()];
            assert_eq!(entry.mod_revision.0, *revision);
        }
    }
}

/// History has no gap, and each of its revisions is a whole transaction.
async fn check_history(store: &Embedded, now: Revision, compact: Revision) {
    let from = compact.max(Revision(1)).next();
    if from > now {
        return;
    }
    let mut watch = store.watch(Watch::prefix("", from)).await.unwrap();
    for revision in from.0..=now.0 {
        let batch = watch.next().await.unwrap().unwrap();
        assert_eq!(batch.revision.0, revision);
        let puts = batch
            .events
            .iter()
            .filter(|event| matches!(event, Event::Put { .. }))
            .count();
        let alone = batch.events[0].key().as_str() == Some("opened");
        assert_eq!(puts, if alone { 1 } else { 3 }, "{batch:?}");
    }
}

#[tokio::test]
async fn killed_at_any_time_nothing_acknowledged_is_lost() {
    let fixture = Fixture::new();
    let mut revision = Revision(1);
    for round in 0..30_usize {
        // Spread over 0 to 150, the same in every run; where in a commit the kill comes is up to the machine.
        let kill_after = round * 7919 % 151;
        let said = run_child(&fixture.path(), kill_after, None, round % 3 == 2);
        revision = check(&fixture.path(), &said, revision).await;
    }
    assert!(revision.0 > 1000, "too little was written to mean anything: {revision}");
}

#[tokio::test]
async fn killed_at_each_crash_point_nothing_acknowledged_is_lost() {
    let fixture = Fixture::new();
    let mut revision = Revision(1);
    for point in ["store.create.before", "store.create.after"] {
        let said = run_child(&fixture.path(), 0, Some(point), false);
        assert!(said.acks.is_empty());
        if point == "store.create.before" {
            // There is a file, and nothing in it: the next child must be able to begin.
            continue;
        }
        revision = check(&fixture.path(), &said, revision).await;
    }
    for action in ["commit", "compact", "sweep"] {
        for moment in ["before", "after"] {
            for nth in [1, 2, 9] {
                let point = format!("store.{action}.{moment}:{nth}");
                let said = run_child(&fixture.path(), 0, Some(&point), nth == 2);
                revision = check(&fixture.path(), &said, revision).await;
            }
        }
    }
}
