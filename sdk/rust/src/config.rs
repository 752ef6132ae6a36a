//! The configuration of a plugin that takes none.

/// Accepts an empty text or an empty object, refuses everything else: a setting that nobody reads is a mistake.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn expect_empty(json: &str) -> Result<(), String> {
    let bare: String = json.chars().filter(|c| !c.is_whitespace()).take(3).collect();
    if bare.is_empty() || bare == "{}" {
        Ok(())
    } else {
        Err("this plugin takes no configuration".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::expect_empty;

    #[test]
    fn only_nothing_is_taken() {
        for empty in ["", "{}", " { } \n"] {
            assert_eq!(expect_empty(empty), Ok(()));
        }
        for other in ["{\"a\":1}", "[]", "{} x", "null"] {
            assert!(expect_empty(other).is_err(), "{other}");
        }
    }
}
