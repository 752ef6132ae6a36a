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
