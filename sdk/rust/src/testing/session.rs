//! The host's end of the protocol, natively: symbols, columns, stamps, and an own computation of the digest.

use std::collections::HashMap;

use super::cluster::{Cluster, Row, Want};
use crate::scheduler::{
    Batch, Column, ColumnData, Decisions, Delta, Error, NO_ROW, RawScheduler, Removed, Sets, Snapshot, Stamp,
    SymbolNames, Verdict, mix, row_seed,
};

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Placed {
    /// It has a place.
    At {
        /// The row of the cluster.
        row: usize,
        /// The node's name.
        node: String,
        /// The pool's name.
        pool: String,
        /// The row's score.
        score: f32,
    },
    /// It has none; so many rows were removed by each filter.
    Nowhere(Vec<Removed>),
}

impl Placed {
    /// The node's name.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::At { node, .. } => Some(node),
            Self::Nowhere(_) => None,
        }
    }

    /// The row of the cluster.
    #[must_use]
    pub const fn row(&self) -> Option<usize> {
        match self {
            Self::At { row, .. } => Some(*row),
            Self::Nowhere(_) => None,
        }
    }
}

/// A scheduler that was loaded with a cluster, and what the host knows about it.
pub struct Session<S> {
    scheduler: S,
    cluster: Cluster,
    candidate_columns: Vec<String>,
    request_columns: Vec<String>,
    interner: Interner,
    stamp: Stamp,
}

impl<S: RawScheduler> Session<S> {
    /// Loads the scheduler.
    ///
    /// # Panics
    /// When it refuses the cluster or answers another stamp than the host's.
    #[must_use]
    pub fn start(scheduler: S, cluster: Cluster) -> Self {
        let descriptor = S::describe();
        let mut session = Self {
            scheduler,
            cluster,
            candidate_columns: descriptor.candidate_columns,
            request_columns: descriptor.request_columns,
            interner: Interner::default(),
            stamp: Stamp {
                epoch: 1,
                revision: 1,
                digest: 0,
            },
        };
        let snapshot = session.snapshot();
        session.stamp = snapshot.at;
        let answer = session.scheduler.load(snapshot);
        assert_eq!(answer, Ok(session.stamp), "the stamp after load");
        session
    }

    /// All rows, as a load hands them over. Starts the symbols anew.
    pub fn snapshot(&mut self) -> Snapshot {
        self.interner = Interner::default();
        let columns = self.columns(&(0..self.cluster.rows().len()).collect::<Vec<_>>());
        let at = Stamp {
            digest: self.digest(),
            ..self.stamp
        };
        let rows = self.cluster.rows().len() as u32;
        Snapshot {
            at,
            symbols: self.interner.fresh(),
            rows,
            columns,
        }
    }

    /// The batch that asks for these wants, equal ones as one shape.
    pub fn batch(&mut self, wants: &[Want]) -> Batch {
        let mut shapes: Vec<&Want> = Vec::new();
        let mut known: HashMap<&Want, u32> = HashMap::new();
        let mut requests = Vec::with_capacity(wants.len());
        for want in wants {
            requests.push(*known.entry(want).or_insert_with(|| {
                shapes.push(want);
                shapes.len() as u32 - 1
            }));
        }
        let names = self.request_columns.clone();
        let columns = names
            .into_iter()
            .map(|name| request_column(&mut self.interner, name, &shapes))
            .collect();
        Batch {
            need: self.stamp,
            seed: 0,
            symbols: self.interner.fresh(),
            requests,
            shapes: columns,
        }
    }

    /// Places requests in one batch; the cluster stays as it is until [`Self::commit`].
    ///
    /// # Panics
    /// When the scheduler breaks the protocol.
    pub fn place(&mut self, wants: &[Want]) -> Vec<Placed> {
        let batch = self.batch(wants);
        let answer = self.scheduler.place(batch);
        let answer = answer.unwrap_or_else(|error| panic!("place failed: {error:?}"));
        self.read(answer, wants.len())
    }

    /// Gives every row's outcome for the last of these requests.
    ///
    /// # Panics
    /// When the scheduler can't say.
    pub fn explain(&mut self, wants: &[Want]) -> Vec<Verdict> {
        let batch = self.batch(wants);
        self.scheduler
            .explain(batch)
            .unwrap_or_else(|error| panic!("explain failed: {error:?}"))
    }

