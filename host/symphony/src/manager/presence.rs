//! That a manager is heard of: a record that goes with its lease, for `service list`. Nothing is decided on it.

use std::sync::Arc;
use std::time::Duration;

use symphony_core::member::Alive;
use symphony_core::name::Name;
use symphony_core::{keys, record};
use symphony_store::{Store, Txn};
use tokio_util::sync::CancellationToken;

/// How long a manager counts as there after it was last heard of.
const TTL: Duration = Duration::from_secs(10);
/// How often it says so.
const EVERY: Duration = Duration::from_secs(3);

/// Says that this manager is there, until it stops.
pub(crate) async fn keep(store: Arc<dyn Store>, manager: Name, stop: CancellationToken) {
    let mut lease = None;
    loop {
        let said = match lease {
            Some(lease) => store.keep_alive(lease).await.map(|_| ()),
            None => begin(store.as_ref(), &manager).await.map(|begun| lease = Some(begun)),
        };
        if let Err(error) = said {
            tracing::debug!(%error, "the others are not told that this manager is there");
            lease = None;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    if let Some(lease) = lease {
        _ = store.revoke(lease).await;
    }
}

async fn begin(store: &dyn Store, manager: &Name) -> Result<symphony_store::LeaseId, symphony_store::Error> {
    let lease = store.grant(TTL).await?;
    let alive = Alive {
        manager: manager.clone(),
    };
    let value = record::encode(&alive).unwrap_or_default();
    store
        .txn(Txn::new().put_leased(keys::manager_alive(manager), value, lease))
        .await?;
    Ok(lease)
}
