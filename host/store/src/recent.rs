//! The newest revisions in memory, for all watches of a store together. Owns no order of its own: who pushes keeps it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Event, WatchBatch};

/// Revisions that a watch takes at a time.
const CHUNK_REVISIONS: usize = 64;
/// Bytes after which a chunk is complete. A single revision is never split and may have more.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;

/// The newest revisions, without a gap.
#[derive(Debug)]
pub(crate) struct Recent {
    batches: VecDeque<(Arc<WatchBatch>, usize)>,
    bytes: usize,
    revisions_max: usize,
    bytes_max: usize,
}

impl Recent {
    pub(crate) fn new(revisions_max: usize, bytes_max: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            bytes: 0,
            revisions_max,
            bytes_max,
        }
    }

    /// Adds the revision after the last one.
    pub(crate) fn push(&mut self, batch: WatchBatch) {
        let bytes = batch.events.iter().map(event_bytes).sum();
        self.bytes += bytes;
        self.batches.push_back((Arc::new(batch), bytes));
        while self.batches.len() > self.revisions_max || self.bytes > self.bytes_max {
            let Some((_, bytes)) = self.batches.pop_front() else {
                break;
            };
            self.bytes -= bytes;
        }
    }

    /// Forgets all of them: what comes next need not follow.
    #[cfg(feature = "etcd")]
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    /// A chunk that begins with the revision `from`; none when that one is not here (any more).
    pub(crate) fn chunk(&self, from: u64) -> Option<Vec<Arc<WatchBatch>>> {
        let first = self.batches.front()?.0.revision.0;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let chunk: Vec<_> = self
            .batches
            .iter()
            .skip(skip)
            .take(CHUNK_REVISIONS)
            .take_while(|(_, size)| {
                let fits = bytes < CHUNK_BYTES;
                bytes += size;
                fits
            })
            .map(|(batch, _)| Arc::clone(batch))
            .collect();
        (!chunk.is_empty()).then_some(chunk)
    }
}

pub(crate) fn event_bytes(event: &Event) -> usize {
    const EACH: usize = 128;
    let value = match event {
        Event::Put { kv, .. } => kv.value.len(),
        Event::Delete { .. } => 0,
    };
    let prev = event.prev().map_or(0, |prev| EACH + prev.value.len());
    EACH + event.key().as_bytes().len() + value + prev
}
