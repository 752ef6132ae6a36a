//! Runs a policy: over resident rows, with a ranking per shape of request, booking within a batch and forgetting after.

mod bookings;
mod explain;
mod rate;
mod view;

use crate::policy::Policy;
use crate::scheduler::cache::Cache;
use crate::scheduler::mirror::Mirror;
use crate::scheduler::shapes::{Shapes, fingerprint, repeats};
use crate::scheduler::{
    Batch, Decisions, Delta, Descriptor, Error, NO_ROW, RawScheduler, Snapshot, Stamp, SymbolNames, Unplaceable,
    Verdict,
};
use bookings::Bookings;
use rate::Rater;
use view::Layout;

/// A policy with its resident state.
pub struct Engine<P> {
    policy: P,
    mirror: Mirror,
    layout: Option<Layout>,
    bookings: Bookings,
    cache: Cache,
    caching: bool,
}

impl<P: Policy + Default> Default for Engine<P> {
    fn default() -> Self {
        Self::new(P::default())
    }
}

impl<P: Policy> Engine<P> {
    /// An engine that holds nothing yet.
    #[must_use]
    pub fn new(policy: P) -> Self {
        Self {
            policy,
            mirror: Mirror::default(),
            layout: None,
            bookings: Bookings::default(),
            cache: Cache::new(0),
            caching: P::CACHE,
        }
    }

    /// The same engine without score cache: each request scans all rows. For comparisons.
    #[must_use]
    pub fn without_cache(self) -> Self {
        Self { caching: false, ..self }
    }

    /// What it holds.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.mirror.stamp()
    }

    /// Places the requests `0 .. count` of the batch, leaving what they book.
    fn place_and_book(&mut self, shapes: &Shapes, batch: &Batch, count: usize) -> Result<Decisions, Error> {
        let layout = self.layout.as_ref().ok_or(Error::Stale(self.mirror.stamp()))?;
        let (extra, own) = (shapes.extra(), layout.own(&self.mirror));
        let repeated = repeats(batch, shapes.len());
        let mut slots = vec![Slot::Unknown; shapes.len()];
        let mut refused: Vec<Option<(u64, usize)>> = vec![None; shapes.len()];
        let mut answer = Decisions {
            at: self.mirror.stamp(),
            rows: Vec::with_capacity(count),
            scores: Vec::with_capacity(count),
            unplaceable: Vec::new(),
        };
        self.bookings.reserve(count);
        for (position, &shape) in batch.requests[..count].iter().enumerate() {
            let shape = shape as usize;
            let request = shapes.request(shape, &extra, self.mirror.symbols());
            let view = layout.view(&self.mirror, self.bookings.left(), &own);
            let slot = match slots[shape] {
                Slot::Kept(slot, fingerprint) if self.cache.holds(slot, fingerprint) => Some(slot),
                Slot::Single => None,
                _ if !self.caching => None,
                _ => {
                    let words = shapes.words(shape);
                    let fingerprint = fingerprint(&words);
                    let slot = self.cache.admit(words, repeated[shape] > 1);
                    slots[shape] = slot.map_or(Slot::Single, |slot| Slot::Kept(slot, fingerprint));
                    slot
                }
            };
            let rater = Rater::new(&self.policy, request, view);
            let best = match slot {
                Some(slot) => self.cache.first_best(slot, &rater),
                None => rater.first_best(),
            };
            if let Some((row, score)) = best {
                answer.rows.push(row as u32);
                answer.scores.push(score.min(f32::MAX));
                let nodes = layout.nodes(&self.mirror);
                self.bookings.book(row, &request, nodes, &mut self.cache);
                continue;
            }
            answer.rows.push(NO_ROW);
            answer.scores.push(0.0);
            // Nothing was booked since the same shape was refused: the counts are the same.
            let now = self.cache.now();
            let removed = match refused[shape] {
                Some((then, same)) if then == now => answer.unplaceable[same].removed.clone(),
                _ => explain::count_removed(&self.policy, &request, &view),
            };
            refused[shape] = Some((now, answer.unplaceable.len()));
            answer.unplaceable.push(Unplaceable {
                request: position as u32,
                removed,
            });
        }
        Ok(answer)
    }

    /// What a batch needs before its first decision.
    fn open(&mut self, batch: &mut Batch) -> Result<Shapes, Error> {
        self.mirror.expect(batch.need)?;
        let names = std::mem::take(&mut batch.symbols.names);
        self.mirror.learn(SymbolNames {
            first: batch.symbols.first,
            names,
        })?;
        Shapes::new(P::COLUMNS, std::mem::take(&mut batch.shapes), &batch.requests)
    }
}

impl<P: Policy> RawScheduler for Engine<P> {
    fn describe() -> Descriptor {
        Descriptor {
            name: P::NAME.to_owned(),
            version: String::new(),
            candidate_columns: P::COLUMNS.candidate_names(),
            request_columns: P::COLUMNS.request_names(),
            config_schema: P::CONFIG_SCHEMA.to_owned(),
        }
    }

    fn configure(&mut self, json: &str) -> Result<(), Error> {
        // Scores of another configuration are of no use.
        self.cache = Cache::new(self.mirror.rows());
        self.policy.configure(json).map_err(Error::Config)
    }

    fn load(&mut self, snapshot: Snapshot) -> Result<Stamp, Error> {
        self.layout = None;
        let stamp = self.mirror.load(snapshot)?;
        self.layout = Some(Layout::new(&self.mirror, P::COLUMNS)?);
        self.cache = Cache::new(self.mirror.rows());
        self.bookings.load(&self.mirror);
        Ok(stamp)
    }

    fn update(&mut self, delta: Delta) -> Result<Stamp, Error> {
        let rows = delta.rows.clone();
        let stamp = self.mirror.update(delta)?;
        self.bookings.update(&self.mirror, &rows, &mut self.cache);
        Ok(stamp)
    }

    fn place(&mut self, mut batch: Batch) -> Result<Decisions, Error> {
        let shapes = self.open(&mut batch)?;
        let answer = self.place_and_book(&shapes, &batch, batch.requests.len());
        self.bookings.forget(&mut self.cache);
        answer
    }

    fn explain(&mut self, mut batch: Batch) -> Result<Vec<Verdict>, Error> {
        let shapes = self.open(&mut batch)?;
        let Some((&last, before)) = batch.requests.split_last() else {
            return Err(Error::Other("there is no request to explain".to_owned()));
        };
        self.place_and_book(&shapes, &batch, before.len())?;
        let layout = self.layout.as_ref().ok_or(Error::Stale(self.mirror.stamp()))?;
        let (extra, own) = (shapes.extra(), layout.own(&self.mirror));
        let request = shapes.request(last as usize, &extra, self.mirror.symbols());
        let view = layout.view(&self.mirror, self.bookings.left(), &own);
        let verdicts = (0..view.rows).map(|row| explain::verdict(&self.policy, &request, &view.candidate(row)));
        let verdicts = verdicts.collect();
        self.bookings.forget(&mut self.cache);
        Ok(verdicts)
    }
}

/// Where a shape of the batch is kept.
#[derive(Clone, Copy)]
enum Slot {
    Unknown,
    /// It is asked for once and was never seen before: a scan is cheaper than a ranking.
    Single,
    /// The place in the cache, and the fingerprint that tells whether it is still this shape's.
    Kept(usize, u64),
}
