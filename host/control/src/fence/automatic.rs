//! Nodes whose power is cut when nothing was heard of them for a time that an operator set.
//!
//! The clock only asks: what fences the node is that its devices were seen to say that it is off. It does not ask while more
//! than half of the nodes are silent: then it is rather this manager that is cut off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use symphony_core::event::Severity;
use symphony_core::name::Name;
use symphony_core::node::{Node, NodePhase};
use symphony_store::Txn;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::{about_node, event};
use crate::reconcile::Context;
use crate::view::State;
use crate::write::{TxnRecords as _, WriteError};

use super::begin;

/// How often silent nodes are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The loop.
pub(crate) struct Automatic {
    context: Context,
    /// Since when this term has seen each to be silent.
    silent: HashMap<Name, Instant>,
    /// Whether it was told that too many are silent.
    is_held: bool,
}

/// What there is to do at one look.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Nothing,
    /// Nodes have been silent for their time, and so have too many others.
    Held(usize, usize),
    /// The power of these is to be cut.
    Cut(Vec<Name>),
}

impl Automatic {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            silent: HashMap::new(),
            is_held: false,
        }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.look_and_ask().await {
                tracing::warn!(%error, "the power of a silent node could not be asked to be cut");
            }
        }
    }

    async fn look_and_ask(&mut self) -> Result<(), WriteError> {
        let look = look(&self.context.view.read(), &mut self.silent, Instant::now());
        match look {
            Look::Nothing => self.is_held = false,
            Look::Held(silent, all) => {
                if !std::mem::replace(&mut self.is_held, true) {
                    self.tell_held(silent, all).await?;
                }
            }
            Look::Cut(names) => {
                self.is_held = false;
                for name in names {
                    self.ask(&name).await?;
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, name: &Name) -> Result<(), WriteError> {
        let stored = self.context.view.read().nodes.get(name).map(Arc::clone);
        let Some(stored) = stored.filter(|node| is_subject(&node.value)) else {
            return Ok(());
        };
        if self.context.agents.has_session(name) {
            return Ok(());
        }
        let after = stored.value.spec.power.as_ref().and_then(|power| power.after_s);
        let why = format!("it has been unknown for {} s", after.unwrap_or_default());
        let (_, txn) = begin(&stored, &why)?;
        match self.context.writer.commit(txn).await {
            Ok(revision) => self.context.view.seen(revision).await,
            // It was heard of, or somebody changed it: the next look sees.
            Err(WriteError::Conflict) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn tell_held(&self, silent: usize, all: usize) -> Result<(), WriteError> {
        let message = format!(
            "nothing is heard of {silent} of {all} nodes: no node's power is cut by itself while that is more than half"
        );
        tracing::warn!("{message}");
        let Some(name) = self.silent.keys().min() else {
            return Ok(());
        };
        let txn = Txn::new().tell(&event(Severity::Warning, "power-cut-held", about_node(name), message))?;
        self.context.writer.commit(txn).await.map(|_| ())
    }
}

/// Whether its power is cut by itself in time.
fn is_subject(node: &Node) -> bool {
    let is_wanted = node.spec.power.as_ref().is_some_and(|power| power.after_s.is_some());
    is_wanted && node.phase() == NodePhase::Unknown && node.status.fencing.is_none()
}

fn look(state: &State, silent: &mut HashMap<Name, Instant>, now: Instant) -> Look {
    let nodes = || state.nodes.values().map(|node| &node.value);
    silent.retain(|name, _| state.nodes.get(name).is_some_and(|node| is_subject(&node.value)));
    let mut over = Vec::new();
    for node in nodes().filter(|node| is_subject(node)) {
        let after = node
            .spec
            .power
            .as_ref()
            .and_then(|power| power.after_s)
            .unwrap_or(u32::MAX);
        let since = *silent.entry(node.meta.name.clone()).or_insert(now);
        if now.saturating_duration_since(since) >= Duration::from_secs(u64::from(after)) {
            over.push(node.meta.name.clone());
        }
    }
    if over.is_empty() {
        return Look::Nothing;
    }
    // One that is fenced is known to be off, and says nothing of this manager.
    let (unknown, all) = nodes().fold((0, 0), |(unknown, all), node| match node.phase() {
        NodePhase::Fenced => (unknown, all),
        NodePhase::Unknown => (unknown + 1, all + 1),
        NodePhase::Ready | NodePhase::Readmitting => (unknown, all + 1),
    });
    match unknown * 2 > all {
        true => Look::Held(unknown, all),
        false => Look::Cut(over),
    }
}
