//! Nodes that are out, and nodes that are emptied: who may say so, and what follows for their machines.
//!
//! ```text
//!   Unknown ──somebody says that it is off──► Fenced ──► what can run elsewhere is released, and placed anew
//!                                               │
//!                                               └──its agent is heard of──► Readmitting: nothing is released any more
//! ```
//!
//! No clock decides anything here: a silent node stays unknown, for days if need be, and its machines stay where they are.
//! A machine leaves a node in two ways only: its agent has said that nothing of it is there ([`release`]), or the node is
//! fenced in the moment of the transaction ([`released`]). The protocol is searched as a model in `tests/models`.
//!
//! Who says so is a person, or devices that cut the node's power and were seen to say that it is off ([`power`]; the passes
//! are in [`crate::reconcile`]). A clock may ask for that ([`automatic`]); it never stands for it.

mod automatic;
mod drain;
mod power;
mod released;

use symphony_core::condition::{Condition, Truth};
use symphony_core::event::{Event, Severity};
use symphony_core::keys;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::node::{Fence, Node, NodePhase};
use symphony_store::{Compare, Txn};

use crate::clock;
use crate::control::Control;
use crate::events::{about_machine, about_node, event, with};
use crate::reconcile::{Context, PassError, TRIES, wait_for_change};
use crate::view::{State, Stored};
use crate::write::{TxnRecords as _, WriteError};

pub(crate) use automatic::Automatic;
pub use drain::{Drained, Stays};
pub use power::PowerSeen;
pub(crate) use power::{asking_nodes, begin, generation, programs};
pub(crate) use released::Released;

