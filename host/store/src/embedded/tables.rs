//! The tables of the file and how rows are written. Format 1.
//!
//! ```text
//!   meta        name                -> number            format, revision, compact revision, last lease
//!   live        key                 -> mod, create, version, lease       what exists now
//!   versions    key, mod revision   -> state, create, version, lease, value   every version that is left
//!   log         revision, position  -> key               what changed, in order
//!   leases      lease               -> time to live in ms
//!   lease_keys  lease, key          -> ()
//! ```
//! A value is stored once, in `versions`, which is in the order of keys: a list at the newest revision reads `live` and
//! `versions` side by side. A deletion is a version with the state "gone".

use bytes::Bytes;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::{Error, Key, KeyValue, LeaseId, Result, Revision};

pub(super) const FORMAT: u64 = 1;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const LIVE: TableDefinition<'_, &[u8], LiveRow> = TableDefinition::new("live");
pub(super) const VERSIONS: TableDefinition<'_, (&[u8], u64), &[u8]> = TableDefinition::new("versions");
pub(super) const LOG: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("log");
pub(super) const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");
pub(super) const LEASE_KEYS: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("lease_keys");

/// Mod revision, create revision, version, lease (0 = none).
pub(super) type LiveRow = (u64, u64, u64, u64);

/// What `live` says of a key; all 0 when it does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Meta {
    pub(super) modified: u64,
    pub(super) created: u64,
    pub(super) version: u64,
    pub(super) lease: u64,
}

impl Meta {
    pub(super) fn from_row((modified, created, version, lease): LiveRow) -> Self {
        Self {
            modified,
            created,
            version,
            lease,
        }
    }

    pub(super) fn row(self) -> LiveRow {
        (self.modified, self.created, self.version, self.lease)
    }

    pub(super) fn with_value(self, key: Key, value: Bytes) -> KeyValue {
        KeyValue {
            key,
            value,
            create_revision: Revision(self.created),
            mod_revision: Revision(self.modified),
            version: self.version,
            lease: (self.lease != 0).then_some(LeaseId(self.lease)),
        }
    }
}

const STATE_GONE: u8 = 0;
const STATE_PUT: u8 = 1;
const HEAD_BYTES: usize = 1 + 3 * 8;

pub(super) const GONE: &[u8] = &[STATE_GONE];

pub(super) fn encode_put(meta: Meta, value: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(HEAD_BYTES + value.len());
    row.push(STATE_PUT);
    for number in [meta.created, meta.version, meta.lease] {
        row.extend_from_slice(&number.to_le_bytes());
    }
    row.extend_from_slice(value);
    row
}

/// The version of a key that was written at `modified`; none when that was its deletion.
pub(super) fn decode_version(modified: u64, row: &[u8]) -> Result<Option<(Meta, &[u8])>> {
    match row.split_first() {
        Some((&STATE_GONE, [])) => Ok(None),
        Some((&STATE_PUT, rest)) if rest.len() >= HEAD_BYTES - 1 => {
            let (created, rest) = number(rest);
            let (version, rest) = number(rest);
            let (lease, value) = number(rest);
            let meta = Meta {
                modified,
                created,
                version,
                lease,
            };
            Ok(Some((meta, value)))
        }
        _ => Err(Error::Corrupt {
            what: format!("version row of revision {modified} with {} bytes", row.len()),
        }),
    }
}

fn number(row: &[u8]) -> (u64, &[u8]) {
    let (number, rest) = row.split_at(8);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(number);
    (u64::from_le_bytes(bytes), rest)
}

/// The numbers that every transaction needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) revision: u64,
    pub(super) compact: u64,
    pub(super) last_lease: u64,
}

impl Heads {
    /// Of a store in which nothing was written.
    pub(super) const NEW: Self = Self {
        revision: 1,
        compact: 0,
        last_lease: 0,
    };

    pub(super) fn load(meta: &impl ReadableTable<&'static str, u64>) -> Result<Self> {
        let number = |name: &'static str| {
            let row = meta.get(name).map_err(failed)?;
            row.map(|row| row.value()).ok_or_else(|| Error::Corrupt {
                what: format!("{name} is missing"),
            })
        };
        Ok(Self {
            revision: number("revision")?,
            compact: number("compact")?,
            last_lease: number("last_lease")?,
        })
    }

    pub(super) fn save(self, meta: &mut Table<'_, &'static str, u64>) -> Result<()> {
        meta.insert("revision", self.revision).map_err(failed)?;
        meta.insert("compact", self.compact).map_err(failed)?;
        meta.insert("last_lease", self.last_lease).map_err(failed)?;
        Ok(())
    }
}

/// All tables, opened for writing.
pub(super) struct Tables<'t> {
    pub(super) meta: Table<'t, &'static str, u64>,
    pub(super) live: Table<'t, &'static [u8], LiveRow>,
    pub(super) versions: Table<'t, (&'static [u8], u64), &'static [u8]>,
    pub(super) log: Table<'t, (u64, u32), &'static [u8]>,
    pub(super) leases: Table<'t, u64, u64>,
    pub(super) lease_keys: Table<'t, (u64, &'static [u8]), ()>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(tx: &'t WriteTransaction) -> Result<Self> {
        Ok(Self {
            meta: tx.open_table(META).map_err(failed)?,
            live: tx.open_table(LIVE).map_err(failed)?,
            versions: tx.open_table(VERSIONS).map_err(failed)?,
            log: tx.open_table(LOG).map_err(failed)?,
            leases: tx.open_table(LEASES).map_err(failed)?,
            lease_keys: tx.open_table(LEASE_KEYS).map_err(failed)?,
        })
    }
}

/// What an error of redb means here.
pub(super) fn failed(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Corrupted(what) => Error::Corrupt { what },
        redb::Error::DatabaseClosed => Error::Closed,
        error => Error::Failed {
            source: std::sync::Arc::new(error),
        },
    }
}
