//! Conditions: one aspect of a resource each, with the reason for a machine and the message for a person.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Most conditions on one resource; there is one per kind.
pub const CONDITIONS_MAX: usize = 16;
/// Longest message, in bytes; longer ones are cut.
pub const MESSAGE_BYTES_MAX: usize = 2048;

/// Whether an aspect holds. Unknown is not false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can say now.
    Unknown,
}

/// One aspect of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is about: `placed`, `ready`, …
    pub kind: String,
    /// Whether it holds.
    pub truth: Truth,
    /// One word for a machine.
    pub reason: String,
    /// One sentence for a person.
    pub message: String,
    /// When `truth` or `reason` last changed.
    pub since: Timestamp,
}

/// The conditions of one resource, one of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// Sets the condition of this kind; `since` moves only when truth or reason changed. Says whether anything did.
    pub fn set(&mut self, kind: &str, truth: Truth, reason: &str, message: &str, now: Timestamp) -> bool {
        let message = clip(message);
        if let Some(old) = self.0.iter_mut().find(|condition| condition.kind == kind) {
            if old.truth == truth && old.reason == reason {
                let changed = old.message != message;
                message.clone_into(&mut old.message);
                return changed;
            }
            *old = Condition {
                kind: kind.to_owned(),
                truth,
                reason: reason.to_owned(),
                message: message.to_owned(),
                since: now,
            };
            return true;
        }
        if self.0.len() < CONDITIONS_MAX {
            self.0.push(Condition {
                kind: kind.to_owned(),
                truth,
                reason: reason.to_owned(),
                message: message.to_owned(),
                since: now,
            });
        }
        true
    }

    /// The condition of this kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> Option<&Condition> {
        self.0.iter().find(|condition| condition.kind == kind)
    }

    /// All of them, in the order in which they first appeared.
    pub fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }
}

/// Cuts a message at a character's border.
fn clip(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_moves_with_the_reason_only() {
        let (early, late) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
        let mut conditions = Conditions::default();
        assert!(conditions.set("ready", Truth::False, "creating", "1 %", early));
        assert!(conditions.set("ready", Truth::False, "creating", "2 %", late));
        assert!(!conditions.set("ready", Truth::False, "creating", "2 %", late));
        assert_eq!(conditions.of("ready").unwrap().since, early);
        assert!(conditions.set("ready", Truth::True, "made", "", late));
        assert_eq!(conditions.of("ready").unwrap().since, late);
    }

    #[test]
    fn messages_and_count_are_bounded() {
        let now = Timestamp::from_second(1).unwrap();
        let mut conditions = Conditions::default();
        for n in 0..100 {
            conditions.set(&format!("c{n}"), Truth::True, "r", &"é".repeat(5000), now);
        }
        assert_eq!(conditions.iter().count(), CONDITIONS_MAX);
        assert!(
            conditions
                .iter()
                .all(|condition| condition.message.len() <= MESSAGE_BYTES_MAX)
        );
    }
}
