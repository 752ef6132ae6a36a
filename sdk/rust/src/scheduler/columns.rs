//! Columns as a scheduler keeps them, so that a changed row is a write in place.

use crate::scheduler::digest::mix;
use crate::scheduler::{ColumnData, Sets};

/// Rows of variable length, each changeable in place.
#[derive(Debug, Clone, Default)]
pub struct SetRows {
    /// Where each row's symbols start and how many there are.
    spans: Vec<(u32, u32)>,
    values: Vec<u32>,
    /// How many of `values` belong to no row any more.
    dead: usize,
}

impl SetRows {
    /// No rows.
    pub(crate) const EMPTY: Self = Self {
        spans: Vec::new(),
        values: Vec::new(),
        dead: 0,
    };

    /// The row's symbols.
    #[must_use]
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[u32] {
        let (start, len) = self.spans[row];
        &self.values[start as usize..start as usize + len as usize]
    }

    fn new(sets: Sets) -> Self {
        let spans = sets
            .offsets
            .windows(2)
            .map(|pair| (pair[0], pair[1] - pair[0]))
            .collect();
        Self {
            spans,
            values: sets.values,
            dead: 0,
        }
    }

    fn set(&mut self, row: usize, symbols: &[u32]) {
        let (start, len) = self.spans[row];
        if symbols.len() <= len as usize {
            let start = start as usize;
            self.values[start..start + symbols.len()].copy_from_slice(symbols);
            self.dead += len as usize - symbols.len();
            self.spans[row].1 = symbols.len() as u32;
            return;
        }
        self.dead += len as usize;
        self.spans[row] = (self.values.len() as u32, symbols.len() as u32);
        self.values.extend_from_slice(symbols);
        // More than half of it is rubbish: worth a pass over all, which is then paid for by the changes that made it.
        if self.dead > 1024 && self.dead * 2 > self.values.len() {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut values = Vec::with_capacity(self.values.len() - self.dead);
        for (start, len) in &mut self.spans {
            let from = *start as usize;
            *start = values.len() as u32;
            values.extend_from_slice(&self.values[from..from + *len as usize]);
        }
        self.values = values;
        self.dead = 0;
    }
}

/// The values of one column, one per row.
#[derive(Debug, Clone)]
pub enum Values {
    /// Whole numbers.
    U64s(Vec<u64>),
    /// Ratios and loads.
    F32s(Vec<f32>),
    /// One symbol a row.
    Symbols(Vec<u32>),
    /// Any number of symbols a row.
    Sets(SetRows),
}

impl Values {
    pub(crate) fn new(data: ColumnData) -> Self {
        match data {
            ColumnData::U64s(values) => Self::U64s(values),
            ColumnData::F32s(values) => Self::F32s(values),
            ColumnData::Symbols(values) => Self::Symbols(values),
            ColumnData::Sets(sets) => Self::Sets(SetRows::new(sets)),
        }
    }

    /// Goes on with the hashes of all rows.
    pub(crate) fn mix_all(&self, hashes: &mut [u64]) {
        match self {
            Self::U64s(values) => hashes
                .iter_mut()
                .zip(values)
                .for_each(|(hash, value)| *hash = mix(*hash, *value)),
            Self::F32s(values) => {
                hashes
                    .iter_mut()
                    .zip(values)
                    .for_each(|(hash, value)| *hash = mix(*hash, u64::from(value.to_bits())));
            }
            Self::Symbols(values) => {
                hashes
                    .iter_mut()
                    .zip(values)
                    .for_each(|(hash, value)| *hash = mix(*hash, u64::from(*value)));
            }
            Self::Sets(rows) => hashes
                .iter_mut()
                .enumerate()
                .for_each(|(row, hash)| *hash = mix_set(*hash, rows.row(row))),
        }
    }

    /// Goes on with the hash of one row.
    #[inline]
    pub(crate) fn mix_row(&self, row: usize, hash: u64) -> u64 {
        match self {
            Self::U64s(values) => mix(hash, values[row]),
            Self::F32s(values) => mix(hash, u64::from(values[row].to_bits())),
            Self::Symbols(values) => mix(hash, u64::from(values[row])),
            Self::Sets(rows) => mix_set(hash, rows.row(row)),
        }
    }

