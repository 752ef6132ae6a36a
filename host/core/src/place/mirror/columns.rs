//! What travels to a plugin: columns, symbols, stamps, and the hash of a row that `wit/policy.wit` describes.

use std::sync::Arc;

/// Which state a plugin holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Changes when symbols or row order start anew.
    pub epoch: u64,
    /// The store's revision that the rows are of.
    pub revision: u64,
    /// Wrapping sum of the hashes of all rows.
    pub digest: u64,
}

/// The values of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnData {
    /// Whole numbers.
    U64s(Vec<u64>),
    /// One symbol a row; 0 is none.
    Symbols(Vec<u32>),
    /// Any number of symbols a row: `values[offsets[i]..offsets[i + 1]]`.
    Sets {
        /// One more than rows.
        offsets: Vec<u32>,
        /// Ascending within a row.
        values: Vec<u32>,
    },
}

/// One attribute of all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values.
    pub data: ColumnData,
}

/// Symbols that the plugin does not have yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSymbols {
    /// Number of the first of them.
    pub first: u32,
    /// Their texts.
    pub names: Vec<String>,
}

/// What to send before the next batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The plugin holds what it should.
    None,
    /// Everything.
    Load {
        /// The stamp of what is sent.
        at: Stamp,
        /// Symbols.
        symbols: NewSymbols,
        /// Rows.
        rows: u32,
        /// Columns in the order that the plugin asked for.
        columns: Vec<Column>,
    },
    /// Rows that changed.
    Update {
        /// What the plugin holds.
        base: Stamp,
        /// What it holds afterwards.
        to: Stamp,
        /// Symbols that are new.
        symbols: NewSymbols,
        /// Ascending row numbers.
        rows: Vec<u32>,
        /// Their values.
        columns: Vec<Column>,
    },
}

/// Requests as a plugin takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The state that the answer must be of.
    pub need: Stamp,
    /// Symbols that are new.
    pub symbols: NewSymbols,
    /// For each request its row in `shapes`.
    pub requests: Vec<u32>,
    /// One value per shape.
    pub shapes: Vec<Column>,
}

/// Rows of symbols, one after the other.
pub(super) fn sets(rows: impl Iterator<Item = Arc<[u32]>>) -> ColumnData {
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for row in rows {
        values.extend_from_slice(&row);
        offsets.push(u32::try_from(values.len()).unwrap_or(u32::MAX));
    }
    ColumnData::Sets { offsets, values }
}

/// The hash of each row; `rows` gives their numbers, the columns have one value for each.
pub(super) fn row_hashes(rows: &[u32], columns: &[Column]) -> Vec<u64> {
    let mut hashes: Vec<u64> = rows
        .iter()
        .map(|row| (u64::from(*row) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .collect();
    for column in columns {
        match &column.data {
            ColumnData::U64s(values) => hashes
                .iter_mut()
                .zip(values)
                .for_each(|(hash, value)| mix(hash, *value)),
            ColumnData::Symbols(values) => hashes
                .iter_mut()
                .zip(values)
                .for_each(|(hash, value)| mix(hash, u64::from(*value))),
            ColumnData::Sets { offsets, values } => {
                for (hash, span) in hashes.iter_mut().zip(offsets.windows(2)) {
                    let row = &values[span[0] as usize..span[1] as usize];
                    mix(hash, row.len() as u64);
                    row.iter().for_each(|value| mix(hash, u64::from(*value)));
                }
            }
        }
    }
    hashes
}

fn mix(hash: &mut u64, word: u64) {
    let mixed = (*hash ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    *hash = mixed ^ (mixed >> 32);
}
