//! Each store passes the suite of all stores.

use std::sync::{Arc, Mutex};

use symphony_store::conformance::{PassTime, members, run_all};
use symphony_store::{Etcd, EtcdOptions, Options, Store};

use crate::fixture::Fixture;

async fn run(options: impl Fn(Options) -> Options) {
    let fixtures = Mutex::new(Vec::new());
    run_all(async || {
        let fixture = Fixture::new();
        let store: Arc<dyn Store> = Arc::new(fixture.open_with(options(fixture.options())).await);
        let clock = Arc::clone(&fixture.clock);
        let time: PassTime = Arc::new(move |step| {
            clock.advance(step);
            Box::pin(async {})
        });
        fixtures.lock().unwrap().push(fixture);
        (store, time)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_conforms() {
    run(|options| options).await;
}

/// With everything as small as it goes: a queue and a commit of one, watches that always read history, history that is
/// removed row by row, and the commits of a large file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_conforms_when_it_is_cramped() {
    run(|options| Options {
        queue_len: 1,
        queue_bytes: 0,
        batch_max: 1,
        sweep_rows: 1,
        recent_revisions: 0,
        cache_bytes: 0,
        quick_repair_from_bytes: 0,
        ..options
    })
    .await;
}

/// One member, which all cases use one after the other, each with a connection of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_conforms() {
    if !members::can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let member = members::on_loopback(folder.path(), 1, |_| {}).await;
    run_all(async || {
        let options = EtcdOptions::new([member[0].member.endpoint()]);
        let store: Arc<dyn Store> = Arc::new(Etcd::connect(options).await.unwrap());
        let time: PassTime = Arc::new(|step| Box::pin(tokio::time::sleep(step)));
        (store, time)
    })
    .await;
}
