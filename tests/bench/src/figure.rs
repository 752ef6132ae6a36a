//! What a figure is, which of them are asked for, and what was measured.

use std::collections::BTreeMap;

/// A figure: its name never changes, for others compare by it.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) aim: Aim,
    /// What is measured, in one line.
    pub(crate) what: &'static str,
}

/// What is hoped for.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// Shown for its own sake.
    None,
}

impl Aim {
    /// Whether a value reaches it; nothing when there is none.
    pub(crate) fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(limit) => Some(value <= limit),
            Self::AtLeast(limit) => Some(value >= limit),
            Self::None => None,
        }
    }
}

/// The names that are asked for.
pub(crate) struct Wanted(Vec<String>);

impl Wanted {
    /// These, or all when there are none.
    pub(crate) fn new<'a>(only: &[String], all: impl Iterator<Item = &'a Figure>) -> Result<Self, String> {
        let all: Vec<&str> = all.map(|figure| figure.name).collect();
        match only.iter().find(|only| !all.iter().any(|name| is_below(name, only))) {
            Some(unknown) => Err(format!("there is no figure {unknown:?}; there are {}", all.join(", "))),
            None => Ok(Self(only.to_vec())),
        }
    }

    pub(crate) fn has(&self, figure: &Figure) -> bool {
        self.0.is_empty() || self.0.iter().any(|only| is_below(figure.name, only))
    }

    pub(crate) fn any(&self, figures: &[Figure]) -> bool {
        figures.iter().any(|figure| self.has(figure))
    }
}

/// Whether a name is this one, or begins with it and a dot.
fn is_below(name: &str, only: &str) -> bool {
    name.strip_prefix(only)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What was measured, by name.
#[derive(Default)]
pub(crate) struct Values(BTreeMap<&'static str, f64>);

impl Values {
    /// Notes a value, and says so to whoever waits.
    pub(crate) fn put(&mut self, name: &'static str, value: f64) {
        eprintln!("{name} = {value:.3}");
        self.0.insert(name, value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [Figure; 2] = [
        Figure {
            name: "a.b.c",
            unit: "",
            aim: Aim::AtMost(1.5),
            what: "",
        },
        Figure {
            name: "a.bc",
            unit: "",
            aim: Aim::None,
            what: "",
        },
    ];

    #[test]
    fn names_select_themselves_and_what_is_below() {
        let wanted = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|&only| only.to_owned()).collect();
            let wanted = Wanted::new(&only, TWO.iter())?;
            Ok::<_, String>(TWO.iter().map(|figure| wanted.has(figure)).collect::<Vec<_>>())
        };
        assert_eq!(wanted(&[]), Ok(vec![true, true]));
        assert_eq!(wanted(&["a"]), Ok(vec![true, true]));
        assert_eq!(wanted(&["a.b"]), Ok(vec![true, false]));
        assert_eq!(wanted(&["a.bc"]), Ok(vec![false, true]));
        assert!(wanted(&["a.b", "nothing"]).is_err_and(|error| error.contains("nothing") && error.contains("a.bc")));
    }

    #[test]
    fn aims_are_met_at_their_limit() {
        assert_eq!(Aim::AtMost(1.5).is_met(1.5), Some(true));
        assert_eq!(Aim::AtMost(1.5).is_met(1.6), Some(false));
        assert_eq!(Aim::AtLeast(0.9).is_met(0.9), Some(true));
        assert_eq!(Aim::AtLeast(0.9).is_met(0.8), Some(false));
        assert_eq!(Aim::None.is_met(1.0), None);
    }
}
