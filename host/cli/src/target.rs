//! What a verb is about: an object named by its name or its id, and labels as flags.

use std::fmt;
use std::str::FromStr;

use symphony_core::labels::{LabelError, Labels};
use symphony_core::name::{Name, NameError};

/// A name or an id: never ambiguous, because no name looks like an id. Safe in a path of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Target {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse::<Name>() {
            Ok(_) | Err(NameError::LooksLikeId) => Ok(Self(text.to_owned())),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One `key=value` flag, checked alone, so that the error names the flag.
pub(crate) fn label(text: &str) -> Result<String, LabelError> {
    Labels::parse([text]).map(|_| text.to_owned())
}

/// All `key=value` flags together.
pub(crate) fn labels(flags: &[String]) -> Result<Labels, LabelError> {
    Labels::parse(flags.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_targets_and_paths_are_not() {
        for good in ["data", "01890a5d-ac96-774b-bcce-b302099a8057"] {
            assert!(good.parse::<Target>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "..", "Data", "a?x=1", &"x".repeat(300)] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
