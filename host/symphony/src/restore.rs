//! A backup written into an empty store. While it is under way a marker is in the store, with which no manager starts: a
//! restore that was interrupted is no store, and begins anew when it is run again.
//!
//! ```text
//!   check the file whole ─► marker (the store is empty, or has one) ─► remove what an earlier one left
//!     ─► the keys, in transactions that compare the marker ─► epoch raised, event, marker gone: one transaction
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use symphony_api::backup::{BackupError, Entry, Reader, Summary};
use symphony_cli::{Exit, Failure};
use symphony_control::{clock, restored_epoch};
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::id::EventId;
use symphony_core::record::RecordError;
use symphony_core::{keys, record};
use symphony_store::{Compare, Keys, Range, Revision, Store, Txn};

use crate::folder::Folder;

/// Bytes of the file that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Operations in one transaction.
const BATCH_KEYS: usize = 100;
/// Bytes of one transaction, when there is more than one key in it.
const BATCH_BYTES: usize = 1 << 20;

/// What is in the store while a backup is written into it.
#[derive(Debug, Serialize)]
struct Marker {
    /// Which one: no two restores write at the same time.
    restore: uuid::Uuid,
    /// The backup's digest.
    sha256: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Keys that were written.
    pub(crate) keys: u64,
}

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The file.
    #[error("the backup can't be read")]
    Read(#[from] std::io::Error),
    /// What is in it.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The store.
    #[error("the store can't be used")]
    Store(#[from] symphony_store::Error),
    /// A record.
    #[error("a record can't be written")]
    Record(#[from] RecordError),
    /// The file is another than it was a moment ago.
    #[error("the backup was changed while it was read")]
    Changed,
    /// Somebody else began to restore.
    #[error("another restore writes into the store")]
    Overtaken,
    /// There is something in the store.
    #[error("the store is not empty: {0}")]
    Occupied(String),
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let failure = Self::caused("could not restore the backup", &error);
        match error {
            RestoreError::Occupied(_) => failure
                .exit(Exit::Conflict)
                .hint("restore into a new folder or a new etcd; nothing was changed"),
            RestoreError::Store(_) | RestoreError::Changed | RestoreError::Overtaken => {
                failure.hint("no manager starts on the store now; run it again")
            }
            _ => failure,
        }
    }
}

/// Looks that a file is a backup, and whole.
///
/// # Errors
/// Why not.
pub(crate) fn check(path: &Path) -> Result<Summary, Failure> {
    let checked = read(path);
    checked.map_err(|error| Failure::caused(format!("could not use {}", path.display()), &error))
}

fn read(path: &Path) -> Result<Summary, RestoreError> {
    let mut file = File::open(path)?;
    let mut reader = Reader::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(reader.finish()?),
            read => reader.feed(&piece[..read], drop)?,
        }
    }
}

/// Writes a backup, that was checked, into a store.
///
/// # Errors
/// The store is not empty; it, or the file, can't be used.
pub(crate) async fn restore(store: &dyn Store, path: &Path, checked: &Summary) -> Result<Restored, RestoreError> {
    let mut writing = Writing::begin(store, checked).await?;
    writing.clear().await?;
    let mut file = File::open(path)?;
    let (mut reader, mut entries) = (Reader::new(), Vec::new());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        reader.feed(&piece[..read], |entry| entries.push(entry))?;
        for entry in entries.drain(..) {
            writing.put(entry).await?;
        }
    }
    if reader.finish()? != *checked {
        return Err(RestoreError::Changed);
    }
    writing.finish(checked).await
}

