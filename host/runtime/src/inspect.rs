//! What can be said of uploaded bytes without compiling them: whether they are a component that may run here, and as what.
//!
//! Time and memory are linear in the size of the upload. What passes here may still be refused by the compiler or fail
//! its first run; what does not pass never reaches them.

mod parts;
mod rejected;
mod section;

use sha2::{Digest as _, Sha256};
use symphony_core::digest::Digest;
use symphony_core::name::Name;
use symphony_core::plugin::{COMPONENT_BYTES_MAX, Slot};
use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{Parser, Validator, WasmFeatures};
use wasmtime::Engine;

pub use rejected::Rejected;
pub use section::SECTION_NAME;

/// The version of the interfaces that this host serves.
pub const INTERFACE_VERSION: &str = "0.1.0";
/// The package of the interfaces.
const PACKAGE: &str = "symphony:plugin/";
/// The one interface of which functions may be imported.
const LOG: &str = "log";

/// What a component is, read from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of the bytes.
    pub digest: Digest,
    /// Size of the component, in bytes.
    pub size_bytes: u64,
    /// What it calls itself.
    pub name: Name,
    /// Its version.
    pub version: String,
    /// One line for a person; may be empty.
    pub description: String,
    /// What it can serve as: follows from what it exports, never from what it says.
    pub slot: Slot,
    /// The version of the interfaces that it was built for.
    pub interface: String,
    /// The SDK that built it, with its version; may be empty.
    pub sdk: String,
    /// Whether it exports `explain` (schedulers).
    pub explains: bool,
}

/// Reads a component's bytes.
///
/// # Errors
/// The first reason why it can't run here.
pub fn inspect(bytes: &[u8]) -> Result<Manifest, Rejected> {
    check_kind(bytes)?;
    let parts = parts::read(bytes)?;
    let types = Validator::new_with_features(features())
        .validate_all(bytes)
        .map_err(|error| rejected::malformed(&error))?;
    for import in &parts.imports {
        check_import(types.as_ref(), import, types.as_ref().component_item_for_import(import))?;
    }
    let (slot, interface) = slot(&parts.exports)?;
    let section = section::parse(parts.section, slot)?;
    Ok(Manifest {
        digest: digest(bytes),
        size_bytes: bytes.len() as u64,
        name: section.name,
        version: section.version,
        description: section.description,
        slot,
        interface,
        sdk: section.sdk,
        explains: explains(&types, &parts.exports),
    })
}

/// The digest that names a component.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}

/// What is told by the first bytes and the length.
fn check_kind(bytes: &[u8]) -> Result<(), Rejected> {
    if bytes.is_empty() {
        return Err(Rejected::Empty);
    }
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(Rejected::TooLarge {
            bytes: bytes.len() as u64,
        });
    }
    // Compiled code is an ELF file too: look for it first.
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(Rejected::Precompiled);
    }
    if bytes.starts_with(b"\x7fELF") {
        return Err(Rejected::Elf);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(if b"\0asm".starts_with(bytes) {
            Rejected::Truncated
        } else {
            Rejected::NotWasm
        });
    }
    if bytes.len() < 8 {
        return Err(Rejected::Truncated);
    }
    if Parser::is_core_wasm(bytes) {
        return Err(Rejected::CoreModule);
    }
    if Parser::is_component(bytes) {
        Ok(())
    } else {
        Err(Rejected::Malformed(
            "an unknown version of the component format".to_owned(),
        ))
    }
}

/// The features of the engine (see [`crate::engine`]), in the words of this validator.
pub(super) fn features() -> WasmFeatures {
    WasmFeatures::default()
        & !(WasmFeatures::THREADS
            | WasmFeatures::RELAXED_SIMD
            | WasmFeatures::MULTI_MEMORY
            | WasmFeatures::MEMORY64
            | WasmFeatures::FUNCTION_REFERENCES
            | WasmFeatures::GC
            | WasmFeatures::EXCEPTIONS
            | WasmFeatures::WIDE_ARITHMETIC
            | WasmFeatures::CM_ASYNC
            | WasmFeatures::CM_MAP)
}

/// `symphony:plugin/NAME@VERSION`, taken apart.
fn own_interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.split_once('@')
}

/// In 0.x a patch version has the same shape, a minor version is another interface.
fn is_served(version: &str) -> bool {
    let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    minor(version) == minor(INTERFACE_VERSION)
}

fn check_import(types: TypesRef<'_>, name: &str, item: Option<&ComponentItem>) -> Result<(), Rejected> {
    let refused = |function: Option<&str>| Rejected::Import {
        import: name.to_owned(),
        function: function.map(str::to_owned).unwrap_or_default(),
    };
    let Some(ComponentEntityType::Instance(instance)) = item.map(|item| item.ty) else {
        return Err(refused(None));
    };
    // Interfaces that hold only types are imported by whoever uses the types: nothing can be called through them.
    let callable = types[instance]
        .exports
        .iter()
        .find(|(_, item)| !matches!(item.ty, ComponentEntityType::Type { .. }));
    match own_interface(name) {
        Some((interface, version)) if !is_served(version) => Err(Rejected::InterfaceVersion {
            interface: interface.to_owned(),
            found: version.to_owned(),
        }),
        Some((LOG, _)) => Ok(()),
        Some(_) if callable.is_none() => Ok(()),
        _ => Err(refused(callable.map(|(function, _)| function.as_str()))),
    }
}

/// What the exports make it, and the version it was built for.
fn slot(exports: &[String]) -> Result<(Slot, String), Rejected> {
    let mut found: Vec<(Slot, &str, &str)> = Vec::new();
    for (interface, version) in exports.iter().filter_map(|name| own_interface(name)) {
        let slot = match interface {
            "policy" => Slot::VolumeScheduler,
            "volume-driver" => Slot::VolumeDriver,
            "image-driver" => Slot::ImageDriver,
            "machine-driver" => Slot::MachineDriver,
            "network-driver" => Slot::NetworkDriver,
            "export-driver" => Slot::ExportDriver,
            "fence-driver" => Slot::FenceDriver,
            _ => continue,
        };
        found.push((slot, interface, version));
    }
    match found.as_slice() {
        [] => Err(Rejected::NoRole {
            exports: exports.join(", "),
        }),
        [(slot, _, version)] if is_served(version) => Ok((*slot, (*version).to_owned())),
        [(_, interface, version)] => Err(Rejected::InterfaceVersion {
            interface: (*interface).to_owned(),
            found: (*version).to_owned(),
        }),
        several => Err(Rejected::SeveralRoles {
            roles: several.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn explains(types: &Types, exports: &[String]) -> bool {
    let is_explain = |name: &&String| {
        own_interface(name).is_some_and(|(interface, version)| interface == "explain" && is_served(version))
    };
    exports
        .iter()
        .find(is_explain)
        .is_some_and(|name| types.as_ref().component_item_for_export(name).is_some())
}

#[cfg(test)]
mod tests;
