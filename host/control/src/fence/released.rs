//! The loop that releases what is placed on fenced nodes. Each release compares that the node's record is still the one
//! that says so: a node that was heard of meanwhile keeps what it has until its agent lets go of it.

use std::time::Duration;

use symphony_core::condition::Truth;
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::node::NodePhase;
use symphony_store::{Compare, Revision, Txn};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::reconcile::Context;
use crate::view::{ResourceKey, State};
use crate::write::{TxnRecords as _, WriteError};

use super::{held_by, without_place};

/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_millis(500);

/// The loop.
pub(crate) struct Released {
    context: Context,
    /// Whether no machine waits, as far as was seen.
    all_said: bool,
}

/// What became of one machine.
enum Look {
    /// Something was to be written.
    Write(Txn),
    /// All is said.
    Nothing,
}

impl Released {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            all_said: false,
        }
    }

    /// Runs until `stop`; a pass may be killed anywhere.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.context.view.changes();
        loop {
            changes.mark_unchanged();
            let passed = tokio::select! {
                () = stop.cancelled() => return,
                passed = self.pass() => passed,
            };
            if let Err(error) = &passed {
                tracing::warn!(%error, "machines of a fenced node could not be released");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                // Nothing but a write that failed is tried again by the clock.
                () = tokio::time::sleep(RETRY), if passed.is_err() => {}
            }
        }
    }

    async fn pass(&mut self) -> Result<(), WriteError> {
        let keys = self.on_fenced();
        self.all_said = keys.is_empty();
        for key in keys {
            self.release(&key).await?;
        }
        Ok(())
    }

    /// The machines that are placed on fenced nodes, and those that once could not leave one that is back.
    fn on_fenced(&self) -> Vec<ResourceKey> {
        let state = self.context.view.read();
        let fenced: Vec<&Name> = state
            .nodes
            .iter()
            .filter(|(_, node)| node.value.phase() == NodePhase::Fenced)
            .map(|(name, _)| name)
            .collect();
        // Most of the time there is none, and then this is all.
        if fenced.is_empty() && self.all_said {
            return Vec::new();
        }
        let of = |key: &ResourceKey| -> bool {
            let machine = state.machines.get(key).map(|machine| &machine.value);
            let place = machine.and_then(|machine| machine.placement.as_ref());
            let waits = machine.and_then(|machine| machine.status.conditions.of("failover"));
            place.is_some_and(|place| fenced.contains(&&place.node))
                || waits.is_some_and(|waits| waits.truth == Truth::False)
        };
        state.machines.keys().filter(|key| of(key)).cloned().collect()
    }

    async fn release(&self, key: &ResourceKey) -> Result<(), WriteError> {
        let _one_at_a_time = self.context.releasing.lock().await;
        let look = look(&self.context.view.read(), key)?;
        let Look::Write(txn) = look else { return Ok(()) };
        symphony_crash::point("control.fence.before_release");
        let revision: Revision = match self.context.writer.commit(txn).await {
            Ok(revision) => revision,
            // The node was heard of, or the machine changed: what is written now comes to the view, and wakes this.
            Err(WriteError::Conflict) => return Ok(()),
            Err(error) => return Err(error),
        };
        symphony_crash::point("control.fence.after_release");
        self.context.view.seen(revision).await;
        Ok(())
    }
}

/// What is to be written about a machine of a fenced node.
fn look(state: &State, key: &ResourceKey) -> Result<Look, WriteError> {
    let Some(current) = state.machines.get(key) else {
        return Ok(Look::Nothing);
    };
    let place = current.value.placement.as_ref().map(|place| &place.node);
    let fenced = place.and_then(|node| state.nodes.get(node));
    let fenced = fenced.filter(|node| node.value.phase() == NodePhase::Fenced);
    let held = fenced.and_then(|node| held_by(state, &current.value, &node.value.meta.name));
    if let (Some(node), None) = (fenced, &held) {
        let name = &node.value.meta.name;
        let txn = without_place(state, current, "the node was fenced")?;
        return Ok(Look::Write(
            txn.when(Compare::mod_revision(keys::node(name), node.revision)),
        ));
    }
    let mut machine = current.value.clone();
    let conditions = &mut machine.status.conditions;
    let changed = match held {
        Some(volume) => {
            let message = format!("its node was fenced, and its volume {volume} is there; it waits for the node");
            conditions.set("failover", Truth::False, "volumes-out-of-reach", &message, clock::now())
        }
        None => conditions.set("failover", Truth::True, "not-needed", "its node is back", clock::now()),
    };
    if !changed {
        return Ok(Look::Nothing);
    }
    let key = keys::machine(&key.0, &key.1);
    let txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), current.revision))
        .put_record(key, &machine)?;
    Ok(Look::Write(txn))
}
