//! Fills one watch: the state at its start, then every change.

use std::time::{Duration, Instant};

use bytes::Bytes;
use symphony_api::v1::{Action, Kind, Object};
use symphony_api::{Code, Problem, convert};
use symphony_control::clock;
use symphony_core::digest::Digest;
use symphony_core::event::Event as EventRecord;
use symphony_core::image::Image;
use symphony_core::machine::Machine;
use symphony_core::network::Network;
use symphony_core::node::Node;
use symphony_core::place::Ledger;
use symphony_core::plugin::{Activation, Plugin};
use symphony_core::token::TokenId;
use symphony_core::volume::Volume;
use symphony_core::{keys, record};
use symphony_store::{Event, KeyValue, Range, Revision, WatchBatch, WatchStream};
use tokio::sync::mpsc;

use super::select::Selection;
use super::sse;
use crate::app::App;
use crate::failure::{Answer, Failure, store_problem};
use crate::reading::load;
use crate::routes::{plugins, slots};

/// Records read at once for the state at the start.
const PAGE: usize = 200;

/// Fills one watch.
pub(super) struct Feed {
    app: App,
    selection: Selection,
    /// Ends it when it is no good any more.
    token: Option<TokenId>,
    events: mpsc::Sender<Bytes>,
    heartbeat: Duration,
}

/// Why a watch ends.
enum End {
    /// Nobody reads it any more, or the manager stops.
    Over,
    /// It can't go on.
    Failed(Box<Problem>),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.0)
    }
}

impl From<symphony_store::Error> for End {
    fn from(error: symphony_store::Error) -> Self {
        Self::Failed(Box::new(store_problem(&error)))
    }
}

/// Sends the last event. A reader that does not read goes without it: its seat is for another.
async fn part(events: &mpsc::Sender<Bytes>, text: Bytes, patience: Duration) {
    let _ = tokio::time::timeout(patience, events.send(text)).await;
}

impl Feed {
    pub(super) fn new(
        app: App,
        selection: Selection,
        token: Option<TokenId>,
        events: mpsc::Sender<Bytes>,
        heartbeat: Duration,
    ) -> Self {
        Self {
            app,
            selection,
            token,
            events,
            heartbeat,
        }
    }

    /// Runs until the reader goes, the manager stops, or the store can't go on.
    pub(super) async fn run(self, state_at: Option<Revision>, mut changes: WatchStream) {
        self.app.metrics.watches.inc();
        let shutdown = self.app.shutdown.clone();
        let ended = tokio::select! {
            ended = self.fill(state_at, &mut changes) => ended,
            () = self.events.closed() => Err(End::Over),
            () = self.app.tokens.ended(self.token, clock::now) => {
                let detail = "the token was revoked, or has expired";
                Err(Failure::new(Code::Unauthorized, detail).into())
            }
            () = shutdown.cancelled() => Err(End::Over),
        };
        if let Err(End::Failed(problem)) = ended
            && let Ok(text) = sse::error(&problem)
        {
            tokio::select! {
                () = part(&self.events, text, self.heartbeat) => {}
                () = shutdown.cancelled() => {}
            }
        }
        self.app.metrics.watches.dec();
    }

    async fn fill(&self, state_at: Option<Revision>, changes: &mut WatchStream) -> Result<(), End> {
        if let Some(revision) = state_at {
            self.state(revision).await?;
        }
        let mut told_at = Instant::now();
        loop {
            match tokio::time::timeout(self.heartbeat, changes.next()).await {
                Ok(Some(batch)) => {
                    let batch = batch?;
                    let told = self.batch(&batch).await?;
                    // A mark of progress is passed on; and when much happens that is not watched, one is made now and
                    // then, so that a quiet watch neither seems dead nor falls behind compaction.
                    if !told && (batch.events.is_empty() || told_at.elapsed() >= self.heartbeat) {
                        self.send(sse::bookmark(batch.revision)).await?;
                    } else if !told {
                        continue;
                    }
                }
                Ok(None) => return Err(End::Over),
                Err(_) => self.send(sse::heartbeat()).await?,
            }
            told_at = Instant::now();
        }
    }

