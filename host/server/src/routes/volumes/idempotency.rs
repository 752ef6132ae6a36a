//! What makes a repeated request one: the answer is kept under the request's key, in the same transaction.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use symphony_api::Code;
use symphony_api::v1::CreateVolume;
use symphony_control::clock;
use symphony_core::digest::Digest;
use symphony_core::name::Name;
use symphony_core::volume::Volume;
use symphony_core::{Timestamp, keys};
use symphony_store::{Compare, Store};

use crate::failure::{Answer, Failure};
use crate::reading::{Stored, load};

/// How long an answer is kept, in hours. Older ones count as absent; the loops take them away.
const KEPT_HOURS: i64 = 24;

/// One key of one client, for one request.
pub(super) struct Ticket {
    /// Where the answer is kept.
    pub(super) key: String,
    request: Digest,
}

/// A kept answer. `created_at` is what the loops go by when they take it away.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    created_at: Timestamp,
    request: Digest,
    volume: Volume,
}

/// Whether the request was answered before.
pub(super) enum Replay {
    /// With this.
    Known(Box<Stored<Volume>>),
    /// It was not; it is still so when this holds.
    New(Compare),
}

impl Ticket {
    pub(super) fn new(project: &Name, key: &str, body: &CreateVolume) -> Answer<Self> {
        let unwritable = |error: serde_json::Error| Failure::new(Code::Internal, error.to_string());
        let body = serde_json::to_vec(body).map_err(unwritable)?;
        let digest = |bytes: &[u8]| Digest::new(Sha256::digest(bytes).into());
        Ok(Self {
            key: keys::idempotency(project, &digest(key.as_bytes())),
            request: digest(&body),
        })
    }

    /// Looks for a kept answer.
    pub(super) async fn look(&self, store: &dyn Store) -> Answer<Replay> {
        let Some(kept) = load::<Kept>(store, &self.key).await? else {
            return Ok(Replay::New(Compare::absent(&self.key)));
        };
        if clock::now().duration_since(kept.value.created_at).as_hours() >= KEPT_HOURS {
            return Ok(Replay::New(Compare::mod_revision(&self.key, kept.revision)));
        }
        if kept.value.request != self.request {
            let detail = "this key was used for another request in the last 24 hours";
            return Err(Failure::field(Code::IdempotencyMismatch, "Idempotency-Key", detail));
        }
        Ok(Replay::Known(Box::new(Stored {
            value: kept.value.volume,
            revision: kept.revision,
        })))
    }

    /// The answer to keep.
    pub(super) fn answer(&self, volume: &Volume) -> Kept {
        Kept {
            created_at: clock::now(),
            request: self.request,
            volume: volume.clone(),
        }
    }
}
