//! From a module to a component, and what is written into it.

use wasm_encoder::{ComponentSection, CustomSection};
use wit_component::ComponentEncoder;

use crate::error::Error;
use crate::inspect::inspect;
use crate::manifest::{PluginManifest, SECTION};

/// Makes a module that was linked with our bindings a component.
///
/// # Errors
/// What the encoder said: a missing export, an import that no world of ours has.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    encoder
        .validate(true)
        .module(module)
        .map_err(|error| format!("{error:#}"))?;
    encoder.encode().map_err(|error| format!("{error:#}"))
}

/// Adds what the component says of itself.
pub(crate) fn with_manifest(mut component: Vec<u8>, manifest: &PluginManifest) -> Vec<u8> {
    // A value of strings and lists of strings: writing it as JSON can't fail.
    let json = serde_json::to_vec(manifest).unwrap_or_default();
    CustomSection {
        name: SECTION.into(),
        data: json.into(),
    }
    .append_to_component(&mut component);
    component
}

/// The same component with its interfaces in another version of the same length (`0.1.0` to `0.2.0`): for tests of what
/// a host says to a plugin from the future.
///
/// # Errors
/// When the lengths differ or the result is no valid component.
pub(crate) fn rename_interface_version(component: &[u8], from: &str, to: &str) -> Result<Vec<u8>, Error> {
    if from.len() != to.len() {
        return Err(Error::Invalid {
            reason: format!("{from} and {to} differ in length"),
        });
    }
    let mut renamed = component.to_vec();
    // As in `symphony:plugin/policy@0.1.0`, and in what the component says of itself.
    for quote in ["@VERSION", "\"interface\":\"VERSION\""] {
        replace_all(
            &mut renamed,
            &quote.replace("VERSION", from),
            &quote.replace("VERSION", to),
        );
    }
    inspect(&renamed)?;
    Ok(renamed)
}

/// Both texts are of the same length.
fn replace_all(bytes: &mut [u8], from: &str, to: &str) {
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(from.len())
        .position(|window| window == from.as_bytes())
    {
        at += found;
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        at += to.len();
    }
}
