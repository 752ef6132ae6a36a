//! Every bound on a guest, in one place, with its unit and its default.
//!
//! Fuel is the limit on work: it is deterministic, it also pays for bulk copies byte by byte, and guests have no import
//! that could block. The wall clock is a second line only: a caller stops waiting at the deadline, the call is counted,
//! and its instance is dropped when fuel has ended it. Epochs would stop it sooner and cost 37 % on every call.

use std::time::Duration;

/// The limits of all roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For schedulers.
    pub scheduler: RoleLimits,
    /// For drivers.
    pub driver: RoleLimits,
    /// How many driver calls run at once.
    pub driver_calls: usize,
    /// How many placements and explanations may wait for one scheduler.
    pub scheduler_queue: usize,
    /// When a scheduler's instance is replaced by a fresh one.
    pub retire: Retire,
}

/// The limits of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleLimits {
    /// Linear memory of one instance, all memories together, in bytes.
    pub memory_bytes: usize,
    /// Elements of all tables together.
    pub table_elements: usize,
    /// Core instances in one component.
    pub instances: usize,
    /// Memories in one component.
    pub memories: usize,
    /// Tables in one component.
    pub tables: usize,
    /// Bytes that one call may hand to the host.
    pub answer_bytes: usize,
    /// Fuel per kind of call.
    pub fuel: Fuel,
    /// How long a caller waits, queueing included.
    pub deadline: Duration,
    /// How long a caller waits for the first instance.
    pub start_deadline: Duration,
    /// From when on a call is counted as slow.
    pub slow: Duration,
    /// Lines of log in one call.
    pub log_lines: u32,
    /// Bytes in one line of log.
    pub log_line_bytes: usize,
}

/// Fuel: about one unit per instruction and one per byte of a bulk copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuel {
    /// For instantiation, `describe` and `configure`, each.
    pub start: u64,
    /// For `load` and `update`.
    pub load: u64,
    /// For any other call: this much …
    pub call: u64,
    /// … and this much for each pair of request and candidate …
    pub per_pair: u64,
    /// … but never more than this.
    pub call_max: u64,
}

/// When a resident instance is replaced although nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retire {
    /// After this many calls.
    pub calls: u64,
    /// After this long.
    pub age: Duration,
    /// When its memory is over this share of the limit, in percent.
    pub memory_percent: usize,
}

impl RoleLimits {
    pub(crate) fn deadline_of(&self, call: &str) -> Duration {
        if call == "instantiate" {
            self.start_deadline
        } else {
            self.deadline
        }
    }
}

impl Fuel {
    /// Fuel for deciding about `requests` over `rows` candidates.
    #[must_use]
    pub fn for_pairs(&self, requests: usize, rows: usize) -> u64 {
        let pairs = (requests as u64).saturating_mul(rows as u64);
        self.call
            .saturating_add(self.per_pair.saturating_mul(pairs))
            .min(self.call_max)
    }
}

impl Default for Limits {
    fn default() -> Self {
        let role = RoleLimits {
            memory_bytes: 256 << 20,
            table_elements: 20_000,
            instances: 64,
            memories: 2,
            tables: 16,
            answer_bytes: 16 << 20,
            fuel: Fuel {
                start: 50_000_000,
                load: 500_000_000,
                call: 500_000_000,
                per_pair: 500,
                call_max: 5_000_000_000,
            },
            deadline: Duration::from_secs(5),
            start_deadline: Duration::from_secs(30),
            slow: Duration::from_millis(250),
            log_lines: 32,
            log_line_bytes: 1024,
        };
        let driver = RoleLimits {
            memory_bytes: 64 << 20,
            answer_bytes: 4 << 20,
            fuel: Fuel {
                start: 50_000_000,
                load: 0,
                call: 500_000_000,
                per_pair: 0,
                call_max: 500_000_000,
            },
            slow: Duration::from_secs(1),
            ..role.clone()
        };
        Self {
            scheduler: role,
            driver,
            driver_calls: 4,
            scheduler_queue: 64,
            retire: Retire {
                calls: 1_000_000,
                age: Duration::from_secs(600),
                memory_percent: 80,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuel_grows_with_the_work_and_ends_at_its_maximum() {
        let fuel = Limits::default().scheduler.fuel;
        assert_eq!(fuel.for_pairs(1, 3), 500_001_500);
        assert_eq!(fuel.for_pairs(4096, 100_000), 5_000_000_000);
        assert_eq!(fuel.for_pairs(usize::MAX, usize::MAX), 5_000_000_000);
    }
}
