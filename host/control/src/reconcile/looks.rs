//! When to look at what is as it should be: a machine may die at any time.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::view::ResourceKey;

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

    /// The first time that is set, of those that count.
    pub(super) fn next(&self, counts: impl Fn(&ResourceKey) -> bool) -> Option<Instant> {
        self.ordered.iter().find(|(_, key)| counts(key)).map(|(at, _)| *at)
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
        let mut looks = Looks::default();
        assert_eq!(looks.next(|_| true), None);
        looks.set(key("a"), now);
        looks.set(key("b"), now + Duration::from_secs(1));
        looks.set(key("a"), now + Duration::from_secs(2));
        assert_eq!(looks.due(now).count(), 0);
        assert_eq!(looks.next(|_| true), Some(now + Duration::from_secs(1)));
        let later = looks.next(|other| *other != key("b"));
        assert_eq!(later, Some(now + Duration::from_secs(2)));
        let due: Vec<_> = looks.due(now + Duration::from_secs(2)).cloned().collect();
        assert_eq!(due, [key("b"), key("a")]);
        looks.remove(&key("b"));
        assert_eq!(looks.due(now + Duration::from_secs(9)).count(), 1);
    }
}