/// Why a node is not fenced or drained.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// There is no such node.
    #[error("there is no node {0}")]
    Missing(Name),
    /// Its agent has a session: it is not off.
    #[error(
        "node {0} is connected, so it is not off; a fence says that a node is off and lets its machines be started \
         elsewhere. Turn it off first; to empty it while it runs, drain it"
    )]
    Connected(Name),
    /// Nothing can cut its power.
    #[error(
        "node {0} has no devices that cut its power; describe them with `symphony node power set {0}`, or make sure that it \
         has no power and say so with `--confirm`"
    )]
    NoDevices(Name),
    /// No node can ask its devices.
    #[error(
        "no node can ask what cuts the power of {0}: {1} must be in [fence_programs] of the agent of another node, and that \
         agent must have a session"
    )]
    NobodyAsks(Name, String),
    /// The node that was to ask them did not.
    #[error("node {0} was to ask them, and did not: {1}")]
    NotAsked(Name, String),
    /// The store.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Control {
    /// Takes somebody's word that a node is off. What is placed there and can run elsewhere is placed anew from then on;
    /// when the node's agent is heard of again it ends what it must not run any more.
    ///
    /// # Errors
    /// There is no such node, it is connected, or the store can't be written.
    pub async fn fence(&self, name: &Name) -> Result<Stored<Node>, FenceError> {
        for _ in 0..TRIES {
            let stored = self.node(name).await?;
            // A session that begins after this changes the record, and then this is not written.
            if self.agents().has_session(name) {
                return Err(FenceError::Connected(name.clone()));
            }
            if stored.value.phase() == NodePhase::Fenced {
                return Ok(stored);
            }
            let (node, txn) = fenced(&stored, "somebody said that it is off")?;
            symphony_crash::point("control.fence.before_commit");
            match self.writer().commit(txn).await {
                Ok(revision) => {
                    symphony_crash::point("control.fence.after_commit");
                    self.seen(revision).await;
                    return Ok(Stored { value: node, revision });
                }
                Err(WriteError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Conflict.into())
    }

    /// A node's record as it is in the store now.
    async fn node(&self, name: &Name) -> Result<Stored<Node>, FenceError> {
        let kv = self.store().get(&keys::node(name).into(), None).await;
        let kv = kv.map_err(WriteError::from)?;
        let kv = kv.ok_or_else(|| FenceError::Missing(name.clone()))?;
        Ok(Stored {
            value: symphony_core::record::decode(&kv.value).map_err(WriteError::from)?,
            revision: kv.mod_revision,
        })
    }
}

/// Says in a node's record that it is off, if the record is still as it was read; with the record as it is then.
pub(crate) fn fenced(stored: &Stored<Node>, why: &str) -> Result<(Node, Txn), WriteError> {
    let mut node = stored.value.clone();
    let name = node.meta.name.clone();
    node.status.admission = node.status.admission.next();
    node.status.fence = Fence::Fenced;
    node.status.fencing = None;
    node.status.ready = Condition {
        kind: "ready".to_owned(),
        truth: Truth::False,
        reason: "fenced".to_owned(),
        message: why.to_owned(),
        since: clock::now(),
    };
    let message = format!("node {name} was fenced ({why}): what can run elsewhere is placed anew");
    let told = event(Severity::Warning, "fenced", about_node(&name), message);
    let told = with(told, "admission", node.status.admission);
    let txn = changed(stored, &node, &told)?;
    Ok((node, txn))
}

/// Writes a node's record, if it is still as it was read, and tells of it.
pub(crate) fn changed(before: &Stored<Node>, node: &Node, told: &Event) -> Result<Txn, WriteError> {
    let key = keys::node(&node.meta.name);
    let txn = Txn::new().when(Compare::mod_revision(key.clone(), before.revision));
    Ok(txn.put_record(key, node)?.tell(told)?)
}

/// What keeps a machine on its node: a volume of its own that is there. Nothing when it can run elsewhere.
fn held_by(state: &State, machine: &Machine, node: &Name) -> Option<Name> {
    let mut attachments = machine.spec.volumes.iter();
    let held = attachments.find(|attachment| {
        let key = (machine.meta.project.clone(), attachment.name.clone());
        let volume = state.volumes.get(&key).map(|volume| &volume.value);
        let place = volume.and_then(|volume| volume.placement.as_ref());
        place.is_some_and(|place| place.node == *node)
    });
    held.map(|attachment| attachment.name.clone())
}

/// Takes its placement from a machine of which its node shows nothing any more.
pub(crate) async fn release(context: &Context, seen: &Machine) -> Result<(), PassError> {
    let _one_at_a_time = context.releasing.lock().await;
    let key = (seen.meta.project.clone(), seen.meta.name.clone());
    for _ in 0..TRIES {
        let txn = {
            let state = context.view.read();
            let current = state.machines.get(&key).ok_or(PassError::Raced)?;
            let is_same = current.value.meta.id == seen.meta.id && current.value.status.tenure == seen.status.tenure;
            if !is_same || !current.value.status.moving {
                return Err(PassError::Raced);
            }
            without_place(&state, current, "its node shows nothing of it any more")?
        };
        symphony_crash::point("control.machine.before_release");
        match context.writer.commit(txn).await {
            Ok(revision) => {
                symphony_crash::point("control.machine.after_release");
                context.view.seen(revision).await;
                return Ok(());
            }
            Err(WriteError::Conflict) => wait_for_change(context).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(PassError::Raced)
}

/// A machine without its placement, and its node without its claim.
fn without_place(state: &State, current: &Stored<Machine>, why: &str) -> Result<Txn, WriteError> {
    let mut machine = current.value.clone();
    let phase = machine.status.phase;
    let Some(placement) = machine.release() else {
        return Err(WriteError::Conflict);
    };
    if machine.meta.is_deleting() {
        machine.status.phase = phase;
    }
    let message = format!("it left node {}: {why}", placement.node);
    machine
        .status
        .conditions
        .set("placed", Truth::False, "released", &message, clock::now());
    machine
        .status
        .conditions
        .set("ready", Truth::False, "released", "", clock::now());
    let told = event(Severity::Normal, "released", about_machine(&machine), message);
    let told = with(told, "node", &placement.node);
    let key = keys::machine(&machine.meta.project, &machine.meta.name);
    let mut txn = Txn::new()
        .when(Compare::mod_revision(key.clone(), current.revision))
        .put_record(key, &machine)?
        .tell(&told)?;
    if let Some(ledger) = state.ledgers.get(&placement.node) {
        let mut next = ledger.value.clone();
        if let Err(error) = next.release_machine(placement.claimed) {
            tracing::error!(machine = %machine.meta.id, %error, "the ledger lacks a claim that is given back; it stays as it is");
        }
        let key = keys::ledger(&placement.node);
        txn = txn
            .when(Compare::mod_revision(key.clone(), ledger.revision))
            .put_record(key, &next)?;
    }
    Ok(txn)
}
