//! Names that people give: one form for everything, safe in keys, paths and host names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes (a DNS label).
pub const NAME_BYTES_MAX: usize = 63;

/// A name: lower-case letters, digits and `-`, starting with a letter or digit, at most 63 bytes, and never in the form
/// of a UUID, so that "name or id" is never ambiguous.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character that no name may have.
    #[error("a name has only lower-case letters, digits and '-', and this one has {0:?}")]
    Character(char),
    /// Starts with `-`.
    #[error("a name starts with a letter or a digit")]
    Start,
    /// Looks like a UUID.
    #[error("a name must not look like a UUID, because ids do")]
    LooksLikeId,
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
        if let Some(wrong) = text.chars().find(|c| !allowed(c)) {
            return Err(NameError::Character(wrong));
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        if text.starts_with('-') {
            return Err(NameError::Start);
        }
        if uuid::Uuid::try_parse(text).is_ok() {
            return Err(NameError::LooksLikeId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names() {
        for text in ["a", "0", "web-1", "debian-12", &"x".repeat(63)] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn bad_names_say_why() {
        let cases = [
            ("", NameError::Empty),
            ("a/b", NameError::Character('/')),
            ("..", NameError::Character('.')),
            ("a\0b", NameError::Character('\0')),
            ("Web", NameError::Character('W')),
            ("é", NameError::Character('é')),
            ("-a", NameError::Start),
            ("01890a5d-ac96-774b-bcce-b302099a8057", NameError::LooksLikeId),
            ("01890a5dac96774bbcceb302099a8057", NameError::LooksLikeId),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<Name>(), Err(why), "{text:?}");
        }
        assert_eq!("x".repeat(300).parse::<Name>(), Err(NameError::TooLong(300)));
        assert!(serde_json::from_str::<Name>("\"../etc\"").is_err());
    }
}
