//! Builds plugins: from a crate to a component that says what it is.
//!
//! Used by `symphony plugin new|build` and by `cargo xtask plugins`. Runs `cargo`, never a component: what is built here
//! is looked at, not executed.

mod cargo;
mod compile;
mod component;
mod error;
mod inspect;
mod manifest;
mod template;

pub use compile::{BuildOptions, BuiltComponent, build_component, build_components, target_directory};
pub use component::componentize;
pub use error::Error;
pub use inspect::{ComponentInfo, Import, inspect};
pub use manifest::{INTERFACE_VERSION, Kind, PluginManifest, Role, SECTION};
pub use template::{SdkSource, Template, new_plugin};

/// The target that plugins are compiled for: no imports but our own.
pub const TARGET: &str = "wasm32-unknown-unknown";
