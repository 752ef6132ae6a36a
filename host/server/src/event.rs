//! Events of what clients ask for, and transactions that write them with the change.

use std::collections::BTreeMap;

use serde::Serialize;
use symphony_control::clock;
use symphony_core::condition::MESSAGE_BYTES_MAX;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::id::EventId;
use symphony_core::meta::Meta;
use symphony_core::record::RecordError;
use symphony_core::{keys, record};
use symphony_store::Txn;

/// Something that a client brought about, now.
pub(crate) fn event(reason: &str, subject: Subject, message: impl Into<String>) -> Event {
    let mut message: String = message.into();
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    Event {
        id: EventId::new(clock::new_uuid()),
        at: clock::now(),
        severity: Severity::Normal,
        reason: reason.to_owned(),
        subject,
        message,
        details: BTreeMap::new(),
    }
}

/// A resource of a tenant.
pub(crate) fn about<Id: ToString>(kind: &str, meta: &Meta<Id>) -> Subject {
    let project = (kind != "node").then(|| meta.project.clone());
    Subject {
        kind: kind.to_owned(),
        project,
        name: meta.name.to_string(),
        id: meta.id.to_string(),
    }
}

/// Adds records to a transaction.
pub(crate) trait Records: Sized {
    /// Puts a record.
    fn record<T: Serialize>(self, key: String, value: &T) -> Result<Self, RecordError>;
    /// Puts an event.
    fn tell(self, event: &Event) -> Result<Self, RecordError>;
}

impl Records for Txn {
    fn record<T: Serialize>(self, key: String, value: &T) -> Result<Self, RecordError> {
        Ok(self.put(key, record::encode(value)?))
    }

    fn tell(self, event: &Event) -> Result<Self, RecordError> {
        self.record(keys::event(event.id), event)
    }
}
