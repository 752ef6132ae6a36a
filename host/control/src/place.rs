//! The place loop: requests without a placement → scheduler component → check → placement and claim in one transaction.
//!
//! [`round`] decides for a batch, with the checks and the fallback; [`commit`] makes what was decided durable. A lost race
//! is no error: the next pass looks again.

mod commit;
pub(crate) mod round;
pub(crate) mod wanted;

use std::collections::HashMap;
use std::time::Duration;

use symphony_core::counter::Generation;
use symphony_core::name::Name;
use symphony_core::place::{Candidates, Request};
use symphony_store::Revision;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::metrics::{ByDecider, Metrics};
use crate::plugins::Slots;
use crate::view::{State, View};
use crate::write::{WriteError, Writer};

use commit::Batch;
use round::Round;
use wanted::Wanted;

/// A pass happens at least this often, whatever woke it.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_millis(100);

/// The loop and what it remembers to save work; forgetting it all would change nothing but the work.
pub(crate) struct PlaceLoop {
    writer: Writer,
    view: View,
    slots: Slots,
    metrics: Metrics,
    candidates: Candidates,
    built_at: Option<Revision>,
    /// What found no place, and on which state of capacity and policy that was.
    waiting: HashMap<Uuid, Evaluated>,
}

/// What a decision rests on: the same again would be decided the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Evaluated {
    spec: Generation,
    /// Where it is bound to, if it is a volume: that of a machine may become free.
    node: Option<Name>,
    capacity: Revision,
    policy: u64,
}

impl Evaluated {
    fn of(wanted: &Wanted, capacity: Revision, policy: u64) -> Self {
        let request = wanted.request.as_ref().filter(|_| !wanted.is_machine());
        Self {
            spec: wanted.generation(),
            node: request.and_then(|request| request.node.clone()),
            capacity,
            policy,
        }
    }
}

/// What one pass did.
enum Passed {
    /// Nothing was left to decide.
    Idle,
    /// Something was written; the view must see it before the next pass.
    Wrote(Revision),
    /// Decisions changed nothing that is stored.
    Unchanged,
}

impl PlaceLoop {
    pub(crate) fn new(writer: Writer, view: View, slots: Slots, metrics: Metrics) -> Self {
        Self {
            writer,
            view,
            slots,
            metrics,
            candidates: Candidates::default(),
            built_at: None,
            waiting: HashMap::new(),
        }
    }

    /// Runs until `stop`; a pass under way is dropped then (it may be killed anywhere).
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.forever() => {}
        }
    }

    async fn forever(mut self) {
        let mut changes = self.view.changes();
        let mut policies = self.slots.changes();
        loop {
            changes.mark_unchanged();
            policies.mark_unchanged();
            match self.pass().await {
                Ok(Passed::Wrote(revision)) => {
                    self.view.seen(revision).await;
                    continue;
                }
                Ok(Passed::Unchanged) => continue,
                Ok(Passed::Idle) => {}
                Err(WriteError::Conflict) => {
                    self.metrics.conflicts.inc();
                    let _ = tokio::time::timeout(RETRY, changes.changed()).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "placements could not be written");
                    tokio::time::sleep(RETRY).await;
                }
            }
            // Each arm is safe to cancel: a wake-up carries nothing that could be lost.
            tokio::select! {
                _ = changes.changed() => {}
                _ = policies.changed() => {}
                () = tokio::time::sleep(AT_LEAST_EVERY) => {}
            }
        }
    }

    async fn pass(&mut self) -> Result<Passed, WriteError> {
        let policy = self.slots.generation();
        let (candidates, capacity, wanted) = self.look(policy);
        if wanted.is_empty() {
            return Ok(Passed::Idle);
        }
        symphony_crash::point("control.place.before_decision");
        let (new, growing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.request.is_some());
        let requests: Vec<Request> = new.iter().filter_map(|wanted| wanted.request.clone()).collect();
        let started = std::time::Instant::now();
        let round = Round::decide(&self.slots, &candidates, requests).await;
        self.metrics.place_seconds.observe(started.elapsed().as_secs_f64());
        for wanted in new.iter().chain(&growing) {
            self.waiting
                .insert(wanted.id(), Evaluated::of(wanted, capacity, policy));
        }
        let passed = self.write(&candidates, &new, &growing, &round).await;
        if passed.is_err() {
            // Whatever was decided did not happen.
            for wanted in new.iter().chain(&growing) {
                self.waiting.remove(&wanted.id());
            }
        }
        passed
    }

    /// Makes what was decided durable.
    async fn write(
        &self,
        candidates: &Candidates,
        new: &[Wanted],
        growing: &[Wanted],
        round: &Round,
    ) -> Result<Passed, WriteError> {
        let batch = Batch::build(&self.view.read(), candidates, new, growing, round)?;
        let Some(batch) = batch else {
            return Ok(Passed::Unchanged);
        };
        symphony_crash::point("control.place.before_commit");
        let revision = self.writer.commit(batch.txn).await?;
        symphony_crash::point("control.place.after_commit");
        for decider in batch.placed {
            self.metrics.placements.get_or_create(&ByDecider { decider }).inc();
        }
        self.metrics.unplaceable.inc_by(batch.unplaceable);
        Ok(Passed::Wrote(revision))
    }

    /// What is to be decided now, oldest first, and the table to decide on.
    fn look(&mut self, policy: u64) -> (Candidates, Revision, Vec<Wanted>) {
        let state = self.view.read();
        if self.built_at != Some(state.capacity) {
            self.candidates = table(&state, Some(&self.candidates));
            self.built_at = Some(state.capacity);
        }
        let capacity = state.capacity;
        self.waiting
            .retain(|_, seen| seen.capacity == capacity && seen.policy == policy);
        let is_known = |wanted: &Wanted| {
            let seen = self.waiting.get(&wanted.id());
            seen.is_some_and(|seen| *seen == Evaluated::of(wanted, capacity, policy))
        };
        let apart = self
            .slots
            .scheduler()
            .is_some_and(|scheduler| !scheduler.places_machines());
        let batch = wanted::batch(&state, apart, is_known);
        (self.candidates.clone(), capacity, batch)
    }
}

/// The candidates of a state.
pub(crate) fn table(state: &State, earlier: Option<&Candidates>) -> Candidates {
    let revision = symphony_core::counter::Revision(state.capacity.0);
    let nodes = state
        .nodes
        .iter()
        .map(|(name, node)| (&node.value, state.ledgers.get(name).map(|ledger| &ledger.value)));
    match earlier {
        Some(earlier) => earlier.refreshed(revision, nodes),
        None => Candidates::build(revision, nodes),
    }
}
