//! Who may start, and what is answered.

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use symphony_core::counter::{Admission, Epoch, Generation, Tenure};
use symphony_protocol::{Seen, Work};
use tokio::sync::Semaphore;

use super::*;

/// Runs as many calls as it is given permits.
struct Gate(Semaphore);

#[async_trait]
impl Executor for Gate {
    fn handles(&self, work: &Work) -> bool {
        matches!(work, Work::Volume { .. })
    }

    async fn run(&self, call: Call, _: ProgressSink) -> Result<Outcome, Failure> {
        assert!(call.generation != Generation(13), "a panic that must stay in its call");
        self.0.acquire().await.unwrap().forget();
        Ok(Outcome::Volume(Seen {
            facts: Vec::new(),
            done: Vec::new(),
        }))
    }
}

fn call(volume: usize, epoch: u64, generation: u64, kind: &str) -> Call {
    let work = match kind {
        "facts" => r#"{"volume":{"pool":"p","images":[],"task":{"facts":{"probes":[]}}}}"#,
        "steps" => r#"{"volume":{"pool":"p","images":[],"task":{"steps":{"plan":[],"then":[]}}}}"#,
        _ => r#"{"image":{"task":{"facts":{"probes":[]}}}}"#,
    };
    Call {
        id: format!("00000000-0000-7000-9000-{volume:012x}").parse().unwrap(),
        epoch: Epoch(epoch),
        object: format!("volume/00000000-0000-7000-8000-{volume:012x}"),
        generation: Generation(generation),
        tenure: Tenure(0),
        admission: Admission(0),
        work: serde_json::from_str(work).unwrap(),
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    gate: Arc<Gate>,
    calls: Calls,
    uplink: mpsc::Sender<ToManager>,
    frames: mpsc::Receiver<ToManager>,
}

fn bench(permits: usize) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap()).unwrap();
    ledger.hear(None);
    let gate = Arc::new(Gate(Semaphore::new(permits)));
    let calls = Calls::new(ledger, vec![Arc::clone(&gate) as Arc<dyn Executor>]);
    let (uplink, frames) = mpsc::channel(1024);
    Bench {
        _folder: folder,
        gate,
        calls,
        uplink,
        frames,
    }
}

impl Bench {
    async fn accept(&self, call: Call) {
        self.calls.accept(call, &self.uplink).await;
    }

    async fn answer(&mut self) -> Result<Outcome, FailureKind> {
        match self.frames.recv().await {
            Some(ToManager::Answer(answer)) => answer.result.map_err(|failure| failure.kind),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn one_object_is_worked_on_once() {
    let mut bench = bench(0);
    bench.accept(call(1, 1, 1, "steps")).await;
    bench.accept(call(1, 1, 1, "facts")).await;
    assert_eq!(bench.answer().await, Err(FailureKind::Busy));
    bench.gate.0.add_permits(1);
    assert!(bench.answer().await.is_ok());
    assert_eq!(bench.calls.under_way(), 0);
}

#[tokio::test]
async fn calls_over_the_limit_are_refused() {
    let mut bench = bench(0);
    for volume in 0..=CALLS_MAX {
        bench.accept(call(volume, 1, 1, "facts")).await;
    }
    assert_eq!(bench.answer().await, Err(FailureKind::Busy));
    assert_eq!(bench.calls.under_way(), CALLS_MAX);
    bench.gate.0.add_permits(CALLS_MAX);
    for _ in 0..CALLS_MAX {
        assert!(bench.answer().await.is_ok());
    }
}

#[tokio::test]
async fn what_is_over_foreign_or_broken_is_refused() {
    let mut bench = bench(100);
    bench.accept(call(1, 5, 5, "steps")).await;
    assert!(bench.answer().await.is_ok());
    let cases = [
        (call(1, 4, 6, "facts"), FailureKind::StaleEpoch),
        (call(2, 4, 6, "steps"), FailureKind::StaleEpoch),
        (call(1, 5, 4, "steps"), FailureKind::StaleGeneration),
        (call(1, 5, 5, "image"), FailureKind::Missing),
        (
            Call {
                object: "volume/../x".into(),
                ..call(1, 5, 5, "facts")
            },
            FailureKind::Other,
        ),
        (call(3, 5, 13, "facts"), FailureKind::Other),
    ];
    for (call, kind) in cases {
        bench.accept(call).await;
        assert_eq!(bench.answer().await, Err(kind));
    }
    bench.accept(call(1, 5, 5, "steps")).await;
    assert!(bench.answer().await.is_ok());
}

#[tokio::test]
async fn a_lost_session_loses_answers_and_no_work() {
    let bench = bench(0);
    bench.accept(call(1, 1, 1, "steps")).await;
    drop(bench.frames);
    assert_eq!(bench.calls.under_way(), 1);
    bench.gate.0.add_permits(1);
    bench.calls.end(Duration::from_secs(60)).await;
    assert_eq!(bench.calls.under_way(), 0);
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let mut bench = bench(0);
    bench.accept(call(1, 1, 1, "steps")).await;
    bench.calls.end(Duration::ZERO).await;
    assert_eq!(bench.answer().await, Err(FailureKind::Lost));
}
