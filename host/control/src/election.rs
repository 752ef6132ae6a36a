//! Who leads. The winner gets an epoch, and every write of its loops compares the leader's record: a deposed leader can't
//! write, whatever it believes.
//!
//! - [`Sole`]: for a store that only one manager can open.
//! - [`Lease`]: for managers that share a store: the record goes with its lease, and the next of them takes over.

mod lease;
mod sole;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use symphony_core::counter::Epoch;
use symphony_core::{keys, record};
use symphony_store::{Compare, Key, LeaseId, Store};
use tokio_util::sync::CancellationToken;

pub use lease::{LEASE_TTL, Lease};
pub use sole::Sole;

/// The leader's own record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its fencing token.
    pub epoch: Epoch,
    /// Its name; empty where only one manager can be.
    #[serde(default)]
    pub manager: String,
    /// Where the other managers and the agents reach it: `ADDRESS:PORT`.
    #[serde(default)]
    pub address: String,
}

/// The counter of epochs; it stays when the leader's record goes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct LastEpoch {
    epoch: Epoch,
}

/// Why there is no leader.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    /// The store.
    #[error("the store can't be used")]
    Store(#[from] symphony_store::Error),
    /// The leader's record.
    #[error("the leader's record can't be used")]
    Record(#[from] record::RecordError),
}

/// How managers agree on a leader.
#[async_trait]
pub trait Election: Send + Sync {
    /// Waits until this manager leads. Dropping the future gives up.
    async fn lead(&self, store: &Arc<dyn Store>) -> Result<Leadership, ElectionError>;
}

/// That this manager leads, until somebody else writes the leader's record, or it is gone.
#[derive(Debug, Clone)]
pub struct Leadership {
    epoch: Epoch,
    fence: Compare,
    lost: CancellationToken,
    lease: Option<LeaseId>,
}

impl Leadership {
    /// The fencing token.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What every write of the loops compares.
    #[must_use]
    pub fn fence(&self) -> Compare {
        self.fence.clone()
    }

    /// Cancelled when this manager must not act as the leader any more.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Gives the leadership up, so that another manager can lead at once. Call it when the loops have ended.
    pub async fn resign(&self, store: &dyn Store) {
        self.lost.cancel();
        if let Some(lease) = self.lease
            && let Err(error) = store.revoke(lease).await
        {
            // It ends by itself then.
            tracing::debug!(%error, "the leader's lease could not be given back");
        }
    }
}

/// The counter of epochs for a store that was restored, from what it was in the backup.
///
/// # Errors
/// What was in the backup can't be read.
pub fn restored_epoch(kept: Option<&[u8]>) -> Result<Vec<u8>, record::RecordError> {
    let last = match kept {
        Some(bytes) => record::decode::<LastEpoch>(bytes)?.epoch,
        None => Epoch(0),
    };
    record::encode(&LastEpoch { epoch: last.restored() })
}

/// The epoch after the last one, and the compare that lets nobody else have it too.
async fn next_epoch(store: &dyn Store) -> Result<(Epoch, Compare), ElectionError> {
    let key = Key::from(keys::EPOCH);
    if let Some(kv) = store.get(&key, None).await? {
        let last = record::decode::<LastEpoch>(&kv.value)?.epoch;
        return Ok((last.next(), Compare::mod_revision(key, kv.mod_revision)));
    }
    // Before there was a counter, the leader's record counted.
    let last = match store.get(&Key::from(keys::LEADER), None).await? {
        Some(kv) => record::decode::<Leader>(&kv.value)?.epoch,
        None => Epoch(0),
    };
    Ok((last.next(), Compare::absent(key)))
}
