//! What a policy answers: a score with its parts, or a reason.

use super::{Candidate, Request};

/// How many parts a score may have. What is added beyond is counted in the last part.
pub const PARTS_MAX: usize = 6;

/// How good a node is: a sum of named parts. The names are for explanations and cost nothing in a scan.
///
/// ```
/// # use symphony_sdk::Score;
/// let score = Score::part("free", 0.75).and("rack", 0.5);
/// assert_eq!(score.total(), 1.25);
/// assert_eq!(score.parts(), [("free", 0.75), ("rack", 0.5)]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    total: f32,
    count: usize,
    parts: [(&'static str, f32); PARTS_MAX],
}

impl Score {
    /// A score of one part.
    #[must_use]
    #[inline(always)]
    pub const fn part(name: &'static str, value: f32) -> Self {
        let mut parts = [("", 0.0); PARTS_MAX];
        parts[0] = (name, value);
        Self {
            total: value,
            count: 1,
            parts,
        }
    }

    /// Adds a part.
    #[must_use]
    #[inline(always)]
    pub const fn and(mut self, name: &'static str, value: f32) -> Self {
        self.total += value;
        // With indices that the compiler knows, a scan that only wants the total keeps no parts at all, also when it
        // depends on the request how many there are.
        let mut at = 0;
        while at < PARTS_MAX {
            if at == self.count {
                self.parts[at] = (name, value);
            }
            at += 1;
        }
        if self.count < PARTS_MAX {
            self.count += 1;
        } else {
            self.parts[PARTS_MAX - 1].1 += value;
        }
        self
    }

    /// Adds the part `preferred-labels`: `weight` for each label that the request prefers and the node has. Nothing is
    /// added when there is none.
    ///
    /// A weight above what all other parts can come to has preferred nodes go before any others; a lower one weighs the
    /// wish against the rest.
    #[must_use]
    #[inline(always)]
    pub fn and_preferred(self, request: &Request<'_>, node: &Candidate<'_>, weight: f32) -> Self {
        match request.preferred(node) {
            0 => self,
            labels => self.and("preferred-labels", labels as f32 * weight),
        }
    }

    /// The sum of the parts.
    #[must_use]
    #[inline(always)]
    pub const fn total(&self) -> f32 {
        self.total
    }

    /// The parts, in the order in which they were added.
    #[must_use]
    pub fn parts(&self) -> &[(&'static str, f32)] {
        &self.parts[..self.count]
    }
}

impl From<f32> for Score {
    #[inline(always)]
    fn from(value: f32) -> Self {
        Self::part("score", value)
    }
}

/// Why a node may not take a request. Cheap to make: a scan makes one for each node that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    pub(crate) filter: &'static str,
    pub(crate) wanted: u64,
    pub(crate) available: u64,
    pub(crate) detail: &'static str,
}

impl Reason {
    /// Names the filter: lower case, digits, `.` and `-`.
    #[must_use]
    #[inline(always)]
    pub const fn new(filter: &'static str) -> Self {
        Self {
            filter,
            wanted: 0,
            available: 0,
            detail: "",
        }
    }

    /// Adds the two numbers that were compared.
    #[must_use]
    #[inline(always)]
    pub const fn numbers(self, wanted: u64, available: u64) -> Self {
        Self {
            wanted,
            available,
            ..self
        }
    }

    /// Adds a line for a person, at most 200 bytes.
    #[must_use]
    #[inline(always)]
    pub const fn detail(self, detail: &'static str) -> Self {
        Self { detail, ..self }
    }

    /// The filter's name.
    #[must_use]
    pub const fn filter(&self) -> &'static str {
        self.filter
    }
}

#[cfg(test)]
mod tests {
    use super::{PARTS_MAX, Score};

    #[test]
    fn parts_have_a_limit_and_add_up_all_the_same() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let score = names[1..]
            .iter()
            .fold(Score::part(names[0], 1.0), |score, &name| score.and(name, 1.0));
        assert_eq!(score.total(), 8.0);
        let parts = score.parts();
        assert_eq!(parts.len(), PARTS_MAX);
        assert_eq!(parts[..PARTS_MAX - 1], names.map(|name| (name, 1.0))[..PARTS_MAX - 1]);
        assert_eq!(parts[PARTS_MAX - 1], ("f", 3.0), "the last one has what is beyond");
    }
}
