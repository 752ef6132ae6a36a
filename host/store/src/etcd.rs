//! The store in an etcd cluster, for managers of which there are several.
//!
//! ```text
//!   get, range, txn, lease, compact ──► Cluster: a member that answers, each call with a deadline
//!   watch ◄── recent revisions in memory ◄── Feed: one follower of all keys, for all watches
//!         ◄── history in the cluster (a follower of its own), for whoever is behind the ring
//! ```
//!
//! Reads are linearizable. A write goes to one member, and to another one only when the first surely did nothing with
//! it. What etcd limits otherwise than the trait says: the keys of one lease are not counted, and a delete of a span is
//! counted before it is done, not together with it.

mod cluster;
mod endpoint;
mod fault;
mod feed;
mod follow;
mod health;
mod options;
#[doc(hidden)]
pub mod order;
mod version;
mod watch;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Client, LeaseTimeToLiveOptions};
use tokio::sync::Semaphore;

pub use options::{EtcdOptions, EtcdTls, Secret};
pub use version::is_old as is_old_version;

use crate::limits::{DELETE_KEYS_MAX, LEASE_KEYS_MAX, LEASE_TTL_MAX, LEASE_TTL_MIN};
use crate::{
    Error, Key, KeyValue, LeaseId, LeaseStatus, MemberHealth, Op, Range, RangeResult, Result, Revision, Status, Store,
    Txn, TxnResult, Watch, WatchStream,
};
use cluster::Cluster;
use fault::Fault;
use feed::Feed;
use wire::Kept;

/// A store in an etcd cluster.
#[derive(Debug)]
pub struct Etcd {
    cluster: Arc<Cluster>,
    feed: Arc<Feed>,
    watches: Arc<Semaphore>,
}

impl Etcd {
    /// Reaches the cluster.
    ///
    /// Errors: `Unavailable` when no member answers or there is no majority; `WrongCluster` when the endpoints are of
    /// different clusters; `Denied`; `Misconfigured`.
    pub async fn connect(options: EtcdOptions) -> Result<Self> {
        let watches = Arc::new(Semaphore::new(options.watches_max));
        let cluster = Arc::new(Cluster::connect(options).await?);
        Ok(Self {
            feed: Arc::new(Feed::new(Arc::clone(&cluster))),
            watches,
            cluster,
        })
    }

    /// Refuses deletes of more keys than one commit should change.
    async fn check_deletes(&self, txn: &Txn) -> Result<()> {
        for op in txn.success.iter().chain(&txn.failure) {
            if let Op::Delete { keys } = op
                && keys.as_one().is_none()
            {
                let answer = self.cluster.range(&Range::new(keys.clone()).count_only()).await;
                let count = wire::unsigned(answer.map_err(Fault::into_error)?.count());
                if count > DELETE_KEYS_MAX as u64 {
                    return Err(Error::LimitReached {
                        what: "keys of one delete",
                        max: DELETE_KEYS_MAX,
                    });
                }
            }
        }
        Ok(())
    }

    /// The lease of a transaction that does not exist: etcd does not say which one it is.
    async fn missing_lease(&self, txn: &Txn) -> Error {
        let leases = txn.success.iter().chain(&txn.failure).filter_map(|op| match op {
            Op::Put { lease, .. } => *lease,
            Op::Delete { .. } | Op::Get { .. } => None,
        });
        let mut first = None;
        for lease in leases {
            if let Err(error @ Error::LeaseNotFound { .. }) = self.time_to_live(lease).await {
                return error;
            }
            first = first.or(Some(lease));
        }
        // It can't be found out any more which one it was.
        Error::LeaseNotFound {
            lease: first.unwrap_or(LeaseId(0)),
        }
    }

    async fn at_error(&self, fault: Fault, requested: Revision) -> Error {
        match fault {
            Fault::Compacted => self.cluster.compacted(requested).await,
            Fault::Future => self.cluster.future(requested).await,
            fault => fault.into_error(),
        }
    }
}

fn lease_error(fault: Fault, lease: LeaseId) -> Error {
    match fault {
        Fault::NoLease => Error::LeaseNotFound { lease },
        fault => fault.into_error(),
    }
}

async fn keep_alive(client: Client, lease: i64) -> Result<Kept, etcd_client::Error> {
    let gone = |error| match error {
        etcd_client::Error::LeaseKeepAliveError(_) => Ok(Kept { cluster: 0, ttl: 0 }),
        error => Err(error),
    };
    let (mut keeper, mut answers) = match client.lease_client().keep_alive(lease).await {
        Ok(stream) => stream,
        Err(error) => return gone(error),
    };
    // The client keeps the first answer, and its time to live, to itself.
    keeper.keep_alive().await?;
    let Some(answer) = answers.message().await? else {
        return Err(etcd_client::Error::WatchError(
            "the keep-alive ended without an answer".to_owned(),
        ));
    };
    Ok(Kept {
        cluster: answer.header().map_or(0, etcd_client::ResponseHeader::cluster_id),
        ttl: wire::unsigned(answer.ttl()),
    })
}

