//! The writer: the one thread that changes the file.
//!
//! It takes what is queued, does it in order in one redb transaction, commits that once, and only then publishes the new
//! revisions and answers. A failure of the disk ends it, and with it the store. It is a thread of its own, since it
//! spends its life in fsync.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::embedded::apply::Draft;
use crate::embedded::shared::Shared;
use crate::embedded::sweep::sweep;
use crate::embedded::tables::{Heads, Tables, failed};
use crate::{Error, LeaseId, Result, Revision, Txn, TxnResult, WatchBatch};

type Reply<T> = oneshot::Sender<Result<T>>;
/// Answers one request: with what was prepared, or with why the commit failed.
type Answer = Box<dyn FnOnce(Option<&Error>)>;

#[derive(Debug)]
pub(super) enum Request {
    Txn {
        txn: Txn,
        reply: Reply<TxnResult>,
        /// Its share of the queue's bytes, given back when it is answered.
        room: OwnedSemaphorePermit,
    },
    Grant {
        ttl: Duration,
        reply: Reply<LeaseId>,
    },
    Revoke {
        lease: LeaseId,
        reply: Reply<Revision>,
    },
    Expire {
        lease: LeaseId,
    },
    Compact {
        revision: Revision,
        reply: Reply<()>,
    },
    Close,
}

/// What a commit changes of the leases in memory.
enum LeaseChange {
    Granted(LeaseId, Duration),
    Ended(LeaseId),
}

/// What a commit changed.
struct Done {
    heads: Heads,
    batches: Vec<WatchBatch>,
    leases: Vec<LeaseChange>,
    sweeping: bool,
}

/// What the file said when it was opened.
pub(super) struct Start {
    pub(super) heads: Heads,
    /// How many keys each lease has.
    pub(super) attached: HashMap<u64, usize>,
}

struct Writer {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    heads: Heads,
    /// How many keys each lease has; every lease is in it.
    attached: HashMap<u64, usize>,
    /// Whether compacted history is left to remove.
    sweeping: bool,
    closing: bool,
}

/// The running writer. Dropping it waits for its end, which comes when nobody can send to it any more.
#[derive(Debug)]
pub(super) struct WriterThread {
    thread: Option<JoinHandle<()>>,
}

impl WriterThread {
    pub(super) fn spawn(shared: Arc<Shared>, requests: mpsc::Receiver<Request>, start: Start) -> Result<Self> {
        let mut writer = Writer {
            sweeping: start.heads.compact > 0,
            shared,
            requests,
            heads: start.heads,
            attached: start.attached,
            closing: false,
        };
        let builder = std::thread::Builder::new().name("store-writer".to_owned());
        let thread = builder.spawn(move || writer.run()).map_err(|error| Error::Failed {
            source: Arc::new(error),
        })?;
        Ok(Self { thread: Some(thread) })
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was told to its callers already.
            let _ = thread.join();
        }
    }
}

/// However the writer ends, the store closes: first for new requests, then for those that wait, then its file.
impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail(Error::Failed {
                source: Arc::new(std::io::Error::other("store writer panicked")),
            });
        }
        self.requests.close();
        while self.requests.try_recv().is_ok() {}
        self.shared.shut();
    }
}

impl Writer {
    fn run(&mut self) {
        while !self.closing {
            let Some(batch) = self.next_batch() else {
                return;
            };
            if let Err(error) = self.commit(batch) {
                tracing::error!(error = &error as &dyn std::error::Error, "store failed and is closed");
                return;
            }
        }
    }

