//! The election of a store that only one manager can open: it is won at once. Each start is a new epoch.

use std::sync::Arc;

use async_trait::async_trait;
use symphony_core::{keys, record};
use symphony_store::{Compare, Store, Txn};
use tokio_util::sync::CancellationToken;

use super::{Election, ElectionError, LastEpoch, Leader, Leadership, next_epoch};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sole;

#[async_trait]
impl Election for Sole {
    async fn lead(&self, store: &Arc<dyn Store>) -> Result<Leadership, ElectionError> {
        loop {
            let (epoch, unchanged) = next_epoch(store.as_ref()).await?;
            let leader = Leader {
                epoch,
                ..Leader::default()
            };
            let txn = Txn::new()
                .when(unchanged)
                .put(keys::EPOCH, record::encode(&LastEpoch { epoch })?)
                .put(keys::LEADER, record::encode(&leader)?);
            let result = store.txn(txn).await?;
            if result.succeeded {
                return Ok(Leadership {
                    epoch,
                    // The next start writes the record again.
                    fence: Compare::mod_revision(keys::LEADER, result.revision),
                    lost: CancellationToken::new(),
                    lease: None,
                });
            }
        }
    }
}