    /// Whether a delta's column has this one's type.
    pub(crate) fn same_type(&self, data: &ColumnData) -> bool {
        matches!(
            (self, data),
            (Self::U64s(_), ColumnData::U64s(_))
                | (Self::F32s(_), ColumnData::F32s(_))
                | (Self::Symbols(_), ColumnData::Symbols(_))
                | (Self::Sets(_), ColumnData::Sets(_))
        )
    }

    /// Writes the values of changed rows. The types are the same and the lengths checked.
    pub(crate) fn set_rows(&mut self, rows: &[u32], data: &ColumnData) {
        match (self, data) {
            (Self::U64s(to), ColumnData::U64s(from)) => scatter(to, rows, from),
            (Self::F32s(to), ColumnData::F32s(from)) => scatter(to, rows, from),
            (Self::Symbols(to), ColumnData::Symbols(from)) => scatter(to, rows, from),
            (Self::Sets(to), ColumnData::Sets(from)) => {
                for (row, pair) in rows.iter().zip(from.offsets.windows(2)) {
                    to.set(*row as usize, &from.values[pair[0] as usize..pair[1] as usize]);
                }
            }
            _ => {}
        }
    }
}

#[inline]
fn mix_set(hash: u64, symbols: &[u32]) -> u64 {
    symbols.iter().fold(mix(hash, symbols.len() as u64), |hash, symbol| {
        mix(hash, u64::from(*symbol))
    })
}

fn scatter<T: Copy>(to: &mut [T], rows: &[u32], from: &[T]) {
    for (row, value) in rows.iter().zip(from) {
        to[*row as usize] = *value;
    }
}

/// Says what is wrong with a column that should have this many rows.
pub(crate) fn misfit(data: &ColumnData, rows: usize) -> Option<&'static str> {
    let len = match data {
        ColumnData::U64s(values) => values.len(),
        ColumnData::F32s(values) => values.len(),
        ColumnData::Symbols(values) => values.len(),
        ColumnData::Sets(sets) => {
            let ascending = sets.offsets.windows(2).all(|pair| pair[0] <= pair[1]);
            let whole = sets.offsets.first() == Some(&0)
                && sets
                    .offsets
                    .last()
                    .is_some_and(|last| *last as usize == sets.values.len());
            if !(ascending && whole) {
                return Some("has offsets that do not fit its values");
            }
            sets.offsets.len() - 1
        }
    };
    (len != rows).then_some("has not one value per row")
}

#[cfg(test)]
mod tests {
    use super::{SetRows, misfit};
    use crate::scheduler::{ColumnData, Sets};

    #[test]
    fn rows_of_sets_grow_shrink_and_are_compacted() {
        let mut rows = SetRows::new(Sets {
            offsets: vec![0, 2, 2, 3],
            values: vec![5, 6, 7],
        });
        assert_eq!([rows.row(0), rows.row(1), rows.row(2)], [&[5, 6][..], &[], &[7]]);
        for round in 0..2000_u32 {
            rows.set(1, &[round, round + 1, round + 2][..(round % 4).min(3) as usize]);
            rows.set(0, &[round]);
        }
        assert_eq!(
            [rows.row(0), rows.row(1), rows.row(2)],
            [&[1999][..], &[1999, 2000, 2001], &[7]]
        );
        assert!(rows.values.len() < 4096, "{} values are kept for 5", rows.values.len());
    }

    #[test]
    fn offsets_must_fit() {
        for offsets in [vec![], vec![0], vec![0, 2, 1], vec![1, 1, 2], vec![0, 1, 3]] {
            let data = ColumnData::Sets(Sets {
                offsets,
                values: vec![1, 2],
            });
            assert!(misfit(&data, 2).is_some(), "{data:?}");
        }
        assert_eq!(
            misfit(
                &ColumnData::Sets(Sets {
                    offsets: vec![0, 1, 2],
                    values: vec![1, 2]
                }),
                2
            ),
            None
        );
        assert!(misfit(&ColumnData::U64s(vec![1]), 2).is_some());
    }
}
