//! The candidates as a resident plugin holds them: named columns, symbols, and a digest that proves both hold the same.
//!
//! The host keeps one mirror per plugin instance. It says what to send: everything once, then the rows that changed.
//! The digest is the one that `wit/policy.wit` describes.

mod columns;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::labels::Labels;
use crate::name::Name;

use super::candidate::{Candidate, Candidates};
use super::request::Request;
pub use columns::{Batch, Change, Column, ColumnData, NewSymbols, Stamp};
use columns::{row_hashes, sets};

/// Most columns that a plugin may ask for.
pub const COLUMNS_MAX: usize = 64;
/// Most symbols in one epoch; past it the mirror starts a new one.
pub const SYMBOLS_MAX: usize = 1 << 20;

/// A column that this version of the host does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {side} column named {name:?}")]
pub struct UnknownColumn {
    side: &'static str,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CandidateColumn {
    Node,
    Pool,
    Schedulable,
    DiskTotal,
    DiskFree,
    CpuTotal,
    CpuFree,
    MemoryTotal,
    MemoryFree,
    Labels,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestColumn {
    DiskBytes,
    CpuCount,
    MemoryBytes,
    Pool,
    Node,
    Require,
    Prefer,
    Avoid,
    Near,
}

/// What one instance of a plugin holds.
#[derive(Debug)]
pub struct Mirror {
    candidate_columns: Vec<(CandidateColumn, String)>,
    request_columns: Vec<(RequestColumn, String)>,
    symbols: HashMap<String, u32>,
    /// The symbols of whole label sets: nodes are many, their label sets few.
    label_sets: HashMap<Labels, Arc<[u32]>>,
    unsent: NewSymbols,
    held: Vec<Arc<Candidate>>,
    hashes: Vec<u64>,
    stamp: Stamp,
    loaded: bool,
}

impl Mirror {
    /// An empty mirror for a plugin that asked for these columns.
    ///
    /// # Errors
    /// When it asked for one that does not exist.
    pub fn new(epoch: u64, candidate_columns: &[String], request_columns: &[String]) -> Result<Self, UnknownColumn> {
        Ok(Self {
            candidate_columns: candidate_columns
                .iter()
                .map(|name| Ok((candidate_column(name)?, name.clone())))
                .collect::<Result<_, _>>()?,
            request_columns: request_columns
                .iter()
                .map(|name| Ok((request_column(name)?, name.clone())))
                .collect::<Result<_, _>>()?,
            symbols: HashMap::new(),
            label_sets: HashMap::new(),
            unsent: NewSymbols {
                first: 1,
                names: Vec::new(),
            },
            held: Vec::new(),
            hashes: Vec::new(),
            stamp: Stamp {
                epoch,
                revision: 0,
                digest: 0,
            },
            loaded: false,
        })
    }

    /// The state that the plugin holds once it took all changes.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Takes the candidates over and says what the plugin must be sent. Rows that are the same in memory are taken as
    /// unchanged (see [`Candidates::refreshed`]).
    pub fn follow(&mut self, candidates: &Candidates) -> Change {
        let same_rows = self.loaded
            && self.symbols.len() < SYMBOLS_MAX
            && self.held.len() == candidates.rows().len()
            && self
                .held
                .iter()
                .zip(candidates.rows())
                .all(|(old, new)| Arc::ptr_eq(old, new) || same_place(old, new));
        if same_rows {
            self.follow_rows(candidates)
        } else {
            self.load(candidates)
        }
    }

    /// The requests as the plugin takes them; equal ones share a shape.
    pub fn batch(&mut self, requests: &[Request]) -> Batch {
        let mut shape_of: HashMap<Shape<'_>, u32> = HashMap::new();
        let mut shapes: Vec<&Request> = Vec::new();
        let mut rows = Vec::with_capacity(requests.len());
        for request in requests {
            let row = *shape_of.entry(shape(request)).or_insert_with(|| {
                shapes.push(request);
                u32::try_from(shapes.len() - 1).unwrap_or(u32::MAX)
            });
            rows.push(row);
        }
        let columns = self.request_columns.clone();
        let shapes = columns
            .into_iter()
            .map(|(column, name)| {
                let data = match column {
                    RequestColumn::DiskBytes => ColumnData::U64s(shapes.iter().map(|shape| shape.disk_bytes).collect()),
                    RequestColumn::CpuCount => {
                        ColumnData::U64s(shapes.iter().map(|shape| u64::from(shape.cpus)).collect())
                    }
                    RequestColumn::MemoryBytes => {
                        ColumnData::U64s(shapes.iter().map(|shape| shape.memory_bytes).collect())
                    }
                    RequestColumn::Pool => self.name_column(shapes.iter().map(|shape| shape.pool.as_ref())),
                    RequestColumn::Node => self.name_column(shapes.iter().map(|shape| shape.node.as_ref())),
                    RequestColumn::Require => sets(shapes.iter().map(|shape| self.label_symbols(&shape.require))),
                    RequestColumn::Prefer => sets(shapes.iter().map(|shape| self.label_symbols(&shape.prefer))),
                    RequestColumn::Avoid => sets(shapes.iter().map(|shape| self.name_symbols(&shape.avoid))),
                    RequestColumn::Near => sets(shapes.iter().map(|shape| self.name_symbols(&shape.near))),
                };
                Column { name, data }
            })
            .collect();
        Batch {
            need: self.stamp,
            symbols: self.take_symbols(),
            requests: rows,
            shapes,
        }
    }

