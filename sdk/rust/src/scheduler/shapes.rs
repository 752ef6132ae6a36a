//! The shapes of a batch: what its requests want, each told apart by its content.

use crate::policy::{Columns, Request};
use crate::scheduler::columns::{SetRows, Values, misfit};
use crate::scheduler::digest::{mix, row_seed};
use crate::scheduler::symbols::Symbols;
use crate::scheduler::{Batch, Column, ColumnData, Error};

/// The decoded shapes of one batch.
pub(crate) struct Shapes {
    bytes: Vec<u64>,
    cpus: Vec<u64>,
    memory: Vec<u64>,
    pool: Vec<u32>,
    node: Vec<u32>,
    require: SetRows,
    prefer: SetRows,
    avoid: SetRows,
    near: SetRows,
    extra: Vec<Values>,
    rows: usize,
}

impl Shapes {
    /// Decodes and checks the shapes, and that each request has one.
    pub(crate) fn new(wanted: Columns, shapes: Vec<Column>, requests: &[u32]) -> Result<Self, Error> {
        let rows = shapes.iter().find_map(|column| match &column.data {
            ColumnData::U64s(values) if column.name == "disk.bytes" => Some(values.len()),
            _ => None,
        });
        let rows = rows.ok_or_else(|| missing("disk.bytes"))?;
        if let Some(shape) = requests.iter().find(|shape| **shape as usize >= rows) {
            return Err(Error::Other(format!(
                "a request is of shape {shape}, but there are {rows}"
            )));
        }
        let mut given = Given::new(shapes, rows)?;
        let extra = wanted.request.iter().map(|name| given.own(name));
        Ok(Self {
            extra: extra.collect::<Result<_, _>>()?,
            bytes: given.u64s("disk.bytes")?,
            cpus: given.u64s("cpu.count")?,
            memory: given.u64s("memory.bytes")?,
            pool: given.symbols("pool")?,
            node: given.symbols("node")?,
            require: given.sets("require")?,
            prefer: given.sets("prefer")?,
            avoid: given.sets("avoid")?,
            near: given.sets("near")?,
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
            cpus: self.cpus[shape],
            memory: self.memory[shape],
            pool: self.pool[shape],
            node: self.node[shape],
            require: self.require.row(shape),
            prefer: self.prefer.row(shape),
            avoid: self.avoid.row(shape),
            near: self.near.row(shape),
            extra,
            symbols,
        }
    }

    /// What the shape wants, as words: equal words are equal wants, in this batch and in later ones of the epoch.
    pub(crate) fn words(&self, shape: usize) -> Vec<u64> {
        let mut words = vec![
            self.bytes[shape],
            self.cpus[shape],
            self.memory[shape],
            u64::from(self.pool[shape]),
            u64::from(self.node[shape]),
        ];
        let set = |words: &mut Vec<u64>, rows: &SetRows| {
            words.push(rows.row(shape).len() as u64);
            words.extend(rows.row(shape).iter().map(|symbol| u64::from(*symbol)));
        };
        for rows in [&self.require, &self.prefer, &self.avoid, &self.near] {
            set(&mut words, rows);
        }
        for values in &self.extra {
            match values {
                Values::U64s(values) => words.push(values[shape]),
                Values::F32s(values) => words.push(u64::from(values[shape].to_bits())),
                Values::Symbols(values) => words.push(u64::from(values[shape])),
                Values::Sets(rows) => set(&mut words, rows),
            }
        }
        words
    }
}

/// The columns that a batch brought, each taken once.
struct Given(Vec<(String, Option<Values>)>);

impl Given {
    /// Checks that each has one value per shape.
    fn new(columns: Vec<Column>, rows: usize) -> Result<Self, Error> {
        let checked = |column: Column| match misfit(&column.data, rows) {
            Some(wrong) => Err(Error::Other(format!("request column {} {wrong}", column.name))),
            None => Ok((column.name, Some(Values::new(column.data)))),
        };
        columns.into_iter().map(checked).collect::<Result<_, _>>().map(Self)
    }

    /// A column of the policy's own; a copy where it is a standard one as well.
    fn own(&mut self, name: &str) -> Result<Values, Error> {
        let column = self.0.iter_mut().find(|(known, _)| known == name);
        let values = column.and_then(|(_, values)| {
            if Columns::is_of_requests(name) {
                values.clone()
            } else {
                values.take()
            }
        });
        values.ok_or_else(|| missing(name))
    }

    fn take(&mut self, name: &str) -> Option<Values> {
        self.0.iter_mut().find(|(known, _)| known == name)?.1.take()
    }

    fn u64s(&mut self, name: &str) -> Result<Vec<u64>, Error> {
        match self.take(name) {
            Some(Values::U64s(values)) => Ok(values),
            _ => Err(missing(name)),
        }
    }

    fn symbols(&mut self, name: &str) -> Result<Vec<u32>, Error> {
        match self.take(name) {
            Some(Values::Symbols(values)) => Ok(values),
            _ => Err(missing(name)),
        }
    }

    fn sets(&mut self, name: &str) -> Result<SetRows, Error> {
        match self.take(name) {
            Some(Values::Sets(values)) => Ok(values),
            _ => Err(missing(name)),
        }
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
