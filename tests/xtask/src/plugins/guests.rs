//! Guests that misbehave.

use std::error::Error;
use std::path::Path;

pub(super) fn run(_root: &Path, _offline: bool) -> Result<(), Box<dyn Error>> {
    Err("not yet".into())
}
