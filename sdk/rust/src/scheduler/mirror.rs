//! The guest's copy of all rows, and the proof that it is the host's.

use crate::scheduler::columns::{Values, misfit};
use crate::scheduler::digest::row_seed;
use crate::scheduler::symbols::Symbols;
use crate::scheduler::{Delta, Error, Snapshot, Stamp, SymbolNames};

/// All rows as the host told them last. Never changes by itself: what a batch books is not in here.
#[derive(Debug, Clone)]
pub struct Mirror {
    stamp: Stamp,
    symbols: Symbols,
    rows: usize,
    columns: Vec<(String, Values)>,
    hashes: Vec<u64>,
}

impl Default for Mirror {
    fn default() -> Self {
        let stamp = Stamp {
            epoch: 0,
            revision: 0,
            digest: 0,
        };
        Self {
            stamp,
            symbols: Symbols::default(),
            rows: 0,
            columns: Vec::new(),
            hashes: Vec::new(),
        }
    }
}

impl Mirror {
    /// Takes all rows and forgets what it had.
    ///
    /// # Errors
    /// `other` when the columns do not fit each other. The mirror then holds nothing.
    pub fn load(&mut self, snapshot: Snapshot) -> Result<Stamp, Error> {
        *self = Self {
            symbols: std::mem::take(&mut self.symbols),
            ..Self::default()
        };
        self.symbols.clear();
        let rows = snapshot.rows as usize;
        for column in &snapshot.columns {
            if let Some(wrong) = misfit(&column.data, rows) {
                return Err(Error::Other(format!("candidate column {} {wrong}", column.name)));
            }
        }
        self.symbols.extend(snapshot.symbols)?;
        self.rows = rows;
        self.columns = snapshot
            .columns
            .into_iter()
            .map(|column| (column.name, Values::new(column.data)))
            .collect();
        self.hashes = (0..rows as u64).map(row_seed).collect();
        for (_, values) in &self.columns {
            values.mix_all(&mut self.hashes);
        }
        let digest = self.hashes.iter().fold(0_u64, |sum, hash| sum.wrapping_add(*hash));
        self.stamp = Stamp { digest, ..snapshot.at };
        Ok(self.stamp)
    }

    /// Takes changed rows.
    ///
    /// # Errors
    /// `stale` when the delta is not against what the mirror holds; `other` when it does not fit. Nothing is changed
    /// then.
    pub fn update(&mut self, delta: Delta) -> Result<Stamp, Error> {
        self.expect(delta.base)?;
        self.check(&delta)?;
        self.symbols.extend(delta.symbols)?;
        for ((_, values), column) in self.columns.iter_mut().zip(&delta.columns) {
            values.set_rows(&delta.rows, &column.data);
        }
        let mut digest = self.stamp.digest;
        for &row in &delta.rows {
            let row = row as usize;
            let hash = self
                .columns
                .iter()
                .fold(row_seed(row as u64), |hash, (_, values)| values.mix_row(row, hash));
            digest = digest.wrapping_sub(self.hashes[row]).wrapping_add(hash);
            self.hashes[row] = hash;
        }
        self.stamp = Stamp { digest, ..delta.to };
        Ok(self.stamp)
    }

    /// Compares a stamp with the mirror's own.
    ///
    /// # Errors
    /// `stale`, with the stamp that it holds.
    pub fn expect(&self, need: Stamp) -> Result<(), Error> {
        if need == self.stamp {
            Ok(())
        } else {
            Err(Error::Stale(self.stamp))
        }
    }

    /// What it holds.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How many rows it holds.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The strings of its symbols.
    #[must_use]
    pub const fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The values of a column by its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Values> {
        self.position(name).map(|position| self.values(position))
    }

    /// Where a column stands.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(known, _)| known == name)
    }

    /// The values of a column by its place.
    #[inline]
    pub(crate) fn values(&self, position: usize) -> &Values {
        &self.columns[position].1
    }

    /// Adds the names that a batch brings.
    pub(crate) fn learn(&mut self, symbols: SymbolNames) -> Result<(), Error> {
        self.symbols.extend(symbols)
    }

    /// Says why a delta can't be taken.
    fn check(&self, delta: &Delta) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Other(what));
        if delta.rows.windows(2).any(|pair| pair[0] >= pair[1]) {
            return wrong("the rows of a delta are not in ascending order".to_owned());
        }
        if delta.rows.last().is_some_and(|row| *row as usize >= self.rows) {
            return wrong(format!("a delta names a row beyond the {} that there are", self.rows));
        }
        let same = self.columns.len() == delta.columns.len()
            && self
                .columns
                .iter()
                .zip(&delta.columns)
                .all(|((name, values), column)| *name == column.name && values.same_type(&column.data));
        if !same {
            return wrong("the columns of a delta are not those of the snapshot".to_owned());
        }
        for column in &delta.columns {
            if let Some(what) = misfit(&column.data, delta.rows.len()) {
                return wrong(format!("candidate column {} of a delta {what}", column.name));
            }
        }
        Ok(())
    }
}
