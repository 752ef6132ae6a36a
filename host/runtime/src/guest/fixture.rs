//! Tiny components for unit tests: each export of a world, and behind it nothing but a trap.

use wasm_encoder::{CustomSection, Encode};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

pub(crate) const SECTION: &str = r#"{"name":"dummy","version":"1.2.3","description":"does nothing","sdk":"none"}"#;

/// A component of this world of `wit/`; with no section when it is empty.
pub(crate) fn component(world: &str, section: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit"))
        .unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut component = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    if !section.is_empty() {
        component.push(0);
        CustomSection {
            name: crate::inspect::SECTION_NAME.into(),
            data: section.as_bytes().into(),
        }
        .encode(&mut component);
    }
    component
}
