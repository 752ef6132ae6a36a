//! The one place where bytes become machine code.

#![expect(unsafe_code, reason = "wasmtime trusts compiled code; the caller shows that it may")]

use wasmtime::Engine;
use wasmtime::component::Component;

use super::CompileError;
use super::cache::Vouched;
use crate::fault::chain;

/// Loads machine code that the cache vouches for.
pub(crate) fn load(engine: &Engine, code: &Vouched) -> Result<Component, CompileError> {
    // SAFETY: `Vouched` is made in two places: from what our own compiler just answered, and from a file whose MAC,
    // under a key that only this user can read, shows that it is such an answer, unchanged. That it fits this engine is
    // checked by wasmtime itself.
    unsafe { Component::deserialize(engine, code.bytes()) }.map_err(|error| CompileError::Unusable(chain(&error)))
}