    /// Everything that is watched, as it was at one revision. Only the mark at the end has an id: a watch that is lost
    /// before it begins anew.
    async fn state(&self, revision: Revision) -> Result<(), End> {
        for (kind, prefix) in self.selection.prefixes() {
            let mut range = Range::prefix(prefix).at(revision).limit(PAGE);
            loop {
                let page = self.app.store.range(range.clone()).await?;
                for kv in &page.kvs {
                    if let Some(object) = self.object(kind, kv).await? {
                        self.change(Action::Put, &object, None).await?;
                    }
                }
                let Some(last) = page.kvs.last().filter(|_| page.more) else {
                    break;
                };
                range.keys = range.keys.after(&last.key);
            }
        }
        self.send(sse::bookmark(revision)).await
    }

    /// All changes of one revision; whether there were any to tell. The last of them has the id, so that a resumed watch
    /// misses none of the others.
    async fn batch(&self, batch: &WatchBatch) -> Result<bool, End> {
        let mut told = Vec::new();
        for event in &batch.events {
            let Some(kind) = event.key().as_str().and_then(|key| self.selection.kind_of(key)) else {
                continue;
            };
            let change = match event {
                Event::Put { kv, .. } => Some((Action::Put, kv)),
                Event::Delete { prev, .. } => prev.as_ref().map(|prev| (Action::Delete, prev)),
            };
            let Some((action, kv)) = change else { continue };
            if let Some(object) = self.object(kind, kv).await? {
                told.push((action, object));
            }
        }
        let last = told.len().saturating_sub(1);
        for (position, (action, object)) in told.iter().enumerate() {
            self.change(*action, object, (position == last).then_some(batch.revision))
                .await?;
        }
        Ok(!told.is_empty())
    }

    async fn change(&self, action: Action, object: &Object, id: Option<Revision>) -> Result<(), End> {
        match sse::change(action, object, id) {
            Ok(text) => self.send(text).await,
            Err(error) => {
                tracing::error!(%error, "an object can't be written");
                Ok(())
            }
        }
    }

    async fn send(&self, text: Bytes) -> Result<(), End> {
        self.events.send(text).await.map_err(|_| End::Over)
    }

    async fn object(&self, kind: Kind, kv: &KeyValue) -> Answer<Option<Object>> {
        let revision = kv.mod_revision.0;
        Ok(match kind {
            Kind::Volume => {
                let volume = record::decode::<Volume>(&kv.value)?;
                Some(Object::Volume(Box::new(convert::volume(&volume, revision))))
            }
            Kind::Image => Some(Object::Image(convert::image(
                &record::decode::<Image>(&kv.value)?,
                revision,
            ))),
            Kind::Machine => {
                let machine = record::decode::<Machine>(&kv.value)?;
                Some(Object::Machine(Box::new(convert::machine(&machine, revision))))
            }
            Kind::Network => Some(Object::Network(convert::network(
                &record::decode::<Network>(&kv.value)?,
                revision,
            ))),
            Kind::Node => {
                let node = record::decode::<Node>(&kv.value)?;
                let ledger = load::<Ledger>(&*self.app.store, &keys::ledger(&node.meta.name)).await?;
                Some(Object::Node(Box::new(convert::node(
                    &node,
                    ledger.as_ref().map(|ledger| &ledger.value),
                    revision,
                ))))
            }
            Kind::Plugin => {
                let plugin = record::decode::<Plugin>(&kv.value)?;
                let active = plugins::active_in(&*self.app.store).await?;
                let active_in = active.get::<Digest>(&plugin.digest).cloned().unwrap_or_default();
                Some(Object::Plugin(convert::plugin(&plugin, active_in, revision)))
            }
            Kind::Slot => {
                let activation = record::decode::<Activation>(&kv.value)?;
                let label = slots::label(&*self.app.store, &activation).await?;
                Some(Object::Slot(convert::slot(
                    activation.slot,
                    Some(&activation),
                    label,
                    revision,
                )))
            }
            Kind::Event => {
                let event = record::decode::<EventRecord>(&kv.value)?;
                let own = self.selection.tells_of(event.subject.project.as_ref());
                own.then(|| Object::Event(convert::event(&event, revision)))
            }
            Kind::Service | Kind::Token | Kind::Project => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_does_not_read_is_parted_from() {
        let (events, mut answer) = mpsc::channel(1);
        let (first, last) = (Bytes::from_static(b"first"), Bytes::from_static(b"last"));
        events.try_send(first.clone()).unwrap();
        // It would wait for ever.
        part(&events, last.clone(), Duration::from_millis(10)).await;
        assert_eq!(answer.recv().await, Some(first));
        part(&events, last.clone(), Duration::from_secs(60)).await;
        assert_eq!(answer.recv().await, Some(last));
        drop(answer);
        part(&events, Bytes::new(), Duration::MAX).await;
    }
}
