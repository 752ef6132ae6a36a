//! What makes a repeated request one: the answer is kept under the request's key, in the same transaction.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use symphony_api::Code;
use symphony_control::clock;
use symphony_core::digest::Digest;
use symphony_core::name::Name;
use symphony_core::{Timestamp, keys};
use symphony_store::{Compare, Store, Txn};

use crate::event::Records as _;
use crate::failure::{Answer, Failure};
use crate::reading::{Stored, load};

/// How long an answer is kept, in hours. Older ones count as absent; the loops take them away.
const KEPT_HOURS: i64 = 24;

/// One key of one client, for one request.
pub(super) struct Ticket {
    /// Where the answer is kept.
    key: String,
    request: Digest,
}

/// A kept answer: the record that was made. `created_at` is what the loops go by when they take it away.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    created_at: Timestamp,
    request: Digest,
    #[serde(alias = "volume")]
    answer: T,
}

/// Whether the request was answered before.
pub(super) enum Replay<T> {
    /// With this.
    Known(Box<Stored<T>>),
    /// It was not; it is still so when this holds.
    New(Compare),
}

impl Ticket {
    /// For a request that asks for one of a kind (`volume`) with this body; none without a key.
    pub(super) fn new(kind: &str, project: &Name, key: Option<&str>, body: &impl Serialize) -> Answer<Option<Self>> {
        let Some(key) = key else { return Ok(None) };
        let unwritable = |error: serde_json::Error| Failure::new(Code::Internal, error.to_string());
        let body = serde_json::to_vec(body).map_err(unwritable)?;
        let request = Sha256::new().chain_update(kind).chain_update([0]).chain_update(&body);
        Ok(Some(Self {
            key: keys::idempotency(project, &Digest::new(Sha256::digest(key.as_bytes()).into())),
            request: Digest::new(request.finalize().into()),
        }))
    }

    /// Looks for a kept answer.
    pub(super) async fn look<T: DeserializeOwned>(&self, store: &dyn Store) -> Answer<Replay<T>> {
        // Of which kind the answer is, is known only when the request is the same.
        let Some(kept) = load::<Kept<serde_json::Value>>(store, &self.key).await? else {
            return Ok(Replay::New(Compare::absent(&self.key)));
        };
        if clock::now().duration_since(kept.value.created_at).as_hours() >= KEPT_HOURS {
            return Ok(Replay::New(Compare::mod_revision(&self.key, kept.revision)));
        }
        if kept.value.request != self.request {
            let detail = "this key was used for another request in the last 24 hours";
            return Err(Failure::field(Code::IdempotencyMismatch, "Idempotency-Key", detail));
        }
        let unreadable = |error: serde_json::Error| Failure::new(Code::Internal, error.to_string());
        Ok(Replay::Known(Box::new(Stored {
            value: serde_json::from_value(kept.value.answer).map_err(unreadable)?,
            revision: kept.revision,
        })))
    }

    /// Keeps the answer, in the transaction that makes it.
    pub(super) fn keep<T: Serialize>(&self, txn: Txn, unanswered: Compare, answer: &T) -> Answer<Txn> {
        let kept = Kept {
            created_at: clock::now(),
            request: self.request,
            answer,
        };
        Ok(txn.when(unanswered).record(self.key.clone(), &kept)?)
    }
}

/// What was answered to the same request, sent twice at once, when the other one was faster.
pub(super) async fn answered<T: DeserializeOwned>(
    ticket: Option<&Ticket>,
    store: &dyn Store,
) -> Answer<Option<Stored<T>>> {
    let Some(ticket) = ticket else { return Ok(None) };
    Ok(match ticket.look(store).await? {
        Replay::Known(stored) => Some(*stored),
        Replay::New(_) => None,
    })
}
