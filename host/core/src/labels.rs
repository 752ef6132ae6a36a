//! Labels: small facts that people attach to resources, and that placement can ask for.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most labels that one resource may have.
pub const LABELS_MAX: usize = 64;
/// Longest key or value, in bytes.
pub const LABEL_BYTES_MAX: usize = 63;

/// Labels by key. Keys and values are letters, digits, `-`, `_`, `.` and `/`, at most 63 bytes; a value may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

/// Why labels are not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// More than [`LABELS_MAX`].
    #[error("at most {LABELS_MAX} labels are allowed, and {0} were given")]
    TooMany(usize),
    /// A key or value that is empty, too long, or has a character that it may not have.
    #[error("{0:?} is not a label: letters, digits, '-', '_', '.' and '/', at most {LABEL_BYTES_MAX} characters")]
    Text(String),
    /// Not of the form `key=value`.
    #[error("{0:?} is not a label: write key=value")]
    Syntax(String),
}

impl Labels {
    /// The labels in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of a label.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether every label of `wanted` is here with the same value; if not, the first that is missing.
    ///
    /// # Errors
    /// The missing label, as `key=value`.
    pub fn covers(&self, wanted: &Self) -> Result<(), String> {
        match wanted.iter().find(|(key, value)| self.value(key) != Some(value)) {
            None => Ok(()),
            Some((key, value)) => Err(format!("{key}={value}")),
        }
    }

    /// Adds the labels of another set that are not here yet. More than [`LABELS_MAX`] are possible then: what is asked for
    /// together may be more than one resource has.
    pub fn extend(&mut self, other: &Self) {
        for (key, value) in other.iter() {
            self.0.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `key=value` texts.
    ///
    /// # Errors
    /// The first text that is no label, or too many of them.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, LabelError> {
        let mut labels = BTreeMap::new();
        for text in texts {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| LabelError::Syntax(text.to_owned()))?;
            labels.insert(key.to_owned(), value.to_owned());
        }
        labels.try_into()
    }
}

impl FromStr for Labels {
    type Err = LabelError;

    /// Reads `a=1,b=2`.
    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::parse(text.split(',').filter(|part| !part.is_empty()))
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = LabelError;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, LabelError> {
        if labels.len() > LABELS_MAX {
            return Err(LabelError::TooMany(labels.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let good = |text: &str| text.len() <= LABEL_BYTES_MAX && text.chars().all(allowed);
        match labels
            .iter()
            .find(|(key, value)| key.is_empty() || !good(key) || !good(value))
        {
            Some((key, value)) => Err(LabelError::Text(format!("{key}={value}"))),
            None => Ok(Self(labels)),
        }
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_checked() {
        assert_eq!("zone=a,ssd=true".parse::<Labels>().unwrap().value("ssd"), Some("true"));
        assert!(matches!("zone".parse::<Labels>(), Err(LabelError::Syntax(_))));
        assert!(matches!("zone=a b".parse::<Labels>(), Err(LabelError::Text(_))));
        assert!(matches!("=a".parse::<Labels>(), Err(LabelError::Text(_))));
        let many: Vec<String> = (0..65).map(|n| format!("k{n}=v")).collect();
        assert_eq!(
            Labels::parse(many.iter().map(String::as_str)),
            Err(LabelError::TooMany(65))
        );
    }

    #[test]
    fn covers_names_what_is_missing() {
        let node: Labels = "zone=a,ssd=true".parse().unwrap();
        assert_eq!(node.covers(&"zone=a".parse().unwrap()), Ok(()));
        assert_eq!(node.covers(&"zone=b".parse().unwrap()), Err("zone=b".to_owned()));
    }
}
