//! Who leads. The winner gets an epoch, and every write of its loops compares it: a deposed leader can't write.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use symphony_core::counter::Epoch;
use symphony_core::{keys, record};
use symphony_store::{Compare, Key, Revision, Store, Txn};

/// The leader's own record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Leader {
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
    /// Waits until this manager leads.
    async fn lead(&self, store: &Arc<dyn Store>) -> Result<Leadership, ElectionError>;
}

/// That this manager leads, until somebody else writes the leader's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    epoch: Epoch,
    written_at: Revision,
}

impl Leadership {
    /// The fencing token.
    #[must_use]
    pub fn epoch(self) -> Epoch {
        self.epoch
    }

    /// What every write of the loops compares.
    #[must_use]
    pub fn fence(self) -> Compare {
        Compare::mod_revision(keys::LEADER, self.written_at)
    }
}

/// The election of a store that only one manager can open: it is won at once. Each start is a new epoch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sole;

#[async_trait]
impl Election for Sole {
    async fn lead(&self, store: &Arc<dyn Store>) -> Result<Leadership, ElectionError> {
        let key = Key::from(keys::LEADER);
        loop {
            let old = store.get(&key, None).await?;
            let (epoch, seen) = match &old {
                Some(kv) => (
                    record::decode::<Leader>(&kv.value)?.epoch.next(),
                    Compare::mod_revision(key.clone(), kv.mod_revision),
                ),
                None => (Epoch(1), Compare::absent(key.clone())),
            };
            let txn = Txn::new()
                .when(seen)
                .put(key.clone(), record::encode(&Leader { epoch })?);
            let result = store.txn(txn).await?;
            if result.succeeded {
                return Ok(Leadership {
                    epoch,
                    written_at: result.revision,
                });
            }
        }
    }
}
