//! When to look at what is as it should be: a machine may die at any time.

use std::collections::{BTreeSet, HashMap};

use crate::view::ResourceKey;
use tokio::time::Instant;

/// The time of each one's next look.
#[derive(Default)]
pub(super) struct Looks {
    ordered: BTreeSet<(Instant, ResourceKey)>,
    at: HashMap<ResourceKey, Instant>,
}

impl Looks {
    /// Looks at this one then, and not at the time that was set before.
    pub(super) fn set(&mut self, key: ResourceKey, at: Instant) {
        self.remove(&key);
        self.at.insert(key.clone(), at);
        self.ordered.insert((at, key));
    }

    pub(super) fn remove(&mut self, key: &ResourceKey) {
        if let Some(at) = self.at.remove(key) {
            self.ordered.remove(&(at, key.clone()));
        }
    }

    /// Those whose time has come.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = &ResourceKey> {
        self.ordered
            .iter()
            .take_while(move |(at, _)| *at <= now)
            .map(|(_, key)| key)
    }

    /// Looks at this one then, or at the time that was set before, whichever is sooner.
    pub(super) fn set_sooner(&mut self, key: ResourceKey, at: Instant) {
        if self.at.get(&key).is_none_or(|before| at < *before) {
            self.set(key, at);
        }
    }

    /// The first time to come.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.ordered.iter().map(|(at, _)| *at).find(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> ResourceKey {
        ("p".parse().unwrap(), name.parse().unwrap())
    }

    #[test]
    fn each_is_looked_at_once_at_the_last_time_that_was_set() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut looks = Looks::default();
        assert_eq!(looks.next(now), None);
        looks.set(key("a"), now);
        looks.set(key("b"), later(1));
        assert_eq!(looks.due(now).count(), 1);
        assert_eq!(looks.next(now), Some(later(1)), "what is due needs no clock");
        looks.set(key("a"), later(2));
        looks.set_sooner(key("a"), later(3));
        assert_eq!(looks.due(now).count(), 0);
        let due: Vec<_> = looks.due(later(2)).cloned().collect();
        assert_eq!(due, [key("b"), key("a")]);
        looks.remove(&key("b"));
        assert_eq!(looks.due(later(9)).count(), 1);
    }
}
