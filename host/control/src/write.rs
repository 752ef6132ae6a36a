//! Writes of the loops: each compares the leader's epoch, so that a deposed leader changes nothing.

use std::sync::Arc;

use serde::Serialize;
use symphony_core::event::Event;
use symphony_core::{keys, record};
use symphony_store::{Revision, Store, Txn};

use crate::election::Leadership;

/// Why a write of a loop did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Something changed since it was read: look again.
    #[error("the state changed in the meantime")]
    Conflict,
    /// The store refused or can't be reached.
    #[error("the store could not be written")]
    Store(#[from] symphony_store::Error),
    /// A value that can't be written down.
    #[error("a record could not be written")]
    Record(#[from] record::RecordError),
}

/// Writes as the leader.
#[derive(Clone)]
pub(crate) struct Writer {
    store: Arc<dyn Store>,
    leadership: Leadership,
}

impl Writer {
    pub(crate) fn new(store: Arc<dyn Store>, leadership: Leadership) -> Self {
        Self { store, leadership }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// Commits a transaction, if this manager still leads and everything it compares holds.
    pub(crate) async fn commit(&self, txn: Txn) -> Result<Revision, WriteError> {
        let result = self.store.txn(txn.when(self.leadership.fence())).await?;
        if result.succeeded {
            Ok(result.revision)
        } else {
            Err(WriteError::Conflict)
        }
    }
}

/// Adds records to a transaction.
pub(crate) trait TxnRecords: Sized {
    /// Puts a record.
    fn put_record<T: Serialize>(self, key: String, value: &T) -> Result<Self, record::RecordError>;
    /// Puts an event.
    fn tell(self, event: &Event) -> Result<Self, record::RecordError>;
}

impl TxnRecords for Txn {
    fn put_record<T: Serialize>(self, key: String, value: &T) -> Result<Self, record::RecordError> {
        Ok(self.put(key, record::encode(value)?))
    }

    fn tell(self, event: &Event) -> Result<Self, record::RecordError> {
        self.put_record(keys::event(event.id), event)
    }
}
