//! Takes away what is kept for a time only: old events, and old answers to requests with an `Idempotency-Key`.

use std::time::Duration;

use serde::Deserialize;
use symphony_core::event::EVENTS_MAX;
use symphony_core::{Timestamp, keys};
use symphony_store::{Key, Range, Txn, read_all};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::view::View;
use crate::write::{WriteError, Writer};

/// How often to look.
const EVERY: Duration = Duration::from_secs(10);
/// Most deletions in one transaction.
const SLICE: usize = 100;
/// How long answers are kept, in hours.
const ANSWERS_HOURS: i64 = 24;

/// What of a kept answer matters here.
#[derive(Deserialize)]
struct KeptAnswer {
    created_at: Timestamp,
}

/// Collects until `stop`.
pub(crate) async fn run(writer: Writer, view: View, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = pass(&writer, &view).await {
            tracing::warn!(%error, "old records could not be collected");
        }
    }
}

async fn pass(writer: &Writer, view: &View) -> Result<(), WriteError> {
    loop {
        let old: Vec<String> = {
            let state = view.read();
            let over = state.events.len().saturating_sub(EVENTS_MAX);
            state.events.iter().take(over.min(SLICE)).cloned().collect()
        };
        if old.is_empty() {
            break;
        }
        let txn = old.into_iter().fold(Txn::new(), Txn::delete);
        let revision = writer.commit(txn).await?;
        view.seen(revision).await;
    }
    let answers = read_all(writer.store().as_ref(), Range::prefix(keys::IDEMPOTENCY), 500).await?;
    let now = clock::now();
    let is_old = |value: &[u8]| {
        let kept: Result<KeptAnswer, _> = symphony_core::record::decode(value);
        kept.is_ok_and(|kept| now.duration_since(kept.created_at).as_hours() >= ANSWERS_HOURS)
    };
    let old: Vec<_> = answers
        .kvs
        .into_iter()
        .filter(|kv| is_old(&kv.value))
        .map(|kv| kv.key)
        .collect();
    let expired: Vec<String> = {
        let state = view.read();
        let expired = state.revoked.iter().filter(|(_, revoked)| revoked.value.until <= now);
        expired.map(|(serial, _)| keys::revoked(serial)).collect()
    };
    let old: Vec<Key> = old.into_iter().chain(expired.into_iter().map(Key::from)).collect();
    for slice in old.chunks(SLICE) {
        let txn = slice.iter().cloned().fold(Txn::new(), Txn::delete);
        writer.commit(txn).await?;
    }
    Ok(())
}
