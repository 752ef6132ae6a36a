//! Reading keys, now and at a revision, from a snapshot or from a write transaction under way.

use std::ops::Bound;

use bytes::Bytes;
use redb::{AccessGuard, ReadableTable};

use crate::embedded::tables::{Heads, LiveRow, Meta, decode_version, failed};
use crate::limits::RANGE_BYTES_MAX;
use crate::{Error, Key, KeyValue, Keys, Range, RangeResult, Result, Revision};

/// What is added for each key to the bytes of an answer.
const EACH_BYTES: usize = 64;

/// The two tables that keys are read from.
pub(super) struct View<'v, L, V> {
    pub(super) live: &'v L,
    pub(super) versions: &'v V,
}

/// What happens to an answer that is too large.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// It is an error: a caller that set no limit must not mistake a part for the whole.
    Fails,
    /// It is cut, and says so: inside a transaction other operations may be done already.
    Cuts,
}

impl<L, V> View<'_, L, V>
where
    L: ReadableTable<&'static [u8], LiveRow>,
    V: ReadableTable<(&'static [u8], u64), &'static [u8]>,
{
    /// Reads at `range.at`, or at the newest revision of these tables.
    pub(super) fn range(&self, range: &Range, heads: Heads, overflow: Overflow) -> Result<RangeResult> {
        let mut listing = Listing::new(range, overflow);
        match range.at {
            Some(at) if at.0 > heads.revision => {
                return Err(Error::FutureRevision {
                    requested: at,
                    current: Revision(heads.revision),
                });
            }
            Some(at) if at.0 < heads.compact => {
                return Err(Error::Compacted {
                    requested: at,
                    compact_revision: Revision(heads.compact),
                });
            }
            Some(at) if at.0 < heads.revision => self.list_past(range, at.0, &mut listing)?,
            _ => self.list_live(range, &mut listing)?,
        }
        Ok(listing.finish(heads))
    }

    fn list_live(&self, range: &Range, listing: &mut Listing) -> Result<()> {
        let Some(bounds) = range.keys.bounds() else {
            return Ok(());
        };
        let mut rows = self.live.range::<&[u8]>(bounds).map_err(failed)?;
        while let Some(row) = if range.reverse { rows.next_back() } else { rows.next() } {
            let (key, meta) = row.map_err(failed)?;
            if !listing.wants_more() {
                break;
            }
            let meta = Meta::from_row(meta.value());
            if listing.without_value() {
                listing.add(key.value(), meta, &[])?;
            } else {
                let missing = || missing(key.value(), meta.modified);
                let row = self.version(key.value(), meta.modified)?.ok_or_else(missing)?;
                let (meta, value) = decode_version(meta.modified, row.value())?.ok_or_else(missing)?;
                listing.add(key.value(), meta, value)?;
            }
        }
        Ok(())
    }

    /// Looks up each key's last version up to `at`: two searches a key, however many versions it has.
    fn list_past(&self, range: &Range, at: u64, listing: &mut Listing) -> Result<()> {
        let Some((mut low, mut high)) = range.keys.bounds().map(|(low, high)| version_bounds(low, high)) else {
            return Ok(());
        };
        loop {
            let Some(key) = self.edge(&low, &high, range.reverse)? else {
                return Ok(());
            };
            let last = {
                let mut rows = self
                    .versions
                    .range::<(&[u8], u64)>((&key[..], 0)..=(&key[..], at))
                    .map_err(failed)?;
                rows.next_back().transpose().map_err(failed)?
            };
            if let Some((place, row)) = last
                && let Some((meta, value)) = decode_version(place.value().1, row.value())?
            {
                if !listing.wants_more() {
                    return Ok(());
                }
                listing.add(&key, meta, value)?;
            }
            if range.reverse {
                high = Bound::Excluded((key, 0));
            } else {
                low = Bound::Excluded((key, u64::MAX));
            }
        }
    }

    /// The first (or last) key that has a version between the bounds.
    fn edge(&self, low: &OwnedBound, high: &OwnedBound, last: bool) -> Result<Option<Vec<u8>>> {
        let bounds = (borrowed(low), borrowed(high));
        let mut rows = self.versions.range::<(&[u8], u64)>(bounds).map_err(failed)?;
        let row = if last { rows.next_back() } else { rows.next() };
        let row = row.transpose().map_err(failed)?;
        Ok(row.map(|(place, _)| place.value().0.to_vec()))
    }

    fn version(&self, key: &[u8], modified: u64) -> Result<Option<AccessGuard<'_, &'static [u8]>>> {
        self.versions.get((key, modified)).map_err(failed)
    }

    /// What was written to `key` at `modified`, of which history says that something was; none for its deletion.
    pub(super) fn written_at(&self, key: &[u8], modified: u64) -> Result<Option<KeyValue>> {
        let row = self.version(key, modified)?.ok_or_else(|| missing(key, modified))?;
        let version = decode_version(modified, row.value())?;
        Ok(version.map(|(meta, value)| meta.with_value(Key::from(key), Bytes::copy_from_slice(value))))
    }

    /// What `key` was before `modified`, as far as history is left.
    pub(super) fn version_before(&self, key: &[u8], modified: u64) -> Result<Option<KeyValue>> {
        let mut rows = self
            .versions
            .range::<(&[u8], u64)>((key, 0)..(key, modified))
            .map_err(failed)?;
        let Some((place, row)) = rows.next_back().transpose().map_err(failed)? else {
            return Ok(None);
        };
        let version = decode_version(place.value().1, row.value())?;
        Ok(version.map(|(meta, value)| meta.with_value(Key::from(key), Bytes::copy_from_slice(value))))
    }

    /// Calls `each` for the live keys of a span until it answers false.
    pub(super) fn each_live(&self, keys: &Keys, mut each: impl FnMut(&[u8], Meta) -> Result<bool>) -> Result<()> {
        let Some(bounds) = keys.bounds() else {
            return Ok(());
        };
        for row in self.live.range::<&[u8]>(bounds).map_err(failed)? {
            let (key, meta) = row.map_err(failed)?;
            if !each(key.value(), Meta::from_row(meta.value()))? {
                break;
            }
        }
        Ok(())
    }
}

type OwnedBound = Bound<(Vec<u8>, u64)>;

fn version_bounds(low: Bound<&[u8]>, high: Bound<&[u8]>) -> (OwnedBound, OwnedBound) {
    let low = match low {
        Bound::Included(key) => Bound::Included((key.to_vec(), 0)),
        Bound::Excluded(key) => Bound::Excluded((key.to_vec(), u64::MAX)),
        Bound::Unbounded => Bound::Unbounded,
    };
    let high = match high {
        Bound::Included(key) => Bound::Included((key.to_vec(), u64::MAX)),
        Bound::Excluded(key) => Bound::Excluded((key.to_vec(), 0)),
        Bound::Unbounded => Bound::Unbounded,
    };
    (low, high)
}

fn borrowed(bound: &OwnedBound) -> Bound<(&[u8], u64)> {
    match bound {
        Bound::Included((key, revision)) => Bound::Included((key, *revision)),
        Bound::Excluded((key, revision)) => Bound::Excluded((key, *revision)),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn missing(key: &[u8], modified: u64) -> Error {
    Error::Corrupt {
        what: format!("version {modified} of key {} is missing", Key::from(key)),
    }
}

/// An answer being made.
struct Listing {
    kvs: Vec<KeyValue>,
    limit: usize,
    bytes: usize,
    count: u64,
    more: bool,
    overflow: Overflow,
    keys_only: bool,
    count_only: bool,
}

impl Listing {
    fn new(range: &Range, overflow: Overflow) -> Self {
        Self {
            kvs: Vec::new(),
            limit: range.limit.unwrap_or(usize::MAX),
            bytes: 0,
            count: 0,
            more: false,
            overflow,
            keys_only: range.keys_only,
            count_only: range.count_only,
        }
    }

    fn without_value(&self) -> bool {
        self.keys_only || self.count_only
    }

    /// Called when there is one more key: whether it goes in.
    fn wants_more(&mut self) -> bool {
        let full = self.kvs.len() >= self.limit || self.bytes > RANGE_BYTES_MAX;
        self.more = full && !self.count_only;
        !self.more
    }

    fn add(&mut self, key: &[u8], meta: Meta, value: &[u8]) -> Result<()> {
        self.count += 1;
        if self.count_only {
            return Ok(());
        }
        let value = if self.keys_only { &[] } else { value };
        self.bytes += key.len() + value.len() + EACH_BYTES;
        if self.bytes > RANGE_BYTES_MAX && self.overflow == Overflow::Fails {
            return Err(Error::TooLarge {
                what: "answer",
                max: RANGE_BYTES_MAX,
            });
        }
        let kv = meta.with_value(Key::from(key), Bytes::copy_from_slice(value));
        self.kvs.push(kv);
        Ok(())
    }

    fn finish(self, heads: Heads) -> RangeResult {
        RangeResult {
            revision: Revision(heads.revision),
            kvs: self.kvs,
            more: self.more,
            count: (!self.more).then_some(self.count),
        }
    }
}
