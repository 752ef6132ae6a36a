//! The election of managers that share a store: the leader's record is there as long as its lease lives.
//!
//! ```text
//!   campaign:  wait until v1/leader is gone ─► grant a lease ─► txn(v1/leader absent, v1/epoch unchanged:
//!                                                                   put v1/epoch, put v1/leader with the lease)
//!   lead:      keep the lease alive ── not renewed for its time, counted from when it was *asked* for ─► lost
//! ```
//!
//! A lease proves nothing: a leader that was frozen may believe in it for a moment longer than the store. So the loops'
//! writes compare the record's creation, and agents refuse a smaller epoch than they have seen.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use symphony_core::{keys, record};
use symphony_store::{Compare, Event, Key, LeaseId, Store, Txn, Watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Election, ElectionError, LastEpoch, Leader, Leadership, next_epoch};

/// How long a leader stays on record that is not heard of.
pub const LEASE_TTL: Duration = Duration::from_secs(5);
/// Renewals within the life of a lease.
const RENEWALS: u32 = 5;
/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug, Clone)]
pub struct Lease {
    /// This manager's name.
    pub manager: String,
    /// Where the other managers and the agents reach it: `ADDRESS:PORT`.
    pub address: String,
    /// [`LEASE_TTL`], or another in tests.
    pub ttl: Duration,
}

#[async_trait]
impl Election for Lease {
    async fn lead(&self, store: &Arc<dyn Store>) -> Result<Leadership, ElectionError> {
        loop {
            match self.campaign(store).await {
                Ok(Some(leadership)) => return Ok(leadership),
                Ok(None) => {}
                Err(ElectionError::Store(error)) if error.is_retryable() => {
                    tracing::warn!(%error, "the election waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Lease {
    /// Waits until nobody leads, and tries to be the next.
    async fn campaign(&self, store: &Arc<dyn Store>) -> Result<Option<Leadership>, ElectionError> {
        vacant(store.as_ref()).await?;
        // From before the request: the store counts from later on.
        let asked = Instant::now();
        let lease = store.grant(self.ttl).await?;
        let (epoch, unchanged) = next_epoch(store.as_ref()).await?;
        let leader = Leader {
            epoch,
            manager: self.manager.clone(),
            address: self.address.clone(),
        };
        let txn = Txn::new()
            .when(Compare::absent(keys::LEADER))
            .when(unchanged)
            .put(keys::EPOCH, record::encode(&LastEpoch { epoch })?)
            .put_leased(keys::LEADER, record::encode(&leader)?, lease);
        let written = match store.txn(txn).await {
            Ok(result) if result.succeeded => Some(result.revision),
            Ok(_) => None,
            // It may have been written all the same: then it goes with the lease, and the next attempt waits for that.
            Err(error) => {
                _ = store.revoke(lease).await;
                return Err(error.into());
            }
        };
        let Some(written) = written else {
            _ = store.revoke(lease).await;
            return Ok(None);
        };
        let lost = CancellationToken::new();
        let keeper = Keeper {
            store: Arc::clone(store),
            lease,
            ttl: self.ttl,
            lost: lost.clone(),
        };
        tokio::spawn(keeper.run(asked));
        Ok(Some(Leadership {
            epoch,
            fence: Compare::create_revision(keys::LEADER, written),
            lost,
            lease: Some(lease),
        }))
    }
}

/// Waits until there is no leader on record.
async fn vacant(store: &dyn Store) -> Result<(), symphony_store::Error> {
    let key = Key::from(keys::LEADER);
    loop {
        // What a range says is of one revision: nothing can happen between it and the watch.
        let seen = store.range(symphony_store::Range::key(key.clone())).await?;
        if seen.kvs.is_empty() {
            return Ok(());
        }
        let mut watch = store.watch(Watch::key(key.clone(), seen.revision.next())).await?;
        while let Some(batch) = watch.next().await {
            let gone = |event: &Event| matches!(event, Event::Delete { .. });
            if batch?.events.last().is_some_and(gone) {
                return Ok(());
            }
        }
    }
}

/// Keeps a leader's lease alive, and says when it may have ended.
struct Keeper {
    store: Arc<dyn Store>,
    lease: LeaseId,
    ttl: Duration,
    lost: CancellationToken,
}

impl Keeper {
    async fn run(self, mut renewed: Instant) {
        let every = self.ttl / RENEWALS;
        let why = loop {
            let until = renewed + self.ttl;
            tokio::select! {
                () = self.lost.cancelled() => return,
                () = tokio::time::sleep_until((renewed + every).max(Instant::now() + every / 2).min(until)) => {}
            }
            let asked = Instant::now();
            if asked >= until {
                break "its lease was not renewed in time";
            }
            match timeout(until - asked, self.store.keep_alive(self.lease)).await {
                // An answer that comes too late is worth nothing: others may lead by now.
                _ if Instant::now() >= until => break "its lease was not renewed in time",
                Ok(Ok(_)) => renewed = asked,
                Ok(Err(symphony_store::Error::LeaseNotFound { .. })) => break "its lease is gone",
                Ok(Err(error)) => tracing::warn!(%error, "the leader's lease could not be renewed"),
                Err(_) => break "the store did not answer in time",
            }
        };
        tracing::warn!(why, "this manager leads no more");
        self.lost.cancel();
    }
}
