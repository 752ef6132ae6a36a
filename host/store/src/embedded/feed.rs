//! How watches get their events: from the ring of recent revisions, or from history when they are behind it.
//!
//! One ring serves all watches, and a watch takes from it when it is read. So a slow reader holds no more than one
//! chunk, and what it missed it finds in the file: nothing is lost, and nothing grows with the number of readers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::embedded::shared::{Published, Shared, Snapshot, State};
use crate::recent::{CHUNK_BYTES, event_bytes};
use crate::{Error, Event, Key, Keys, Result, Revision, Watch, WatchBatch, WatchStream};

/// Changes of history that are looked through at a time.
const CHUNK_ROWS: usize = 2048;

/// Starts a watch.
pub(super) fn watch(shared: Arc<Shared>, watch: Watch) -> Result<WatchStream> {
    shared.read(|snapshot| check_kept(snapshot, watch.from.0))?;
    let slot = Arc::clone(&shared.watch_slots).try_acquire_owned();
    let slot = slot.map_err(|_| Error::LimitReached {
        what: "watches",
        max: shared.options.watches_max,
    })?;
    let reader = Reader {
        keys: watch.keys,
        prev_kv: watch.prev_kv,
        next: watch.from.0.max(1),
        ready: VecDeque::new(),
        caught_up: false,
        mark_due: shared.options.clock.now(),
        published: shared.published.subscribe(),
        shared,
        _slot: slot,
    };
    Ok(WatchStream::new(stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(batch) => Some((Ok(batch), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    })))
}

fn check_kept(snapshot: &Snapshot, from: u64) -> Result<()> {
    let compact = snapshot.heads().compact;
    // Nothing is at revision 1, where every store begins.
    if from.max(2) <= compact {
        return Err(Error::Compacted {
            requested: Revision(from),
            compact_revision: Revision(compact),
        });
    }
    Ok(())
}

/// One watch.
struct Reader {
    keys: Keys,
    prev_kv: bool,
    /// The first revision that was not looked at yet.
    next: u64,
    /// What was found and not yet read: at most one chunk.
    ready: VecDeque<WatchBatch>,
    caught_up: bool,
    /// When the next mark of progress is due.
    mark_due: Duration,
    published: watch::Receiver<Published>,
    shared: Arc<Shared>,
    _slot: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Result<WatchBatch> {
        let clock = Arc::clone(&self.shared.options.clock);
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.mark_due = clock.now() + self.shared.options.progress_interval;
                return Ok(batch);
            }
            let now = *self.published.borrow_and_update();
            if now.state != State::Open {
                return Err(Error::Closed);
            }
            if self.next <= now.revision {
                self.refill(now.revision).await?;
                continue;
            }
            let seen = self.next - 1;
            if seen > now.revision {
                // It begins in the future: there is no progress to mark yet. Waiting can be cancelled at any time, and
                // fails never, since the sender is in `shared`.
                let _ = self.published.changed().await;
                continue;
            }
            if !self.caught_up || clock.now() >= self.mark_due {
                self.caught_up = true;
                self.ready.push_back(WatchBatch {
                    revision: Revision(seen),
                    events: Vec::new(),
                });
                continue;
            }
            tokio::select! {
                _ = self.published.changed() => {}
                () = clock.wait_until(self.mark_due) => {}
            }
        }
    }

    /// Looks at one chunk of revisions from `next` up to `head`.
    async fn refill(&mut self, head: u64) -> Result<()> {
        let chunk = self.shared.recent().chunk(self.next);
        let Some(chunk) = chunk else {
            let (keys, from, prev_kv) = (self.keys.clone(), self.next, self.prev_kv);
            let read = move |snapshot: &Snapshot| history(snapshot, &keys, from..=head, prev_kv);
            let (batches, next) = self.shared.read_blocking(read).await?;
            self.ready.extend(batches);
            self.next = next;
            return Ok(());
        };
        for batch in chunk {
            self.next = batch.revision.0 + 1;
            let events = batch.events.iter().filter(|event| self.keys.contains(event.key()));
            let events: Vec<_> = events.cloned().collect();
            if !events.is_empty() {
                let revision = batch.revision;
                self.ready.push_back(WatchBatch { revision, events });
            }
        }
        if self.prev_kv {
            let ready = &mut self.ready;
            self.shared.read(|snapshot| add_prev(snapshot, ready))?;
        }
        Ok(())
    }
}

fn add_prev(snapshot: &Snapshot, batches: &mut VecDeque<WatchBatch>) -> Result<()> {
    snapshot.with_view(|view| {
        for batch in batches {
            for event in &mut batch.events {
                let before = view.version_before(event.key().as_bytes(), batch.revision.0)?;
                match event {
                    Event::Put { prev, .. } | Event::Delete { prev, .. } => *prev = before,
                }
            }
        }
        Ok(())
    })
}

/// The watched changes of a chunk of `revisions` that begins with the first, and the revision to go on with.
fn history(
    snapshot: &Snapshot,
    keys: &Keys,
    revisions: std::ops::RangeInclusive<u64>,
    prev_kv: bool,
) -> Result<(Vec<WatchBatch>, u64)> {
    let (from, head) = revisions.into_inner();
    check_kept(snapshot, from)?;
    let mut batches: Vec<WatchBatch> = Vec::new();
    let mut next = head + 1;
    let (mut rows, mut bytes, mut last) = (0, 0, from);
    snapshot.with_view(|view| {
        snapshot.each_change(from, |revision, key| {
            let full = rows >= CHUNK_ROWS || bytes >= CHUNK_BYTES;
            if revision > head || (full && revision != last) {
                next = revision.min(head + 1);
                return Ok(false);
            }
            (rows, last) = (rows + 1, revision);
            let key = Key::from(key);
            if !keys.contains(&key) {
                return Ok(true);
            }
            let prev = if prev_kv {
                view.version_before(key.as_bytes(), revision)?
            } else {
                None
            };
            let event = match view.written_at(key.as_bytes(), revision)? {
                Some(kv) => Event::Put { kv, prev },
                None => Event::Delete {
                    key,
                    mod_revision: Revision(revision),
                    prev,
                },
            };
            bytes += event_bytes(&event);
            match batches.last_mut() {
                Some(batch) if batch.revision.0 == revision => batch.events.push(event),
                _ => batches.push(WatchBatch {
                    revision: Revision(revision),
                    events: vec![event],
                }),
            }
            Ok(true)
        })
    })?;
    Ok((batches, next))
}
