//! The members together: which one is asked, how long, and which one next.
//!
//! A read is asked of one member after the other until the deadline. A write is sent to another member only when it is
//! sure that the one before did nothing with it; otherwise the caller is told that it may have been done.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use etcd_client::Client;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::etcd::endpoint::{Endpoint, Line};
use crate::etcd::fault::{Fault, chain};
use crate::etcd::options::EtcdOptions;
use crate::etcd::wire::{self, Answer};
use crate::{Error, Keys, Range, Result, Revision};

/// Between two rounds over all members.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Whether a call may be made twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

pub(super) struct Cluster {
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last.
    good: AtomicUsize,
    pub(super) options: EtcdOptions,
    pub(super) closed: CancellationToken,
    /// The newest compacted revision that we know of.
    pub(super) compacted: AtomicU64,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("endpoints", &self.options.endpoints)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reaches the members: one at least must answer, and those that answer must be of one cluster.
    pub(super) async fn connect(options: EtcdOptions) -> Result<Self> {
        if options.endpoints.is_empty() {
            return Err(Error::Misconfigured {
                what: "no endpoint is given".to_owned(),
            });
        }
        let id = Arc::new(OnceLock::new());
        let endpoint = |name: &String| Endpoint::new(name, &options, Arc::clone(&id));
        let cluster = Self {
            endpoints: options.endpoints.iter().map(endpoint).collect(),
            good: AtomicUsize::new(0),
            closed: CancellationToken::new(),
            compacted: AtomicU64::new(0),
            options,
        };
        let reach = |endpoint| timeout(cluster.options.deadline, Endpoint::reach(endpoint));
        let answers = join_all(cluster.endpoints.iter().map(reach)).await;
        let mut reached = Vec::new();
        let mut last = None;
        for (index, (endpoint, answer)) in cluster.endpoints.iter().zip(answers).enumerate() {
            match answer.unwrap_or_else(|_| Err(Fault::late(&endpoint.name, false))) {
                Ok((client, id)) => reached.push((index, client, id)),
                Err(Fault::Refused(error)) => return Err(error),
                Err(fault) => {
                    let error = fault.into_error();
                    tracing::warn!(endpoint = %endpoint.name, error = %chain(&error), "an etcd member can't be reached");
                    last = Some(error);
                }
            }
        }
        if let (true, Some(error)) = (reached.is_empty(), last) {
            return Err(error);
        }
        if let Some(most) = most_common(reached.iter().map(|(_, _, id)| *id)) {
            let _ = id.set(most);
        }
        let first = reached.first().map_or(0, |(index, ..)| *index);
        for (index, client, id) in reached {
            cluster.endpoints[index].check(id)?;
            cluster.endpoints[index].keep(client).await;
        }
        cluster.good.store(first, Ordering::Relaxed);
        // And it must have a majority, and let us read.
        cluster.head().await?;
        Ok(cluster)
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.is_cancelled() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// All endpoints, as they were given.
    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint to ask now, and all after it.
    pub(super) fn good(&self) -> usize {
        self.good.load(Ordering::Relaxed)
    }

    pub(super) fn endpoint(&self, turn: usize) -> &Endpoint {
        &self.endpoints[turn % self.endpoints.len()]
    }

    /// Has another endpoint asked from now on, unless that is so already.
    pub(super) fn not_good(&self, turn: usize) {
        let len = self.endpoints.len();
        let turn = turn % len;
        // Someone else may have moved on already.
        let _ = self
            .good
            .compare_exchange(turn, (turn + 1) % len, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Does what can be done twice without harm.
    pub(super) async fn read<T, F, Fut>(&self, call: F) -> Result<T, Fault>
    where
        T: Answer,
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call(Kind::Read, call).await.map_err(Fault::harmless)
    }

    /// Does what must not be done twice.
    pub(super) async fn write<T, F, Fut>(&self, call: F) -> Result<T, Fault>
    where
        T: Answer,
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call(Kind::Write, call).await
    }

    async fn call<T, F, Fut>(&self, kind: Kind, call: F) -> Result<T, Fault>
    where
        T: Answer,
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.check_open().map_err(Fault::Refused)?;
        let end = Instant::now() + self.options.deadline;
        let mut turns = 0;
        loop {
            let turn = self.good();
            let endpoint = self.endpoint(turn);
            let fault = match self.ask(endpoint, kind, end, &call).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            match &fault {
                Fault::NotDone(_) => {}
                Fault::Unknown(_) if kind == Kind::Read => {}
                Fault::Unknown(_) => {
                    self.not_good(turn);
                    return Err(fault);
                }
                // A member of another cluster must not keep us from the others.
                Fault::Refused(error @ Error::WrongCluster { .. }) => {
                    tracing::error!(error = %chain(error), "an etcd endpoint is left out");
                }
                _ => return Err(fault),
            }
            self.not_good(turn);
            turns += 1;
            if turns % self.endpoints.len() == 0 {
                sleep(ROUND_PAUSE).await;
            }
            if Instant::now() >= end {
                return Err(fault);
            }
        }
    }

