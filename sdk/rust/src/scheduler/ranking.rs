//! The scores of all rows for one shape of request, and the best of them.

/// The score of a row that may not take the request.
pub(crate) const OUT: f32 = f32::NEG_INFINITY;

/// Where scores come from.
pub(crate) trait Rate {
    /// The score of one row: never NaN, [`OUT`] when the row may not take the request.
    fn one(&self, row: usize) -> f32;
    /// The scores of all rows.
    fn all(&self, scores: &mut [f32]);
}

/// A tree of maxima: the best row is found, and a row's score changed, in as many steps as the number of rows has bits.
#[derive(Debug, Default)]
pub(crate) struct Ranking {
    /// Node `i` has the children `2 i` and `2 i + 1`; row `r` is leaf `leaves + r`; node 1 is the root.
    best: Vec<f32>,
    leaves: usize,
}

impl Ranking {
    /// How many bytes a ranking of so many rows takes.
    pub(crate) const fn bytes(rows: usize) -> usize {
        rows.next_power_of_two() * 2 * size_of::<f32>()
    }

    /// Takes the scores of all rows anew.
    pub(crate) fn rebuild(&mut self, rows: usize, rate: &impl Rate) {
        self.leaves = rows.next_power_of_two();
        self.best.clear();
        self.best.resize(self.leaves * 2, OUT);
        let (inner, leaves) = self.best.split_at_mut(self.leaves);
        rate.all(&mut leaves[..rows]);
        // The lowest level of inner nodes reads leaves, the others read their own half.
        let half = self.leaves / 2;
        for (node, pair) in inner[half..].iter_mut().zip(leaves.chunks_exact(2)) {
            *node = larger(pair[0], pair[1]);
        }
        for node in (1..half).rev() {
            inner[node] = larger(inner[node * 2], inner[node * 2 + 1]);
        }
    }

    /// Changes the score of one row.
    pub(crate) fn set(&mut self, row: usize, score: f32) {
        let mut node = self.leaves + row;
        self.best[node] = score;
        while node > 1 {
            node /= 2;
            let best = larger(self.best[node * 2], self.best[node * 2 + 1]);
            if self.best[node] == best {
                break;
            }
            self.best[node] = best;
        }
    }

    /// The first of the best rows and its score; nothing when all are out.
    pub(crate) fn first_best(&self) -> Option<(usize, f32)> {
        let best = *self.best.get(1)?;
        if best == OUT {
            return None;
        }
        let mut node = 1;
        while node < self.leaves {
            node *= 2;
            if self.best[node] != best {
                node += 1;
            }
        }
        Some((node - self.leaves, best))
    }
}

/// Scores are never NaN here, so that a plain comparison does (and compiles to one).
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Scores that are given.
#[cfg(test)]
pub(crate) struct Fixed<'a>(pub(crate) &'a [f32]);

#[cfg(test)]
impl Rate for Fixed<'_> {
    fn one(&self, row: usize) -> f32 {
        self.0[row]
    }

    fn all(&self, scores: &mut [f32]) {
        scores.copy_from_slice(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Fixed, OUT, Ranking};
    use crate::testing::Random;

    fn naive(scores: &[f32]) -> Option<(usize, f32)> {
        let mut best = None;
        for (row, &score) in scores.iter().enumerate() {
            if score > best.map_or(OUT, |(_, best)| best) {
                best = Some((row, score));
            }
        }
        best
    }

    #[test]
    fn agrees_with_a_scan() {
        let mut random = Random::new(7);
        for rows in [0, 1, 2, 3, 5, 8, 31, 32, 33, 100] {
            let mut draw = || {
                if random.below(4) == 0 {
                    OUT
                } else {
                    random.below(6) as f32 - 3.0
                }
            };
            let mut scores: Vec<f32> = (0..rows).map(|_| draw()).collect();
            let mut ranking = Ranking::default();
            ranking.rebuild(rows, &Fixed(&scores));
            assert_eq!(ranking.first_best(), naive(&scores), "{scores:?}");
            for step in 0..rows * 20 {
                let row = (step * 7) % rows;
                scores[row] = draw();
                ranking.set(row, scores[row]);
                assert_eq!(ranking.first_best(), naive(&scores), "{scores:?}");
            }
        }
    }
}
