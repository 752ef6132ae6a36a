//! A task, taken apart: its steps one after the other, each measured, then the facts.
//!
//! The same for every kind of resource; what a step or a probe means is for the executor that has the kind.

use std::time::Instant;

use async_trait::async_trait;
use symphony_core::plan::Kind;
use symphony_protocol::{Failure, Seen, StepDone, Task};

use crate::executor::ProgressSink;
use crate::step::StepError;

/// Does the steps of one kind, and reads its facts.
#[async_trait]
pub trait Worker<K: Kind>: Sync {
    /// Does one step. May be dropped at any await, and may have been done before.
    ///
    /// # Errors
    /// Why it is not done.
    async fn step(&self, step: &K::Step, place: &Place<'_>) -> Result<(), StepError>;

    /// Reads the facts that the probes ask for, in their order.
    ///
    /// # Errors
    /// The first that can't be read.
    async fn facts(&self, probes: &[K::Probe]) -> Result<Vec<K::Fact>, StepError>;
}

/// Where a step is in its plan, for progress.
#[derive(Debug)]
pub struct Place<'a> {
    sink: &'a ProgressSink,
    position: usize,
    action: &'static str,
}

impl Place<'_> {
    /// Says how far the step is, in bytes; `total_bytes` is 0 when nobody knows.
    pub fn report(&self, done_bytes: u64, total_bytes: u64) {
        self.sink.report(self.position, self.action, done_bytes, total_bytes);
    }
}

/// Does a task. The first step that fails ends it.
///
/// # Errors
/// That step's failure, or that of the facts.
pub async fn run<K: Kind>(
    worker: &impl Worker<K>,
    task: &Task<K>,
    progress: &ProgressSink,
) -> Result<Seen<K>, Failure> {
    let (probes, done) = match task {
        Task::Facts { probes } => (probes, Vec::new()),
        Task::Steps { plan, then } => (then, steps::<K>(worker, plan.steps(), progress).await?),
    };
    let facts = worker.facts(probes.as_slice()).await;
    let facts = facts.map_err(|error| error.failure())?;
    Ok(Seen { facts, done })
}

async fn steps<K: Kind>(
    worker: &impl Worker<K>,
    steps: &[K::Step],
    progress: &ProgressSink,
) -> Result<Vec<StepDone>, Failure> {
    let mut done = Vec::with_capacity(steps.len());
    for (position, step) in steps.iter().enumerate() {
        let action = K::action(step);
        let place = Place {
            sink: progress,
            position,
            action,
        };
        place.report(0, 0);
        let start = Instant::now();
        let result = worker.step(step, &place).await;
        result.map_err(|error| error.failure_at(position, action))?;
        let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(kind = K::NAME, action, took_ms, "step done");
        done.push(StepDone {
            action: action.to_owned(),
            took_ms,
        });
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use symphony_core::plan::volume::{Fact, Probe, Step, Volumes};
    use symphony_protocol::FailureKind;
    use tokio::sync::mpsc;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    /// Notes what it does; a resize fails.
    #[derive(Default)]
    struct Notes(Mutex<Vec<&'static str>>);

    #[async_trait]
    impl Worker<Volumes> for Notes {
        async fn step(&self, step: &Step, _: &Place<'_>) -> Result<(), StepError> {
            self.0.lock().unwrap().push(step.action());
            match step {
                Step::Resize { .. } => Err(StepError::NoSpace("full".to_owned())),
                _ => Ok(()),
            }
        }

        async fn facts(&self, probes: &[Probe]) -> Result<Vec<Fact>, StepError> {
            let pool = Fact::Pool {
                reflink: false,
                free_bytes: 1,
            };
            Ok(vec![pool; probes.len()])
        }
    }

    fn task(steps: &str) -> Task<Volumes> {
        serde_json::from_str(&format!(r#"{{"steps":{{"plan":[{steps}],"then":["pool"]}}}}"#)).unwrap()
    }

    #[tokio::test]
    async fn each_step_is_done_in_order_and_measured() {
        let sink = ProgressSink::new(ID.parse().unwrap(), mpsc::channel(8).0);
        let notes = Notes::default();
        let (publish, resize) = (
            r#"{"publish":{"object":"x"}}"#,
            r#"{"resize":{"object":"x","size_bytes":1}}"#,
        );
        let seen = run(&notes, &task(&format!("{publish},{publish}")), &sink)
            .await
            .unwrap();
        let done: Vec<&str> = seen.done.iter().map(|done| done.action.as_str()).collect();
        assert_eq!((done, seen.facts.len()), (vec!["publish", "publish"], 1));
        let failure = run(&notes, &task(&format!("{publish},{resize},{publish}")), &sink)
            .await
            .unwrap_err();
        assert_eq!(
            (failure.kind, failure.step),
            (FailureKind::NoSpace, Some((1, "resize".to_owned())))
        );
        assert_eq!(notes.0.lock().unwrap().len(), 4, "nothing after the step that failed");
    }
}