    async fn ask<T, F, Fut>(&self, endpoint: &Endpoint, kind: Kind, end: Instant, call: &F) -> Result<T, Fault>
    where
        T: Answer,
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let left = end.saturating_duration_since(Instant::now());
        let attempt = left.min(self.options.attempt_timeout);
        let line = timeout(attempt, endpoint.line()).await;
        let line = line.unwrap_or_else(|_| Err(Fault::late(&endpoint.name, false)))?;
        let left = end.saturating_duration_since(Instant::now());
        let patience = match kind {
            Kind::Read => left.min(self.options.attempt_timeout),
            Kind::Write => left,
        };
        match timeout(patience, call(line.client.clone())).await {
            Ok(Ok(answer)) => match endpoint.check(answer.cluster()) {
                Ok(()) => Ok(answer),
                Err(error) => {
                    endpoint.drop_line(&line).await;
                    Err(Fault::Refused(error))
                }
            },
            Ok(Err(error)) => Err(Fault::of(&endpoint.name, error)),
            Err(_) => {
                endpoint.drop_line(&line).await;
                Err(Fault::late(&endpoint.name, true))
            }
        }
    }

    /// A proven connection to an endpoint, for a stream.
    pub(super) async fn line(&self, turn: usize) -> Result<Line, Fault> {
        let endpoint = self.endpoint(turn);
        let line = timeout(self.options.attempt_timeout, endpoint.line()).await;
        line.unwrap_or_else(|_| Err(Fault::late(&endpoint.name, false)))
    }

    /// The newest revision.
    pub(super) async fn head(&self) -> Result<Revision> {
        let answer = self.range(&Range::new(Keys::one("\0")).count_only()).await;
        Ok(wire::revision(&answer.map_err(Fault::into_error)?))
    }

    /// A linearizable read.
    pub(super) async fn range(&self, range: &Range) -> Result<etcd_client::GetResponse, Fault> {
        let answer = self.read(|client| {
            let (key, options) = wire::get(range);
            async move { wire::kv(&client).get(key, Some(options)).await }
        });
        answer.await
    }

    /// The compacted revision; 0 when there is none.
    pub(super) async fn compact_revision(&self) -> Result<Revision> {
        let known = self.compacted.load(Ordering::Relaxed);
        // What is known is still true when it can still be read.
        let probe = Range::new(Keys::one("\0")).count_only().at(Revision(known.max(1)));
        match self.range(&probe).await {
            Ok(_) => return Ok(Revision(known)),
            Err(Fault::Compacted) => {}
            Err(fault) => return Err(fault.into_error()),
        }
        let found = self.read(|client| async move { wire::oldest(&client).await }).await;
        let found = found.map_err(Fault::into_error)?.compact_revision;
        self.compacted.fetch_max(found, Ordering::Relaxed);
        Ok(Revision(found))
    }

    /// The error for a revision that is gone.
    pub(super) async fn compacted(&self, requested: Revision) -> Error {
        match self.compact_revision().await {
            Ok(compact_revision) => Error::Compacted {
                requested,
                compact_revision,
            },
            Err(error) => error,
        }
    }

    /// The error for a revision that is not there yet.
    pub(super) async fn future(&self, requested: Revision) -> Error {
        match self.head().await {
            Ok(current) => Error::FutureRevision { requested, current },
            Err(error) => error,
        }
    }
}

/// The cluster that most endpoints are of, so that the error names the odd one out; of equally many, the one that is named
/// first. 0 is an answer that does not say.
fn most_common(ids: impl Iterator<Item = u64> + Clone) -> Option<u64> {
    let count = |id| ids.clone().filter(|other| *other == id).count();
    let known = ids.clone().filter(|id| *id != 0);
    // `max_by_key` takes the last of equals.
    known.collect::<Vec<_>>().into_iter().rev().max_by_key(|id| count(*id))
}

#[cfg(test)]
mod tests {
    use super::most_common;

    #[test]
    fn the_odd_one_out_is_not_the_cluster() {
        let most = |ids: &[u64]| most_common(ids.iter().copied());
        assert_eq!(most(&[7, 8, 8]), Some(8));
        assert_eq!(most(&[7, 8]), Some(7), "of equally many, the first");
        assert_eq!(most(&[0, 0, 9]), Some(9), "who does not say does not count");
        assert_eq!(most(&[0]), None);
        assert_eq!(most(&[]), None);
    }
}