    /// Takes what was placed from the cluster and tells the scheduler.
    pub fn commit(&mut self, placed: &[Placed], wants: &[Want]) {
        let mut rows = Vec::new();
        for (row, want) in placed
            .iter()
            .map(Placed::row)
            .zip(wants)
            .filter_map(|(row, want)| Some((row?, want)))
        {
            let place = &mut self.cluster.rows_mut()[row];
            place.free = place.free.saturating_sub(want.bytes);
            place.cpus_free = place.cpus_free.saturating_sub(want.cpus);
            place.memory_free = place.memory_free.saturating_sub(want.memory);
            rows.extend(self.cluster.share_node(row));
        }
        self.tell(rows);
    }

    /// Changes rows and tells the scheduler. The processors and the memory of a changed row become those of all rows of
    /// its node.
    pub fn change(&mut self, rows: &[usize], mut change: impl FnMut(&mut Row)) {
        let mut changed = Vec::new();
        for &row in rows {
            change(&mut self.cluster.rows_mut()[row]);
            changed.extend(self.cluster.share_node(row));
        }
        self.tell(changed);
    }

    /// The delta that brings these rows up to date. The session then expects the scheduler to have taken it.
    pub fn delta(&mut self, mut rows: Vec<usize>) -> Delta {
        rows.sort_unstable();
        rows.dedup();
        let columns = self.columns(&rows);
        let base = self.stamp;
        self.stamp = Stamp {
            revision: base.revision + 1,
            digest: self.digest(),
            ..base
        };
        let rows = rows.into_iter().map(|row| row as u32).collect();
        Delta {
            base,
            to: self.stamp,
            symbols: self.interner.fresh(),
            rows,
            columns,
        }
    }

    /// What is there now.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The scheduler, for calls of one's own.
    pub const fn scheduler(&mut self) -> &mut S {
        &mut self.scheduler
    }

    fn tell(&mut self, rows: Vec<usize>) {
        let delta = self.delta(rows);
        let answer = self.scheduler.update(delta);
        assert_eq!(answer, Ok(self.stamp), "the stamp after update");
    }

    fn read(&self, answer: Decisions, requests: usize) -> Vec<Placed> {
        assert_eq!(answer.at, self.stamp, "the stamp of the answer");
        assert_eq!(
            (answer.rows.len(), answer.scores.len()),
            (requests, requests),
            "the answer's length"
        );
        let mut unplaceable = answer.unplaceable.into_iter();
        let mut read = |(position, (row, score)): (usize, (u32, f32))| {
            if row == NO_ROW {
                let entry = unplaceable.next().expect("an entry for each request without a place");
                assert_eq!(entry.request as usize, position, "the request of an entry");
                return Placed::Nowhere(entry.removed);
            }
            assert!(!score.is_nan(), "a score is not a number");
            let Row { node, pool, .. } = &self.cluster.rows()[row as usize];
            Placed::At {
                row: row as usize,
                node: node.clone(),
                pool: pool.clone(),
                score,
            }
        };
        answer
            .rows
            .into_iter()
            .zip(answer.scores)
            .enumerate()
            .map(&mut read)
            .collect()
    }

    fn columns(&mut self, rows: &[usize]) -> Vec<Column> {
        let names = self.candidate_columns.clone();
        let all = self.cluster.rows();
        let picked: Vec<&Row> = rows.iter().map(|row| &all[*row]).collect();
        let ratio = |name: &str| all.iter().any(|row| row.ratios.iter().any(|(known, _)| known == name));
        let column = |name: String| {
            let is_ratio = ratio(&name);
            candidate_column(&mut self.interner, name, is_ratio, &picked)
        };
        names.into_iter().map(column).collect()
    }

    /// The digest, straight from the definition in `wit/policy.wit`: row by row, and all rows anew each time.
    fn digest(&mut self) -> u64 {
        let columns = self.columns(&(0..self.cluster.rows().len()).collect::<Vec<_>>());
        let hash = |row: usize| {
            columns
                .iter()
                .fold(row_seed(row as u64), |hash, column| match &column.data {
                    ColumnData::U64s(values) => mix(hash, values[row]),
                    ColumnData::F32s(values) => mix(hash, u64::from(values[row].to_bits())),
                    ColumnData::Symbols(values) => mix(hash, u64::from(values[row])),
                    ColumnData::Sets(sets) => {
                        let symbols = &sets.values[sets.offsets[row] as usize..sets.offsets[row + 1] as usize];
                        symbols.iter().fold(mix(hash, symbols.len() as u64), |hash, symbol| {
                            mix(hash, u64::from(*symbol))
                        })
                    }
                })
        };
        (0..self.cluster.rows().len()).map(hash).fold(0, u64::wrapping_add)
    }
}