#[async_trait]
impl Store for Etcd {
    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<KeyValue>> {
        key.check()?;
        let range = Range { at, ..Range::key(key) };
        Ok(self.range(range).await?.kvs.into_iter().next())
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        range.keys.check()?;
        if range.at == Some(Revision::NONE) && self.cluster.compact_revision().await? > Revision::NONE {
            return Err(self.cluster.compacted(Revision::NONE).await);
        }
        match self.cluster.range(&range).await {
            Ok(answer) => wire::range_result(&range, answer),
            Err(fault) => Err(self.at_error(fault, range.at.unwrap_or(Revision::NONE)).await),
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        txn.check()?;
        self.check_deletes(&txn).await?;
        let request = wire::txn(&txn);
        let call = |client: Client| {
            let request = request.clone();
            async move { wire::kv_txn(&client).txn(request).await }
        };
        let answer = if txn.is_read_only() {
            self.cluster.read(call).await
        } else {
            self.cluster.write(call).await
        };
        match answer {
            Ok(answer) => wire::txn_result(&txn, answer),
            Err(Fault::NoLease) => Err(self.missing_lease(&txn).await),
            Err(fault) => Err(fault.into_error()),
        }
    }

    async fn watch(&self, watch: Watch) -> Result<WatchStream> {
        watch.keys.check()?;
        self.cluster.check_open()?;
        let slot = Arc::clone(&self.watches).try_acquire_owned();
        let slot = slot.map_err(|_| Error::LimitReached {
            what: "watches",
            max: self.cluster.options.watches_max,
        })?;
        self.feed.start();
        // It begins after the compacted revision when the one before its first can be read.
        let before = Revision(watch.from.0.max(2) - 1);
        let head = match self.cluster.range(&Range::key("\0").count_only().at(before)).await {
            Ok(answer) => wire::revision(&answer).0,
            Err(Fault::Future) => 0,
            Err(fault) => return Err(self.at_error(fault, watch.from).await),
        };
        Ok(watch::start(Arc::clone(&self.feed), watch, head, slot))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
            return Err(Error::InvalidTtl {
                min_secs: LEASE_TTL_MIN.as_secs(),
                max_secs: LEASE_TTL_MAX.as_secs(),
            });
        }
        let secs = wire::signed(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        // One that was granted without our learning of it ends by itself.
        let granted = self
            .cluster
            .read(|client| async move { client.lease_client().grant(secs, None).await });
        let granted = granted.await.map_err(Fault::into_error)?;
        Ok(LeaseId(wire::unsigned(granted.id())))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        let id = wire::signed(lease.0);
        let kept = self.cluster.read(|client| keep_alive(client, id)).await;
        let kept = kept.map_err(|fault| lease_error(fault, lease))?;
        if kept.ttl == 0 {
            return Err(Error::LeaseNotFound { lease });
        }
        Ok(Duration::from_secs(kept.ttl))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        let id = wire::signed(lease.0);
        let revoked = self
            .cluster
            .write(|client| async move { client.lease_client().revoke(id).await });
        let revoked = revoked.await.map_err(|fault| lease_error(fault, lease))?;
        Ok(wire::header_revision(revoked.header()))
    }

    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        let id = wire::signed(lease.0);
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let answer = self.cluster.read(|client| {
            let options = options.clone();
            async move { client.lease_client().time_to_live(id, Some(options)).await }
        });
        let answer = answer.await.map_err(|fault| lease_error(fault, lease))?;
        if answer.ttl() < 0 || answer.granted_ttl() <= 0 {
            return Err(Error::LeaseNotFound { lease });
        }
        let mut keys: Vec<_> = answer.0.keys.into_iter().map(Key::from).collect();
        keys.sort();
        keys.truncate(LEASE_KEYS_MAX);
        Ok(LeaseStatus {
            lease,
            granted: Duration::from_secs(wire::unsigned(answer.0.granted_ttl)),
            remaining: Duration::from_secs(wire::unsigned(answer.0.ttl)),
            keys,
        })
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        if revision == Revision::NONE {
            return Err(self.cluster.compacted(revision).await);
        }
        let compacted = self.cluster.write(|client| {
            let revision = wire::signed(revision.0);
            async move { client.kv_client().compact(revision, None).await }
        });
        match compacted.await {
            Ok(_) => {
                self.cluster.compacted.fetch_max(revision.0, Ordering::Relaxed);
                Ok(())
            }
            Err(fault) => Err(self.at_error(fault, revision).await),
        }
    }

    async fn status(&self) -> Result<Status> {
        let size = self
            .cluster
            .read(|client| async move { client.maintenance_client().status().await });
        let size = async { size.await.map_err(Fault::into_error) };
        let (revision, compact_revision, status) =
            tokio::try_join!(self.cluster.head(), self.cluster.compact_revision(), size)?;
        Ok(Status {
            revision,
            compact_revision,
            size_bytes: wire::unsigned(status.db_size()),
        })
    }

    async fn members(&self) -> Result<Vec<MemberHealth>> {
        self.cluster.check_open()?;
        Ok(health::of(&self.cluster).await)
    }

    async fn close(&self) {
        self.cluster.closed.cancel();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.cluster.closed.cancel();
    }
}