/// Makes the manager of a folder join anew: what it was is not in the store any more. Its key stays.
///
/// # Errors
/// The folder can't be written.
pub(crate) fn forget_identity(folder: &Folder) -> Result<(), Failure> {
    for name in ["identity/cert.pem", "api.token"] {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::caused(format!("could not remove {}", path.display()), &error)
                    .hint("the store is restored; remove it, then start the manager"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A restore under way.
struct Writing<'a> {
    store: &'a dyn Store,
    /// When the marker was written: as long as it is that one, this restore is the only one.
    marked: Revision,
    batch: Vec<Entry>,
    bytes: usize,
    keys: u64,
    epoch: Option<Vec<u8>>,
}

impl<'a> Writing<'a> {
    /// Puts the marker into an empty store, or one that has one.
    async fn begin(store: &'a dyn Store, checked: &Summary) -> Result<Self, RestoreError> {
        let marker = record::encode(&Marker {
            restore: clock::new_uuid(),
            sha256: checked.sha256.hex(),
        })?;
        let mut txn = Txn::new().put(keys::RESTORE, marker);
        match store.get(&keys::RESTORE.into(), None).await? {
            Some(left) => txn = txn.when(Compare::mod_revision(keys::RESTORE, left.mod_revision)),
            None => {
                for root in keys::ROOTS {
                    txn = txn.when(Compare::none_under(root));
                }
            }
        }
        let marked = store.txn(txn).await?;
        if !marked.succeeded {
            return Err(occupied(store).await?);
        }
        symphony_crash::point("symphony.restore.after_marker");
        Ok(Self {
            store,
            marked: marked.revision,
            batch: Vec::new(),
            bytes: 0,
            keys: 0,
            epoch: None,
        })
    }

    /// A transaction that only this restore can make.
    fn txn(&self) -> Txn {
        Txn::new().when(Compare::mod_revision(keys::RESTORE, self.marked))
    }

    async fn commit(&self, txn: Txn) -> Result<(), RestoreError> {
        if self.store.txn(txn).await?.succeeded {
            Ok(())
        } else {
            Err(RestoreError::Overtaken)
        }
    }

    /// Removes all but the marker.
    async fn clear(&self) -> Result<(), RestoreError> {
        for root in keys::ROOTS {
            let mut span = Keys::prefix(root);
            loop {
                let range = Range::new(span.clone()).keys_only().limit(BATCH_KEYS);
                let left = self.store.range(range).await?;
                let Some(last) = left.kvs.last() else { break };
                span = span.after(&last.key);
                let gone = left
                    .kvs
                    .iter()
                    .filter(|kv| kv.key.as_bytes() != keys::RESTORE.as_bytes());
                let txn = gone.fold(self.txn(), |txn, kv| txn.delete(&kv.key));
                self.commit(txn).await?;
            }
        }
        Ok(())
    }

    async fn put(&mut self, entry: Entry) -> Result<(), RestoreError> {
        if entry.key == keys::EPOCH.as_bytes() {
            // Written at the end.
            self.epoch = Some(entry.value);
            return Ok(());
        }
        if !is_restored(&entry.key) {
            return Ok(());
        }
        let bytes = entry.key.len() + entry.value.len();
        if self.batch.len() >= BATCH_KEYS || self.bytes + bytes > BATCH_BYTES {
            self.flush().await?;
        }
        self.bytes += bytes;
        self.batch.push(entry);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RestoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        self.keys += self.batch.len() as u64;
        let entries = std::mem::take(&mut self.batch);
        let txn = entries
            .into_iter()
            .fold(self.txn(), |txn, entry| txn.put(entry.key, entry.value));
        self.commit(txn).await?;
        symphony_crash::point("symphony.restore.after_batch");
        Ok(())
    }

    /// Makes a store of it.
    async fn finish(mut self, checked: &Summary) -> Result<Restored, RestoreError> {
        self.flush().await?;
        let event = told(checked);
        let txn = self
            .txn()
            .put(keys::EPOCH, restored_epoch(self.epoch.as_deref())?)
            .put(keys::event(event.id), record::encode(&event)?)
            .delete(keys::RESTORE);
        symphony_crash::point("symphony.restore.before_end");
        self.commit(txn).await?;
        symphony_crash::point("symphony.restore.after_end");
        Ok(Restored {
            keys: self.keys + u64::from(self.epoch.is_some()),
        })
    }
}

/// Whether a key is written. Managers are let in anew, by whoever can reach the store: their folders may be gone, and then
/// the names would be taken for good.
fn is_restored(key: &[u8]) -> bool {
    let is_ours = keys::ROOTS.iter().any(|root| key.starts_with(root.as_bytes()));
    let left_out = [
        keys::RESTORE,
        keys::LEADER,
        keys::MANAGERS_ALIVE,
        keys::MANAGER_ENROLMENTS,
    ];
    is_ours && !left_out.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
}

fn told(checked: &Summary) -> Event {
    let Summary { header, count, sha256 } = checked;
    let cluster = header.cluster.map(|id| id.to_string()).unwrap_or_default();
    Event {
        id: EventId::new(clock::new_uuid()),
        at: clock::now(),
        severity: Severity::Warning,
        reason: "restored".to_owned(),
        subject: Subject {
            kind: "cluster".to_owned(),
            project: None,
            name: "cluster".to_owned(),
            id: cluster,
        },
        message: format!(
            "restored from a backup of {}: what was done after it is not known",
            header.taken_at
        ),
        details: BTreeMap::from([
            ("revision".to_owned(), header.revision.to_string()),
            ("keys".to_owned(), count.to_string()),
            ("sha256".to_owned(), sha256.hex()),
        ]),
    }
}

/// What is in a store that is not empty.
async fn occupied(store: &dyn Store) -> Result<RestoreError, RestoreError> {
    let mut count = 0;
    for root in keys::ROOTS {
        count += store.range(Range::prefix(root).count_only()).await?.count.unwrap_or(0);
    }
    let members = [
        ("nodes", keys::NODES),
        ("machines", keys::MACHINES),
        ("volumes", keys::VOLUMES),
    ];
    let mut text = format!("{count} keys");
    if let Some(kv) = store.get(&keys::CLUSTER.into(), None).await?
        && let Ok(cluster) = record::decode::<symphony_core::member::Cluster>(&kv.value)
    {
        text = format!("it has cluster {}, {text}", cluster.id);
    }
    for (what, prefix) in members {
        let found = store
            .range(Range::prefix(prefix).count_only())
            .await?
            .count
            .unwrap_or(0);
        if found > 0 {
            text = format!("{text}, {found} {what}");
        }
    }
    Ok(RestoreError::Occupied(text))
}

#[cfg(test)]
mod tests;
