//! Counters that only go up, one type each.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )+};
}

counters! {
    /// How often a resource's spec was changed. The first is 1.
    Generation,
    /// The leader's fencing token. An agent refuses a smaller one than it has seen.
    Epoch,
    /// The store's counter at a write.
    Revision,
    /// How often a machine was placed and released. An agent does nothing for it below the highest it has heard of.
    Tenure,
    /// How often a node was let in. What was decided on before is not done after.
    Admission,
}

impl Generation {
    /// The generation of a resource that was just created.
    pub const FIRST: Self = Self(1);
}

impl Epoch {
    /// How many epochs a restore of a backup passes over. Agents refuse a smaller epoch than they have seen, and managers led
    /// between the backup and the restore: each start of one, each change of the leader. Nobody knows how many that were,
    /// and this is more than a cluster sees in its life, a change every five minutes for nine years.
    pub const PASSED_OVER: u64 = 1_000_000;

    /// The epoch to go on from in a store that was restored, when this one was the last in the backup.
    #[must_use]
    pub const fn restored(self) -> Self {
        Self(self.0.saturating_add(Self::PASSED_OVER))
    }

    /// Counts the restores of the store: revisions can be compared within one life of it only.
    #[must_use]
    pub const fn life(self) -> u64 {
        self.0 / Self::PASSED_OVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_begins_another_life_and_an_election_does_not() {
        let last = Epoch(41);
        assert_eq!(last.next().life(), last.life());
        assert!(last.restored() > last.next() && last.restored().life() == last.life() + 1);
        assert_eq!(last.restored().restored().life(), last.life() + 2);
    }
}
