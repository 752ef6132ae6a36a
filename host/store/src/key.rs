//! Keys and spans of keys, in the order of their bytes. Owns no meaning of a key.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;

/// A key: 1 to [`KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX) bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Bytes);

impl Key {
    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text, when it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// What follows `prefix` in this key, as text; none when it does not start so or is not UTF-8.
    pub fn strip_prefix(&self, prefix: &str) -> Option<&str> {
        self.as_str()?.strip_prefix(prefix)
    }

    /// The first key after all that start with this one; none when there is no such key.
    fn after_prefix(&self) -> Option<Key> {
        let last = self.0.iter().rposition(|byte| *byte != u8::MAX)?;
        let mut end = self.0[..=last].to_vec();
        end[last] += 1;
        Some(Key::from(end))
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self(Bytes::copy_from_slice(key.as_bytes()))
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl From<&String> for Key {
    fn from(key: &String) -> Self {
        key.as_str().into()
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(key))
    }
}

impl From<Vec<u8>> for Key {
    fn from(key: Vec<u8>) -> Self {
        Self(key.into())
    }
}

impl From<Bytes> for Key {
    fn from(key: Bytes) -> Self {
        Self(key)
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// A span of keys: one key, all with a prefix, or all between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    start: Key,
    end: End,
}

/// Where a span begins and ends in a B-tree.
pub(crate) type KeyBounds<'k> = (Bound<&'k [u8]>, Bound<&'k [u8]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Single,
    Before(Key),
    Open,
}

impl Keys {
    /// This key alone.
    pub fn one(key: impl Into<Key>) -> Self {
        Self {
            start: key.into(),
            end: End::Single,
        }
    }

    /// All keys that start with `prefix`; the empty prefix is all keys.
    pub fn prefix(prefix: impl Into<Key>) -> Self {
        let start = prefix.into();
        let end = start.after_prefix().map_or(End::Open, End::Before);
        Self { start, end }
    }

    /// All keys from `start` on and before `end`; none when `end` is not after `start`.
    pub fn between(start: impl Into<Key>, end: impl Into<Key>) -> Self {
        Self {
            start: start.into(),
            end: End::Before(end.into()),
        }
    }

    /// All keys from `start` on.
    pub fn starting_at(start: impl Into<Key>) -> Self {
        Self {
            start: start.into(),
            end: End::Open,
        }
    }

    /// All keys.
    pub fn all() -> Self {
        Self::starting_at(Key::default())
    }

    /// The one key of this span, when it was made of one.
    pub fn as_one(&self) -> Option<&Key> {
        (self.end == End::Single).then_some(&self.start)
    }

    /// The first key that may be in the span.
    pub fn start(&self) -> &Key {
        &self.start
    }

    /// Whether `key` is in the span.
    pub fn contains(&self, key: &Key) -> bool {
        match &self.end {
            End::Single => *key == self.start,
            End::Before(end) => *key >= self.start && key < end,
            End::Open => *key >= self.start,
        }
    }

    /// The keys of this span that come after `key`, for the next page. The span of one key has no other.
    #[must_use]
    pub fn after(&self, key: &Key) -> Self {
        let mut start = key.as_bytes().to_vec();
        start.push(0);
        let start = Key::from(start).max(self.start.clone());
        let end = match &self.end {
            End::Single => End::Before(self.start.clone()),
            other => other.clone(),
        };
        Self { start, end }
    }

    /// The span as bounds; none when it is empty, which a B-tree's range must not be asked for.
    pub(crate) fn bounds(&self) -> Option<KeyBounds<'_>> {
        let start = self.start.as_bytes();
        match &self.end {
            End::Single => Some((Bound::Included(start), Bound::Included(start))),
            End::Before(end) if *end <= self.start => None,
            End::Before(end) => Some((Bound::Included(start), Bound::Excluded(end.as_bytes()))),
            End::Open => Some((Bound::Included(start), Bound::Unbounded)),
        }
    }

    /// How many bytes the span takes in a request.
    pub(crate) fn request_bytes(&self) -> usize {
        let end = match &self.end {
            End::Before(end) => end.as_bytes().len(),
            End::Single | End::Open => 0,
        };
        self.start.as_bytes().len() + end
    }

    /// The longest key that the span names.
    pub(crate) fn longest(&self) -> usize {
        match &self.end {
            End::Before(end) => end.as_bytes().len().max(self.start.as_bytes().len()),
            End::Single | End::Open => self.start.as_bytes().len(),
        }
    }
}
