//! Every revision of the cluster, one after the other, from some revision on, over as many connections as it takes.
//!
//! It follows all keys, whatever the reader wants of them. Since every revision changes some key, one that is missing is
//! seen: etcd is asked again, and when it leaves the same one out twice, the reader must read anew. It asks from one
//! revision earlier than it needs: so etcd finds out itself when that one was compacted, and a deletion that went with
//! the compaction is never left out silently.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{PbEvent, PbWatchResponse};
use etcd_client::{WatchOptions, WatchStream};
use tokio::time::{sleep, timeout};

use crate::etcd::cluster::Cluster;
use crate::etcd::fault::{Fault, chain};
use crate::etcd::order::Order;
use crate::etcd::wire;
use crate::{Error, Event, Key, Result, Revision, WatchBatch};

/// Bytes of one message: etcd cuts what is longer than its largest request, which may be set higher than the default.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Between two connections of which the first brought nothing: at least and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

pub(super) struct Follow {
    cluster: Arc<Cluster>,
    prev_kv: bool,
    order: Order,
    open: Option<Open>,
    /// How long to wait before the next connection: none, when the last one brought something.
    pause: Duration,
}

struct Open {
    stream: WatchStream,
    turn: usize,
}

impl Follow {
    /// Follows from the revision `next` on, which is at most the one after the newest.
    pub(super) fn new(cluster: Arc<Cluster>, next: u64, prev_kv: bool) -> Self {
        Self {
            cluster,
            prev_kv,
            order: Order::new(next.max(2)),
            open: None,
            pause: Duration::ZERO,
        }
    }

    /// The first revision that did not come yet.
    pub(super) fn next_revision(&self) -> u64 {
        self.order.next_revision()
    }

    /// The next revision, with all its changes. Waits as long as it takes, through lost connections. Safe to cancel.
    ///
    /// Errors: `Compacted`, and what the cluster refuses for good.
    pub(super) async fn next(&mut self) -> Result<WatchBatch> {
        loop {
            if let Some(batch) = self.order.pop() {
                return Ok(batch);
            }
            let Some(open) = &mut self.open else {
                self.connect().await?;
                continue;
            };
            let turn = open.turn;
            match open.stream.message().await {
                Ok(Some(answer)) => self.take(answer.0)?,
                Ok(None) => self.lost(turn, "it ended"),
                Err(error) => match Fault::of(&self.cluster.endpoint(turn).name, error) {
                    Fault::Refused(error @ Error::Denied { .. }) => return Err(error),
                    Fault::Refused(error) => self.lost(turn, &chain(&error)),
                    Fault::Unknown(cause) | Fault::NotDone(cause) => self.lost(turn, &chain(&*cause)),
                    Fault::Compacted | Fault::Future | Fault::NoLease => self.lost(turn, "an odd error"),
                },
            }
        }
    }

    /// Goes on over another connection: this one brings nothing more.
    pub(super) fn reopen(&mut self, why: &str) {
        if let Some(open) = &self.open {
            let turn = open.turn;
            self.lost(turn, why);
        }
    }

    fn lost(&mut self, turn: usize, why: &str) {
        let endpoint = &self.cluster.endpoint(turn).name;
        let next = self.order.next_revision();
        tracing::warn!(%endpoint, why, next, "the watch of etcd is interrupted and goes on elsewhere");
        self.cluster.not_good(turn);
        self.open = None;
        self.order.interrupt();
    }

    async fn connect(&mut self) -> Result<()> {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
        let turn = self.cluster.good();
        let fault = match self.open_at(turn).await {
            Ok(stream) => {
                self.open = Some(Open { stream, turn });
                return Ok(());
            }
            Err(fault) => fault,
        };
        match fault.into_error() {
            error @ Error::Denied { .. } => return Err(error),
            error => tracing::debug!(error = %chain(&error), "etcd can't be watched for now"),
        }
        self.cluster.not_good(turn);
        Ok(())
    }

    async fn open_at(&self, turn: usize) -> Result<WatchStream, Fault> {
        let line = self.cluster.line(turn).await?;
        let mut options = WatchOptions::new()
            .with_all_keys()
            .with_start_revision(wire::signed(self.order.next_revision() - 1))
            .with_fragment();
        if self.prev_kv {
            options = options.with_prev_key();
        }
        let endpoint = &self.cluster.endpoint(turn).name;
        let mut client = line.client.watch_client().max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opened = timeout(
            self.cluster.options.attempt_timeout,
            client.watch(Vec::new(), Some(options)),
        );
        match opened.await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Fault::of(endpoint, error)),
            Err(_) => {
                self.cluster.endpoint(turn).drop_line(&line).await;
                Err(Fault::late(endpoint, false))
            }
        }
    }

    fn take(&mut self, answer: PbWatchResponse) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let turn = open.turn;
        let endpoint = self.cluster.endpoint(turn);
        if let Err(error) = endpoint.check(answer.header.as_ref().map_or(0, |header| header.cluster_id)) {
            self.lost(turn, &chain(&error));
            return Ok(());
        }
        if answer.compact_revision > 0 {
            return Err(Error::Compacted {
                requested: Revision(self.order.next_revision()),
                compact_revision: Revision(wire::unsigned(answer.compact_revision)),
            });
        }
        if answer.canceled {
            let fault = Fault::of_cancel(&endpoint.name, &answer.cancel_reason);
            match fault.into_error() {
                error @ Error::Denied { .. } => return Err(error),
                error => self.lost(turn, &chain(&error)),
            }
            return Ok(());
        }
        let before = self.order.next_revision();
        let events = answer.events.into_iter().filter_map(wire_event);
        if !self.order.take(events, answer.fragment)? {
            self.lost(turn, "a revision is missing");
        } else if self.order.next_revision() > before {
            self.pause = Duration::ZERO;
        }
        Ok(())
    }
}

fn wire_event(event: PbEvent) -> Option<Event> {
    const DELETE: i32 = etcd_client::EventType::Delete as i32;
    let prev = event.prev_kv.map(wire::key_value);
    let kv = event.kv?;
    Some(if event.r#type == DELETE {
        Event::Delete {
            key: Key::from(kv.key),
            mod_revision: Revision(wire::unsigned(kv.mod_revision)),
            prev,
        }
    } else {
        let kv = wire::key_value(kv);
        Event::Put { kv, prev }
    })
}