    /// Waits for requests and takes those that are there; an empty batch when there is only history to remove.
    fn next_batch(&mut self) -> Option<Vec<Request>> {
        let first = if self.sweeping {
            match self.requests.try_recv() {
                Ok(request) => request,
                Err(mpsc::error::TryRecvError::Empty) => return Some(Vec::new()),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
            }
        } else {
            self.requests.blocking_recv()?
        };
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            if matches!(request, Request::Close) {
                self.closing = true;
                break;
            }
            batch.push(request);
            let full = batch.len() >= self.shared.options.batch_max;
            next = if full { None } else { self.requests.try_recv().ok() };
        }
        Some(batch)
    }

    fn commit(&mut self, batch: Vec<Request>) -> Result<()> {
        let mut answers = Vec::with_capacity(batch.len());
        match self.write(batch, &mut answers) {
            Ok(done) => {
                self.publish(done);
                answers.into_iter().for_each(|answer| answer(None));
                Ok(())
            }
            Err(error) => {
                // Whoever learns of the failure must find the store closed.
                self.shared.refuse();
                self.requests.close();
                answers.into_iter().for_each(|answer| answer(Some(&error)));
                Err(error)
            }
        }
    }

    fn write(&mut self, batch: Vec<Request>, answers: &mut Vec<Answer>) -> Result<Done> {
        let shared = Arc::clone(&self.shared);
        let database = shared.database();
        let database = database.as_ref().ok_or(Error::Closed)?;
        let mut tx = database.begin_write().map_err(failed)?;
        // One fsync a commit (redb's checksummed one-phase commit) while a scan after a kill is short, else two: see
        // `Options::quick_repair_from_bytes`. Two-phase commit alone is against tenants who can order page flushes
        // and power cuts; ours cannot.
        tx.set_quick_repair(shared.size_bytes() >= shared.options.quick_repair_from_bytes);
        let before = self.heads;
        let mut draft = Draft::new(before, &mut self.attached);
        let mut leases = Vec::new();
        let mut swept = 0;
        {
            let mut tables = Tables::open(&tx)?;
            for request in batch {
                answers.push(perform(
                    &mut draft,
                    &mut tables,
                    &mut leases,
                    shared.options.leases_max,
                    request,
                )?);
            }
            forget_old(&mut draft.heads, shared.options.history_keep);
            if self.sweeping {
                swept = sweep(&mut tables, before.compact, shared.options.sweep_rows)?;
            }
            if draft.heads != before {
                draft.heads.save(&mut tables.meta)?;
            }
        }
        let done = Done {
            heads: draft.heads,
            batches: draft.batches,
            leases,
            sweeping: draft.heads.compact > before.compact || swept > 0,
        };
        if done.heads == before && done.leases.is_empty() && swept == 0 {
            tx.abort().map_err(failed)?;
            return Ok(done);
        }
        let compacts = done.heads.compact > before.compact;
        pass_points(
            compacts,
            swept,
            &["store.commit.before", "store.compact.before", "store.sweep.before"],
        );
        tx.commit().map_err(failed)?;
        pass_points(
            compacts,
            swept,
            &["store.commit.after", "store.compact.after", "store.sweep.after"],
        );
        Ok(done)
    }

    /// Lets the rest of the store see what is durable now.
    fn publish(&mut self, done: Done) {
        self.heads = done.heads;
        self.sweeping = done.sweeping;
        for change in done.leases {
            match change {
                LeaseChange::Granted(lease, ttl) => self.shared.leases.start(lease, ttl),
                LeaseChange::Ended(lease) => self.shared.leases.end(lease),
            }
        }
        if done.batches.is_empty() {
            return;
        }
        let mut recent = self.shared.recent();
        done.batches.into_iter().for_each(|batch| recent.push(batch));
        drop(recent);
        let revision = self.heads.revision;
        self.shared
            .published
            .send_modify(|published| published.revision = revision);
    }
}

fn pass_points(compacts: bool, swept: usize, points: &[&'static str; 3]) {
    symphony_crash::point(points[0]);
    if compacts {
        symphony_crash::point(points[1]);
    }
    if swept > 0 {
        symphony_crash::point(points[2]);
    }
}

fn perform(
    draft: &mut Draft<'_>,
    tables: &mut Tables<'_>,
    leases: &mut Vec<LeaseChange>,
    leases_max: usize,
    request: Request,
) -> Result<Answer> {
    Ok(match request {
        Request::Txn { txn, reply, room } => {
            let result = draft.txn(tables, &txn)?;
            let answer = answer(reply, result);
            Box::new(move |error| {
                answer(error);
                drop(room);
            })
        }
        Request::Grant { ttl, reply } => {
            let result = draft.grant(tables, ttl, leases_max)?;
            if let Ok(lease) = result {
                leases.push(LeaseChange::Granted(lease, ttl));
            }
            answer(reply, result)
        }
        Request::Revoke { lease, reply } => {
            let result = draft.end_lease(tables, lease)?;
            if result.is_ok() {
                leases.push(LeaseChange::Ended(lease));
            }
            answer(reply, result)
        }
        Request::Expire { lease } => {
            // When it was revoked in the meantime there is nothing to do.
            if draft.end_lease(tables, lease)?.is_ok() {
                leases.push(LeaseChange::Ended(lease));
            }
            Box::new(|_| {})
        }
        Request::Compact { revision, reply } => answer(reply, compact(&mut draft.heads, revision)),
        Request::Close => Box::new(|_| {}),
    })
}

fn answer<T: 'static>(reply: Reply<T>, result: Result<T>) -> Answer {
    Box::new(move |failure| {
        // Whoever asked may have gone.
        let _ = reply.send(match failure {
            Some(failure) => Err(failure.clone()),
            None => result,
        });
    })
}

fn compact(heads: &mut Heads, revision: Revision) -> Result<()> {
    if revision.0 > heads.revision {
        return Err(Error::FutureRevision {
            requested: revision,
            current: Revision(heads.revision),
        });
    }
    if revision.0 <= heads.compact {
        return Err(Error::Compacted {
            requested: revision,
            compact_revision: Revision(heads.compact),
        });
    }
    heads.compact = revision.0;
    Ok(())
}

/// Compacts by itself once there is an eighth more history than is to be kept, so that it is not done at each commit.
fn forget_old(heads: &mut Heads, keep: Option<u64>) {
    let Some(keep) = keep else {
        return;
    };
    let kept = heads.revision - heads.compact;
    if kept > keep + keep / 8 {
        heads.compact = heads.revision - keep;
    }
}
