//! One watch: from what the feed saw last, or from the cluster's history for who is behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::etcd::feed::{Feed, Published};
use crate::etcd::follow::Follow;
use crate::{Error, Event, Keys, Result, Revision, Watch, WatchBatch, WatchStream};

/// Revisions of history that are looked through before a reader gets a turn.
const HISTORY_REVISIONS: usize = 64;

/// Starts a watch that begins at a revision that was not compacted when the newest one was `head` (0: it begins later).
pub(super) fn start(feed: Arc<Feed>, watch: Watch, head: u64, slot: OwnedSemaphorePermit) -> WatchStream {
    let reader = Reader {
        keys: watch.keys,
        prev_kv: watch.prev_kv,
        next: watch.from.0.max(2),
        head,
        ready: VecDeque::new(),
        history: None,
        caught_up: false,
        mark_due: Instant::now(),
        published: feed.published.subscribe(),
        feed,
        _slot: slot,
    };
    WatchStream::new(stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let closed = reader.feed.cluster.closed.clone();
        let next = tokio::select! {
            biased;
            () = closed.cancelled() => Err(Error::Closed),
            next = reader.next() => next,
        };
        match next {
            Ok(batch) => Some((Ok(batch), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

struct Reader {
    keys: Keys,
    prev_kv: bool,
    /// The first revision that was not looked at yet.
    next: u64,
    /// The newest revision when the watch began: it has caught up when it is past this one.
    head: u64,
    /// What was found and not yet read: at most one chunk.
    ready: VecDeque<WatchBatch>,
    /// A follower of our own, while we are behind the feed.
    history: Option<Follow>,
    caught_up: bool,
    /// When the next mark of progress is due.
    mark_due: Instant,
    published: watch::Receiver<Published>,
    feed: Arc<Feed>,
    _slot: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Result<WatchBatch> {
        let interval = self.feed.cluster.options.progress_interval;
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.mark_due = Instant::now() + interval;
                return Ok(batch);
            }
            let now = *self.published.borrow_and_update();
            if self.next <= now.revision {
                self.refill(now.revision).await?;
                continue;
            }
            self.history = None;
            let seen = self.next - 1;
            // It may begin in the future, and the feed may be behind the newest revision that there was.
            if seen > now.revision || seen < self.head || !now.alive {
                self.changed().await?;
                continue;
            }
            if !self.caught_up || Instant::now() >= self.mark_due {
                self.caught_up = true;
                self.ready.push_back(WatchBatch {
                    revision: Revision(seen),
                    events: Vec::new(),
                });
                continue;
            }
            let due = self.mark_due;
            tokio::select! {
                changed = self.changed() => changed?,
                () = sleep_until(due) => {}
            }
        }
    }

    async fn changed(&mut self) -> Result<()> {
        self.published.changed().await.map_err(|_| Error::Closed)
    }

    /// Looks at one chunk of revisions from `next` up to `newest`.
    async fn refill(&mut self, newest: u64) -> Result<()> {
        let chunk = self.feed.recent().chunk(self.next);
        if let Some(chunk) = chunk {
            self.history = None;
            for batch in chunk {
                self.next = batch.revision.0 + 1;
                let watched: Vec<_> = batch
                    .events
                    .iter()
                    .filter(|event| self.keys.contains(event.key()))
                    .collect();
                if !watched.is_empty() {
                    let events = watched
                        .into_iter()
                        .cloned()
                        .map(|event| self.without_prev(event))
                        .collect();
                    self.ready.push_back(WatchBatch {
                        revision: batch.revision,
                        events,
                    });
                }
            }
            return Ok(());
        }
        let cluster = &self.feed.cluster;
        let (next, prev_kv) = (self.next, self.prev_kv);
        let patience = cluster.options.deadline;
        let history = self
            .history
            .get_or_insert_with(|| Follow::new(Arc::clone(cluster), next, prev_kv));
        for _ in 0..HISTORY_REVISIONS {
            // There is more: who is silent for so long is asked elsewhere.
            let Ok(batch) = timeout(patience, history.next()).await else {
                history.reopen("it brings nothing of a history that is there");
                return Ok(());
            };
            let WatchBatch { revision, mut events } = batch?;
            self.next = revision.0 + 1;
            events.retain(|event| self.keys.contains(event.key()));
            if !events.is_empty() {
                self.ready.push_back(WatchBatch { revision, events });
                return Ok(());
            }
            if self.next > newest {
                return Ok(());
            }
        }
        Ok(())
    }

    fn without_prev(&self, mut event: Event) -> Event {
        if !self.prev_kv {
            match &mut event {
                Event::Put { prev, .. } | Event::Delete { prev, .. } => *prev = None,
            }
        }
        event
    }
}