impl<S: RawScheduler> Session<S> {
    /// A call of one's own with a batch, for what the protocol forbids.
    ///
    /// # Errors
    /// Whatever the scheduler answers.
    pub fn place_batch(&mut self, batch: Batch) -> Result<Decisions, Error> {
        self.scheduler.place(batch)
    }
}

fn candidate_column(interner: &mut Interner, name: String, is_ratio: bool, rows: &[&Row]) -> Column {
    let data = match name.as_str() {
        "node" => ColumnData::Symbols(rows.iter().map(|row| interner.number(&row.node)).collect()),
        "pool" => ColumnData::Symbols(rows.iter().map(|row| interner.number(&row.pool)).collect()),
        "schedulable" => ColumnData::U64s(rows.iter().map(|row| u64::from(row.schedulable)).collect()),
        "disk.total" => ColumnData::U64s(rows.iter().map(|row| row.total).collect()),
        "disk.free" => ColumnData::U64s(rows.iter().map(|row| row.free).collect()),
        "cpu.total" => ColumnData::U64s(rows.iter().map(|row| row.cpus_total).collect()),
        "cpu.free" => ColumnData::U64s(rows.iter().map(|row| row.cpus_free).collect()),
        "memory.total" => ColumnData::U64s(rows.iter().map(|row| row.memory_total).collect()),
        "memory.free" => ColumnData::U64s(rows.iter().map(|row| row.memory_free).collect()),
        "labels" => ColumnData::Sets(sets(interner, rows.iter().map(|row| row.labels.as_slice()))),
        own if is_ratio => ColumnData::F32s(rows.iter().map(|row| value_of(&row.ratios, own)).collect()),
        own => ColumnData::U64s(rows.iter().map(|row| value_of(&row.numbers, own)).collect()),
    };
    Column { name, data }
}

fn request_column(interner: &mut Interner, name: String, shapes: &[&Want]) -> Column {
    let mut names = |of: fn(&Want) -> Option<&str>| {
        let symbol = |want: &&Want| of(want).map_or(0, |name| interner.number(name));
        ColumnData::Symbols(shapes.iter().map(symbol).collect())
    };
    let data = match name.as_str() {
        "disk.bytes" => ColumnData::U64s(shapes.iter().map(|want| want.bytes).collect()),
        "cpu.count" => ColumnData::U64s(shapes.iter().map(|want| want.cpus).collect()),
        "memory.bytes" => ColumnData::U64s(shapes.iter().map(|want| want.memory).collect()),
        "pool" => names(|want| want.pool.as_deref()),
        "node" => names(|want| want.node.as_deref()),
        "require" => ColumnData::Sets(sets(interner, shapes.iter().map(|want| want.require.as_slice()))),
        "prefer" => ColumnData::Sets(sets(interner, shapes.iter().map(|want| want.prefer.as_slice()))),
        "avoid" => ColumnData::Sets(sets(interner, shapes.iter().map(|want| want.avoid.as_slice()))),
        "near" => ColumnData::Sets(sets(interner, shapes.iter().map(|want| want.near.as_slice()))),
        own => ColumnData::U64s(shapes.iter().map(|want| value_of(&want.numbers, own)).collect()),
    };
    Column { name, data }
}

fn value_of<T: Copy + Default>(values: &[(String, T)], name: &str) -> T {
    values
        .iter()
        .find(|(known, _)| known == name)
        .map_or_else(T::default, |(_, value)| *value)
}

fn sets<'a>(interner: &mut Interner, rows: impl Iterator<Item = &'a [String]>) -> Sets {
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for row in rows {
        let mut symbols: Vec<u32> = row.iter().map(|text| interner.number(text)).collect();
        symbols.sort_unstable();
        symbols.dedup();
        values.extend(symbols);
        offsets.push(values.len() as u32);
    }
    Sets { offsets, values }
}

/// Numbers for strings, and which of them the scheduler was not told yet.
#[derive(Default)]
struct Interner {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    told: usize,
}

impl Interner {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.names.push(text.to_owned());
        let number = self.names.len() as u32;
        self.numbers.insert(text.to_owned(), number);
        number
    }

    fn fresh(&mut self) -> SymbolNames {
        let names = SymbolNames {
            first: self.told as u32 + 1,
            names: self.names[self.told..].to_vec(),
        };
        self.told = self.names.len();
        names
    }
}
