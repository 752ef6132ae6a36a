//! Rankings kept per shape of request, within a batch and from batch to batch.
//!
//! Every change of a row is noted in one log; a ranking catches up with it when it is next asked for. So a booking costs
//! the same whether one shape is kept or sixty.

use crate::scheduler::ranking::{Ranking, Rate};
use crate::scheduler::shapes::fingerprint;

/// How many shapes are kept at most.
pub(crate) const SHAPES_MAX: usize = 64;
/// How much memory all rankings may take together.
const BYTES_MAX: usize = 64 << 20;
/// How many single sightings are remembered: a shape is worth a ranking when it is seen again.
const SEEN_MAX: usize = 256;

/// The rankings.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: Vec<Entry>,
    /// The rows that changed, oldest first; the first entry is change number `first`.
    changes: Vec<u32>,
    /// The number of each row's latest change: of many changes of one row only that one counts.
    latest: Vec<u64>,
    first: u64,
    clock: u64,
    seen: Vec<u64>,
    rows: usize,
}

#[derive(Debug)]
struct Entry {
    words: Vec<u64>,
    fingerprint: u64,
    ranking: Ranking,
    /// The change number that the ranking is up to date with; nothing when it was never built.
    upto: Option<u64>,
    used: u64,
}

impl Cache {
    /// An empty cache for so many rows.
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            entries: Vec::new(),
            changes: Vec::new(),
            latest: vec![0; rows],
            first: 0,
            clock: 0,
            seen: Vec::new(),
            rows,
        }
    }

    /// Notes that a row changed.
    #[inline]
    pub(crate) fn note(&mut self, row: u32) {
        // Who is further behind than this is better built anew.
        let keep = self.rows.max(1024);
        if self.changes.len() >= keep * 2 {
            self.changes.drain(..keep);
            self.first += keep as u64;
        }
        self.latest[row as usize] = self.now();
        self.changes.push(row);
    }

    /// The number of the next change: as long as it stays, nothing changed.
    pub(crate) const fn now(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// The place of a shape in the cache, making room for it if it is worth that: when it is asked for more than once
    /// in this batch, or was seen before.
    pub(crate) fn admit(&mut self, words: Vec<u64>, repeated: bool) -> Option<usize> {
        let fingerprint = fingerprint(&words);
        let known = |entry: &Entry| entry.fingerprint == fingerprint && entry.words == words;
        if let Some(slot) = self.entries.iter().position(known) {
            return Some(slot);
        }
        if !repeated && !self.seen.contains(&fingerprint) {
            if self.seen.len() == SEEN_MAX {
                self.seen.remove(0);
            }
            self.seen.push(fingerprint);
            return None;
        }
        let entry = |ranking| Entry {
            words,
            fingerprint,
            ranking,
            upto: None,
            used: self.clock,
        };
        if self.entries.len() < self.capacity() {
            self.entries.push(entry(Ranking::default()));
            return Some(self.entries.len() - 1);
        }
        let slot = (0..self.entries.len()).min_by_key(|slot| self.entries[*slot].used)?;
        let ranking = std::mem::take(&mut self.entries[slot].ranking);
        self.entries[slot] = entry(ranking);
        Some(slot)
    }

    /// Whether this place still holds the shape with these words' fingerprint.
    pub(crate) fn holds(&self, slot: usize, fingerprint: u64) -> bool {
        self.entries[slot].fingerprint == fingerprint
    }

    /// The first of the best rows for the shape in this place, after catching up with what changed.
    pub(crate) fn first_best(&mut self, slot: usize, rate: &impl Rate) -> Option<(usize, f32)> {
        let now = self.now();
        self.clock += 1;
        let entry = &mut self.entries[slot];
        entry.used = self.clock;
        let upto = entry
            .upto
            .filter(|upto| *upto >= self.first && now - upto <= self.rows as u64 / 4 + 8);
        match upto {
            Some(upto) => {
                for (number, &row) in (upto..now).zip(&self.changes[(upto - self.first) as usize..]) {
                    if self.latest[row as usize] == number {
                        entry.ranking.set(row as usize, rate.one(row as usize));
                    }
                }
            }
            None => entry.ranking.rebuild(self.rows, rate),
        }
        entry.upto = Some(now);
        entry.ranking.first_best()
    }

    /// How many shapes are kept: as many as the memory allows.
    fn capacity(&self) -> usize {
        (BYTES_MAX / Ranking::bytes(self.rows)).clamp(1, SHAPES_MAX)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Cache, SHAPES_MAX};
    use crate::scheduler::ranking::{Fixed, Rate};

    /// Scores that are given, and how many were asked for.
    struct Counted<'a>(&'a [f32], Cell<usize>);

    impl Rate for Counted<'_> {
        fn one(&self, row: usize) -> f32 {
            self.1.set(self.1.get() + 1);
            self.0[row]
        }

        fn all(&self, scores: &mut [f32]) {
            self.1.set(self.1.get() + scores.len());
            scores.copy_from_slice(self.0);
        }
    }

    #[test]
    fn a_shape_is_kept_from_its_second_sighting_on() {
        let mut cache = Cache::new(4);
        assert_eq!(cache.admit(vec![1], false), None);
        assert_eq!(cache.admit(vec![1], false), Some(0));
        assert_eq!(cache.admit(vec![2], true), Some(1));
    }

    #[test]
    fn shapes_and_changes_are_bounded() {
        let mut cache = Cache::new(4);
        for word in 0..1000 {
            let slot = cache.admit(vec![word], true).unwrap();
            assert_eq!(cache.first_best(slot, &Fixed(&[0.0, 1.0, 2.0, 3.0])), Some((3, 3.0)));
            for row in 0..50 {
                cache.note(row % 4);
            }
        }
        assert_eq!(cache.len(), SHAPES_MAX);
        assert!(cache.changes.len() <= 2048, "{}", cache.changes.len());
        for word in 0..2000 {
            cache.admit(vec![word, word], false);
        }
        assert!(cache.seen.len() <= super::SEEN_MAX);
    }

    #[test]
    fn the_least_recently_used_goes() {
        let mut cache = Cache::new(1);
        for word in 0..SHAPES_MAX as u64 {
            let slot = cache.admit(vec![word], true).unwrap();
            cache.first_best(slot, &Fixed(&[1.0]));
        }
        let first = cache.admit(vec![0], true).unwrap();
        cache.first_best(first, &Fixed(&[1.0]));
        let new = cache.admit(vec![999], true).unwrap();
        assert_ne!(new, first);
        assert_eq!(cache.admit(vec![0], true), Some(first));
    }

    #[test]
    fn catches_up_with_changes_and_rebuilds_when_far_behind() {
        let mut cache = Cache::new(100);
        let mut scores: Vec<f32> = (0..100).map(|row| row as f32).collect();
        let slot = cache.admit(vec![7], true).unwrap();
        assert_eq!(cache.first_best(slot, &Fixed(&scores)), Some((99, 99.0)));
        scores[99] = -1.0;
        cache.note(99);
        let counted = Counted(&scores, Cell::new(0));
        assert_eq!(cache.first_best(slot, &counted), Some((98, 98.0)));
        assert_eq!(counted.1.get(), 1, "one row changed");
        for round in 0..5000 {
            scores[round % 100] = (round % 37) as f32;
            cache.note((round % 100) as u32);
        }
        let best = scores.iter().copied().fold(f32::MIN, f32::max);
        let row = scores.iter().position(|score| *score == best).unwrap();
        assert_eq!(cache.first_best(slot, &Fixed(&scores)), Some((row, best)));
    }
}
