//! Puts the changes that etcd sends together to whole revisions, and sees when one is missing. Asks nobody for anything.
//!
//! All keys are followed, and every revision changes some key: so each revision is followed by the next one, or one was
//! left out.

use std::collections::VecDeque;

use crate::{Error, Event, Result, Revision, WatchBatch};

/// What is known of a sequence of revisions.
#[derive(Debug)]
pub struct Order {
    /// The first revision that is not complete.
    next: u64,
    ready: VecDeque<WatchBatch>,
    /// The changes of a revision of which more are to come.
    part: Option<WatchBatch>,
    /// The revision that was missing, the last time one was.
    missed: Option<u64>,
}

impl Order {
    /// A sequence that begins with this revision.
    #[must_use]
    pub fn new(next: u64) -> Self {
        Self {
            next,
            ready: VecDeque::new(),
            part: None,
            missed: None,
        }
    }

    /// The first revision that was not completed: where to go on after an interruption.
    #[must_use]
    pub fn next_revision(&self) -> u64 {
        self.next
    }

    /// The next complete revision.
    pub fn pop(&mut self) -> Option<WatchBatch> {
        self.ready.pop_front()
    }

    /// Forgets what is not complete: it is sent again.
    pub fn interrupt(&mut self) {
        self.part = None;
    }

    /// Takes the changes of one message, of whose last revision `more` may follow in the next one. False when a revision
    /// is missing: it has to be asked for again.
    ///
    /// Errors: `Compacted` when the same one is missing a second time, for then it is not to be had.
    pub fn take(&mut self, events: impl IntoIterator<Item = Event>, more: bool) -> Result<bool> {
        for event in events {
            if !self.add(event)? {
                return Ok(false);
            }
        }
        if !more {
            self.complete();
        }
        Ok(true)
    }

    fn add(&mut self, event: Event) -> Result<bool> {
        let revision = event.revision();
        if self.part.as_ref().is_some_and(|part| part.revision != revision) {
            self.complete();
        }
        if revision.0 < self.next {
            return Ok(true);
        }
        if revision.0 > self.next {
            if self.missed == Some(self.next) {
                return Err(Error::Compacted {
                    requested: Revision(self.next),
                    compact_revision: revision,
                });
            }
            self.missed = Some(self.next);
            return Ok(false);
        }
        let part = self.part.get_or_insert_with(|| WatchBatch {
            revision,
            events: Vec::new(),
        });
        part.events.push(event);
        Ok(true)
    }

    fn complete(&mut self) {
        if let Some(part) = self.part.take() {
            self.next = part.revision.0 + 1;
            self.missed = None;
            self.ready.push_back(part);
        }
    }
}