    fn load(&mut self, candidates: &Candidates) -> Change {
        if self.loaded {
            self.symbols.clear();
            self.label_sets.clear();
            self.unsent = NewSymbols {
                first: 1,
                names: Vec::new(),
            };
            self.stamp.epoch += 1;
        }
        self.loaded = true;
        self.held = candidates.rows().to_vec();
        let all: Vec<u32> = (0..u32::try_from(self.held.len()).unwrap_or(u32::MAX)).collect();
        let columns = self.columns(&all);
        self.hashes = row_hashes(&all, &columns);
        self.stamp.revision = candidates.revision().0;
        self.stamp.digest = self.hashes.iter().fold(0, |sum, hash| sum.wrapping_add(*hash));
        Change::Load {
            at: self.stamp,
            symbols: self.take_symbols(),
            rows: u32::try_from(all.len()).unwrap_or(u32::MAX),
            columns,
        }
    }

    fn follow_rows(&mut self, candidates: &Candidates) -> Change {
        let pairs = self.held.iter().zip(candidates.rows());
        let rows: Vec<u32> = (0_u32..)
            .zip(pairs)
            .filter(|(_, (old, new))| !Arc::ptr_eq(old, new) && old != new)
            .map(|(row, _)| row)
            .collect();
        if rows.is_empty() {
            return Change::None;
        }
        for row in &rows {
            self.held[*row as usize] = Arc::clone(&candidates.rows()[*row as usize]);
        }
        let columns = self.columns(&rows);
        let base = self.stamp;
        for (row, hash) in rows.iter().zip(row_hashes(&rows, &columns)) {
            let old = std::mem::replace(&mut self.hashes[*row as usize], hash);
            self.stamp.digest = self.stamp.digest.wrapping_sub(old).wrapping_add(hash);
        }
        self.stamp.revision = candidates.revision().0;
        Change::Update {
            base,
            to: self.stamp,
            symbols: self.take_symbols(),
            rows,
            columns,
        }
    }

    fn columns(&mut self, rows: &[u32]) -> Vec<Column> {
        let wanted = self.candidate_columns.clone();
        let held: Vec<Arc<Candidate>> = rows.iter().map(|row| Arc::clone(&self.held[*row as usize])).collect();
        wanted
            .into_iter()
            .map(|(column, name)| {
                let data = match column {
                    CandidateColumn::Node => self.symbol_column(held.iter().map(|c| c.node.as_str())),
                    CandidateColumn::Pool => self.symbol_column(held.iter().map(|c| c.pool.as_str())),
                    CandidateColumn::Schedulable => {
                        ColumnData::U64s(held.iter().map(|c| u64::from(c.schedulable)).collect())
                    }
                    CandidateColumn::DiskTotal => ColumnData::U64s(held.iter().map(|c| c.total_bytes).collect()),
                    CandidateColumn::DiskFree => ColumnData::U64s(held.iter().map(|c| c.free_bytes).collect()),
                    CandidateColumn::CpuTotal => ColumnData::U64s(held.iter().map(|c| c.room.cpus_total).collect()),
                    CandidateColumn::CpuFree => ColumnData::U64s(held.iter().map(|c| c.room.cpus_free).collect()),
                    CandidateColumn::MemoryTotal => {
                        ColumnData::U64s(held.iter().map(|c| c.room.memory_total_bytes).collect())
                    }
                    CandidateColumn::MemoryFree => {
                        ColumnData::U64s(held.iter().map(|c| c.room.memory_free_bytes).collect())
                    }
                    CandidateColumn::Labels => sets(held.iter().map(|c| self.label_symbols(&c.labels))),
                };
                Column { name, data }
            })
            .collect()
    }

