//! The audit log: one line of JSON for each write and each refused request, in a file of the manager's own.
//!
//! Each line has the SHA-256 of the one before it, so that one that is changed or taken out is found. A line never has a
//! secret: no body, no query, no token. One thread writes; requests never wait for it. What can't be written is counted, told
//! in the manager's log and in the next line that can be: a full disk does not stop the API.

mod file;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use symphony_core::Timestamp;
use tokio::sync::oneshot;

use crate::failure::chain;
use file::LogFile;

/// Lines that wait to be written; more are lost, and counted.
const QUEUE: usize = 4096;
/// Lines that are written before the disk is asked to have them.
const BATCH: usize = 256;
/// Longest path in a line, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) time: Timestamp,
    pub(crate) request_id: String,
    /// Who asked; `-` when nobody knows.
    pub(crate) principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<String>,
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<String>,
    pub(crate) status: u16,
    /// Of the object that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u64>,
}

/// A line as it is written: with what binds it to the others.
#[derive(Serialize)]
struct Bound<'a> {
    #[serde(flatten)]
    line: &'a Line,
    /// How many lines before this one could not be written.
    #[serde(skip_serializing_if = "is_zero")]
    lost: u64,
    /// SHA-256 of the line before, in hexadecimal digits.
    prev: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

enum Order {
    Write(Box<Line>),
    /// Answered with the last lines when all that came before is written.
    Read(usize, oneshot::Sender<Vec<String>>),
}

/// What is counted of the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) written: Counter,
    pub(crate) lost: Counter,
}

/// The log, or none.
pub(crate) struct AuditLog {
    orders: Mutex<Option<SyncSender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<AtomicU64>,
    counts: Counts,
}

impl AuditLog {
    /// Starts the log in a file; without one nothing is written.
    pub(crate) fn start(path: Option<PathBuf>, counts: Counts) -> Self {
        let lost = Arc::new(AtomicU64::new(0));
        let started = path.and_then(|path| {
            let (orders, inbox) = sync_channel(QUEUE);
            let mut writer = Writer {
                file: LogFile::new(path),
                lost: lost.clone(),
                counts: counts.clone(),
            };
            let thread = std::thread::Builder::new().name("audit".to_owned());
            match thread.spawn(move || writer.run(&inbox)) {
                Ok(thread) => Some((orders, thread)),
                Err(error) => {
                    tracing::error!(%error, "the audit log can't be started: nothing is audited");
                    None
                }
            }
        });
        let (orders, thread) = started.unzip();
        Self {
            orders: Mutex::new(orders),
            thread: Mutex::new(thread),
            lost,
            counts,
        }
    }

    fn orders(&self) -> Option<SyncSender<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a line. Never waits.
    pub(crate) fn write(&self, mut line: Line) {
        let Some(orders) = self.orders() else { return };
        line.path.truncate(line.path.floor_char_boundary(PATH_BYTES_MAX));
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            orders.try_send(Order::Write(Box::new(line)))
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.counts.lost.inc();
            tracing::error!("the audit log is behind: a line of it is lost");
        }
    }

    /// The last lines, the newest first; none: there is no log, or it does not answer.
    pub(crate) async fn last(&self, limit: usize) -> Option<Vec<String>> {
        let orders = self.orders()?;
        let (answer, lines) = oneshot::channel();
        let sent = tokio::task::spawn_blocking(move || orders.send(Order::Read(limit, answer)));
        sent.await.ok()?.ok()?;
        lines.await.ok()
    }

    /// Writes what was taken, and ends.
    pub(crate) async fn close(&self) {
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// The thread that writes.
struct Writer {
    file: LogFile,
    lost: Arc<AtomicU64>,
    counts: Counts,
}

impl Writer {
    fn run(&mut self, inbox: &Receiver<Order>) {
        while let Ok(first) = inbox.recv() {
            let mut unsynced = 0;
            let mut next = Some(first);
            while let Some(order) = next {
                match order {
                    Order::Write(line) => {
                        self.write(&line);
                        unsynced += 1;
                    }
                    Order::Read(limit, answer) => {
                        let lines = self.file.last(limit).unwrap_or_else(|error| {
                            tracing::error!(error = %chain(&error), "the audit log can't be read");
                            Vec::new()
                        });
                        // Who asked may have gone.
                        let _ = answer.send(lines);
                    }
                }
                next = (unsynced < BATCH).then(|| inbox.try_recv().ok()).flatten();
            }
            if unsynced > 0
                && let Err(error) = self.file.sync()
            {
                tracing::error!(error = %chain(&error), "the disk does not take the audit log");
            }
        }
    }

    fn write(&mut self, line: &Line) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let written = self
            .file
            .append(|prev| serde_json::to_string(&Bound { line, lost, prev }));
        match written {
            Ok(()) => {
                self.counts.written.inc();
            }
            Err(error) => {
                self.lost.fetch_add(lost + 1, Ordering::Relaxed);
                self.counts.lost.inc();
                tracing::error!(error = %chain(&error), request_id = line.request_id, "a line of the audit log is lost");
            }
        }
    }
}
