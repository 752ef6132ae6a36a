//! Strings by number.

use crate::scheduler::{Error, SymbolNames};

/// A string by its number: equal numbers are equal strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(pub u32);

impl Symbol {
    /// No string.
    pub const NONE: Self = Self(0);

    /// Whether there is no string.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// The strings of an epoch. Only ever grows; a new load starts anew.
#[derive(Debug, Clone, Default)]
pub struct Symbols {
    /// Symbol `n` is `names[n - 1]`.
    names: Vec<String>,
}

impl Symbols {
    /// Its text; empty for none and for a number that was never given.
    #[must_use]
    pub fn text(&self, symbol: Symbol) -> &str {
        match symbol.0.checked_sub(1).and_then(|index| self.names.get(index as usize)) {
            Some(text) => text,
            None => "",
        }
    }

    /// The symbol of a text, if it was given. Looks through all of them: for set-up, not for scans.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Symbol> {
        let index = self.names.iter().position(|name| name == text)?;
        u32::try_from(index + 1).ok().map(Symbol)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.names.clear();
    }

    /// Adds names. Those that are known already are left as they are, so that a repeated call does no harm.
    pub(crate) fn extend(&mut self, new: SymbolNames) -> Result<(), Error> {
        if new.names.is_empty() {
            return Ok(());
        }
        // Number 0 means "none": a list that starts there carries a name for it that nobody needs.
        let skip_none = usize::from(new.first == 0);
        let first = (new.first as usize).max(1) - 1;
        let Some(known) = self.names.len().checked_sub(first) else {
            return Err(Error::Other(format!(
                "symbols from {} on were given, but only {} are known",
                new.first,
                self.names.len()
            )));
        };
        self.names.extend(new.names.into_iter().skip(skip_none + known));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Symbol, Symbols};
    use crate::scheduler::SymbolNames;

    fn names(first: u32, names: &[&str]) -> SymbolNames {
        SymbolNames {
            first,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn grows_repeats_and_refuses_gaps() {
        let mut symbols = Symbols::default();
        symbols.extend(names(1, &["a", "b"])).unwrap();
        symbols.extend(names(2, &["b", "c"])).unwrap();
        assert_eq!(
            [1, 2, 3, 4, 0].map(|n| symbols.text(Symbol(n)).to_owned()),
            ["a", "b", "c", "", ""]
        );
        assert_eq!(symbols.find("c"), Some(Symbol(3)));
        assert!(symbols.extend(names(6, &["x"])).is_err());
        assert_eq!(symbols.len(), 3);
    }

    #[test]
    fn a_list_from_zero_names_none_first() {
        let mut symbols = Symbols::default();
        symbols.extend(names(0, &["", "a"])).unwrap();
        assert_eq!(symbols.text(Symbol(1)), "a");
    }
}