    fn label_symbols(&mut self, labels: &Labels) -> Arc<[u32]> {
        if let Some(symbols) = self.label_sets.get(labels) {
            return Arc::clone(symbols);
        }
        let mut symbols: Vec<u32> = labels
            .iter()
            .map(|(key, value)| self.symbol(&format!("{key}={value}")))
            .collect();
        symbols.sort_unstable();
        let symbols: Arc<[u32]> = symbols.into();
        if self.label_sets.len() >= SYMBOLS_MAX {
            self.label_sets.clear();
        }
        self.label_sets.insert(labels.clone(), Arc::clone(&symbols));
        symbols
    }

    fn name_symbols(&mut self, names: &BTreeSet<Name>) -> Arc<[u32]> {
        let mut symbols: Vec<u32> = names.iter().map(|name| self.symbol(name.as_str())).collect();
        symbols.sort_unstable();
        symbols.into()
    }

    /// One symbol a row; 0 where there is no name.
    fn name_column<'a>(&mut self, names: impl Iterator<Item = Option<&'a Name>>) -> ColumnData {
        ColumnData::Symbols(
            names
                .map(|name| name.map_or(0, |name| self.symbol(name.as_str())))
                .collect(),
        )
    }

    /// The symbols of a column in which neighbours are often equal, as pools are.
    fn symbol_column<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> ColumnData {
        let mut last = ("", 0);
        let symbol = |text: &'a str| {
            if text != last.0 || last.1 == 0 {
                last = (text, self.symbol(text));
            }
            last.1
        };
        ColumnData::Symbols(texts.map(symbol).collect())
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(symbol) = self.symbols.get(text) {
            return *symbol;
        }
        let symbol = u32::try_from(self.symbols.len() + 1).unwrap_or(u32::MAX);
        self.symbols.insert(text.to_owned(), symbol);
        self.unsent.names.push(text.to_owned());
        symbol
    }

    fn take_symbols(&mut self) -> NewSymbols {
        let next = NewSymbols {
            first: u32::try_from(self.symbols.len() + 1).unwrap_or(u32::MAX),
            names: Vec::new(),
        };
        std::mem::replace(&mut self.unsent, next)
    }
}

/// What makes requests alike.
type Shape<'a> = (
    (u64, u32, u64),
    (Option<&'a str>, Option<&'a str>),
    (&'a Labels, &'a Labels),
    (&'a BTreeSet<Name>, &'a BTreeSet<Name>),
);

fn shape(request: &Request) -> Shape<'_> {
    (
        (request.disk_bytes, request.cpus, request.memory_bytes),
        (
            request.pool.as_ref().map(AsRef::as_ref),
            request.node.as_ref().map(AsRef::as_ref),
        ),
        (&request.require, &request.prefer),
        (&request.avoid, &request.near),
    )
}

fn same_place(old: &Candidate, new: &Candidate) -> bool {
    old.node == new.node && old.pool == new.pool
}

fn candidate_column(name: &str) -> Result<CandidateColumn, UnknownColumn> {
    Ok(match name {
        "node" => CandidateColumn::Node,
        "pool" => CandidateColumn::Pool,
        "schedulable" => CandidateColumn::Schedulable,
        "disk.total" => CandidateColumn::DiskTotal,
        "disk.free" => CandidateColumn::DiskFree,
        "cpu.total" => CandidateColumn::CpuTotal,
        "cpu.free" => CandidateColumn::CpuFree,
        "memory.total" => CandidateColumn::MemoryTotal,
        "memory.free" => CandidateColumn::MemoryFree,
        "labels" => CandidateColumn::Labels,
        _ => {
            return Err(UnknownColumn {
                side: "candidate",
                name: name.to_owned(),
            });
        }
    })
}

fn request_column(name: &str) -> Result<RequestColumn, UnknownColumn> {
    Ok(match name {
        "disk.bytes" => RequestColumn::DiskBytes,
        "cpu.count" => RequestColumn::CpuCount,
        "memory.bytes" => RequestColumn::MemoryBytes,
        "pool" => RequestColumn::Pool,
        "node" => RequestColumn::Node,
        "require" => RequestColumn::Require,
        "prefer" => RequestColumn::Prefer,
        "avoid" => RequestColumn::Avoid,
        "near" => RequestColumn::Near,
        _ => {
            return Err(UnknownColumn {
                side: "request",
                name: name.to_owned(),
            });
        }
    })
}
