//! Looks into a component without compiling it: validates it and lists what it imports, exports and says of itself.

use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::TypesRef;
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use crate::error::Error;
use crate::manifest::{PluginManifest, SECTION};

/// What a component asks for, gives and says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentInfo {
    /// What it imports, by name.
    pub imports: Vec<Import>,
    /// What it exports, by name.
    pub exports: Vec<String>,
    /// What it says of itself; nothing when it lacks the section.
    pub manifest: Option<PluginManifest>,
    /// Size, in bytes.
    pub size: u64,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// As `symphony:plugin/log@0.1.0`.
    pub name: String,
    /// The functions and resources in it; an interface of types alone has none.
    pub items: Vec<String>,
}

impl Import {
    /// Whether the host must provide anything: an interface that only names types asks for nothing.
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        !self.items.is_empty()
    }
}

/// Validates the bytes and lists what is in them.
///
/// # Errors
/// `Invalid`, when they are no component, or one that is broken.
pub fn inspect(bytes: &[u8]) -> Result<ComponentInfo, Error> {
    let invalid = |error: wasmparser::BinaryReaderError| Error::Invalid {
        reason: error.to_string(),
    };
    let (mut imports, mut exports, mut manifest) = (Vec::new(), Vec::new(), None);
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(Error::Invalid {
                    reason: "it is a core module, not a component".to_owned(),
                });
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                let read = serde_json::from_slice(section.data());
                let wrong = |error| Error::Invalid {
                    reason: format!("its section {SECTION} is unreadable: {error}"),
                };
                manifest = Some(read.map_err(wrong)?);
            }
            _ => {}
        }
    }
    let types = Validator::new_with_features(WasmFeatures::default())
        .validate_all(bytes)
        .map_err(invalid)?;
    let types = types.as_ref();
    let imports = imports
        .into_iter()
        .map(|name| Import {
            items: items(types, &name),
            name,
        })
        .collect();
    Ok(ComponentInfo {
        imports,
        exports,
        manifest,
        size: bytes.len() as u64,
    })
}

/// What an import needs to be given, by name.
fn items(types: TypesRef<'_>, import: &str) -> Vec<String> {
    let Some(item) = types.component_item_for_import(import) else {
        return Vec::new();
    };
    let ComponentEntityType::Instance(instance) = item.ty else {
        return vec![import.to_owned()];
    };
    let needed = types[instance].exports.iter().filter(|(_, item)| match item.ty {
        ComponentEntityType::Type { created, .. } => {
            matches!(created, wasmparser::component_types::ComponentAnyTypeId::Resource(_))
        }
        _ => true,
    });
    needed.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::inspect;

    #[test]
    fn what_is_no_component_is_named() {
        let module = inspect(b"\0asm\x01\0\0\0").unwrap_err().to_string();
        assert!(module.contains("core module"), "{module}");
        for bytes in [&b""[..], b"hello, world", b"\0asm", &[0; 64]] {
            assert!(inspect(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_empty_component_asks_for_nothing() {
        let info = inspect(b"\0asm\x0d\0\x01\0").unwrap();
        assert_eq!(
            (info.imports.len(), info.exports.len(), info.manifest, info.size),
            (0, 0, None, 8)
        );
    }
}
