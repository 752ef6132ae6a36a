//! The shapes of a batch: what its requests want, each told apart by its content.

use crate::policy::{Columns, Request};
use crate::scheduler::columns::{SetRows, Values, misfit};
use crate::scheduler::digest::{mix, row_seed};
use crate::scheduler::symbols::Symbols;
use crate::scheduler::{Batch, Column, Error};

/// The decoded shapes of one batch.
pub(crate) struct Shapes {
    bytes: Vec<u64>,
    pool: Vec<u32>,
    require: SetRows,
    extra: Vec<Values>,
    rows: usize,
}

impl Shapes {
    /// Decodes and checks the shapes, and that each request has one.
    pub(crate) fn new(wanted: Columns, shapes: Vec<Column>, requests: &[u32]) -> Result<Self, Error> {
        let rows = shapes.iter().find_map(|column| match &column.data {
            crate::scheduler::ColumnData::U64s(values) if column.name == "disk.bytes" => Some(values.len()),
            _ => None,
        });
        let rows = rows.ok_or_else(|| missing("disk.bytes"))?;
        let (mut bytes, mut pool, mut require) = (None, None, None);
        let mut extra: Vec<Option<Values>> = vec![None; wanted.request.len()];
        for column in shapes {
            if let Some(wrong) = misfit(&column.data, rows) {
                return Err(Error::Other(format!("request column {} {wrong}", column.name)));
            }
            let own = wanted.request.iter().position(|name| *name == column.name);
            match (column.name.as_str(), Values::new(column.data)) {
                ("disk.bytes", Values::U64s(values)) => bytes = Some(values),
                ("pool", Values::Symbols(values)) => pool = Some(values),
                ("require", Values::Sets(values)) => require = Some(values),
                (_, values) => {
                    if let Some(own) = own {
                        extra[own] = Some(values);
                    }
                }
            }
        }
        let extra = wanted.request.iter().zip(extra);
        let extra = extra.map(|(name, values)| values.ok_or_else(|| missing(name)));
        if let Some(shape) = requests.iter().find(|shape| **shape as usize >= rows) {
            return Err(Error::Other(format!(
                "a request is of shape {shape}, but there are {rows}"
            )));
        }
        Ok(Self {
            bytes: bytes.ok_or_else(|| missing("disk.bytes"))?,
            pool: pool.ok_or_else(|| missing("pool"))?,
            require: require.ok_or_else(|| missing("require"))?,
            extra: extra.collect::<Result<_, _>>()?,
            rows,
        })
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.rows
    }

    /// The policy's own columns.
    pub(crate) fn extra(&self) -> Vec<&Values> {
        self.extra.iter().collect()
    }

    /// The request that has this shape.
    #[inline]
    pub(crate) fn request<'a>(&'a self, shape: usize, extra: &'a [&'a Values], symbols: &'a Symbols) -> Request<'a> {
        Request {
            shape,
            bytes: self.bytes[shape],
            pool: self.pool[shape],
            require: self.require.row(shape),
            extra,
            symbols,
        }
    }

    /// What the shape wants, as words: equal words are equal wants, in this batch and in later ones of the epoch.
    pub(crate) fn words(&self, shape: usize) -> Vec<u64> {
        let require = self.require.row(shape);
        let mut words = vec![self.bytes[shape], u64::from(self.pool[shape]), require.len() as u64];
        words.extend(require.iter().map(|symbol| u64::from(*symbol)));
        for values in &self.extra {
            match values {
                Values::U64s(values) => words.push(values[shape]),
                Values::F32s(values) => words.push(u64::from(values[shape].to_bits())),
                Values::Symbols(values) => words.push(u64::from(values[shape])),
                Values::Sets(rows) => {
                    words.push(rows.row(shape).len() as u64);
                    words.extend(rows.row(shape).iter().map(|symbol| u64::from(*symbol)));
                }
            }
        }
        words
    }
}

/// How often each shape is asked for in a batch, counted up to two.
pub(crate) fn repeats(batch: &Batch, shapes: usize) -> Vec<u8> {
    let mut counts = vec![0_u8; shapes];
    for shape in &batch.requests {
        let count = &mut counts[*shape as usize];
        *count = (*count + 1).min(2);
    }
    counts
}

/// A short name for the words of a shape.
pub(crate) fn fingerprint(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(row_seed(words.len() as u64), |hash, word| mix(hash, *word))
}

fn missing(name: &str) -> Error {
    Error::Unsupported(format!("request column {name} is missing, or of another type"))
}
