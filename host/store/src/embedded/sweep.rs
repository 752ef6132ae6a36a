//! Removing compacted history, a slice at a time.
//!
//! Compaction itself is one number: nothing before it may be read from then on. The rows go later, oldest first, a
//! bounded number with each commit. What is left to do can be seen in the log, so a kill in between loses nothing.

use redb::ReadableTable as _;

use crate::Result;
use crate::embedded::tables::{GONE, Tables, failed};

/// Removes up to `rows_max` changes before the revision `compact`; answers how many.
///
/// A change at `compact` itself stays: it can still be watched. Of each key the last version before stays too, unless it
/// is a deletion, for it is what a read at `compact` finds.
pub(super) fn sweep(tables: &mut Tables<'_>, compact: u64, rows_max: usize) -> Result<usize> {
    let mut changes = Vec::new();
    for row in tables.log.range((0, 0)..(compact, 0)).map_err(failed)?.take(rows_max) {
        let (place, key) = row.map_err(failed)?;
        changes.push((place.value(), key.value().to_vec()));
    }
    for ((revision, position), key) in &changes {
        let (revision, key) = (*revision, &key[..]);
        // Since the oldest changes go first, there is no more than one older version.
        let mut older = Vec::new();
        for row in tables
            .versions
            .range::<(&[u8], u64)>((key, 0)..(key, revision))
            .map_err(failed)?
        {
            older.push(row.map_err(failed)?.0.value().1);
        }
        for revision in older {
            tables.versions.remove((key, revision)).map_err(failed)?;
        }
        let gone = {
            let row = tables.versions.get((key, revision)).map_err(failed)?;
            row.is_some_and(|row| row.value() == GONE)
        };
        if gone {
            tables.versions.remove((key, revision)).map_err(failed)?;
        }
        tables.log.remove((revision, *position)).map_err(failed)?;
    }
    Ok(changes.len())
}
