//! Every way in which an upload is refused, and what passes.

use super::*;
use crate::guest::fixture;

fn reason(bytes: &[u8]) -> &'static str {
    inspect(bytes).expect_err("it should be refused").reason()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn each_world_has_its_slot() {
    for (world, slot, explains) in [
        ("scheduler", Slot::VolumeScheduler, false),
        ("explaining-scheduler", Slot::VolumeScheduler, true),
        ("volume", Slot::VolumeDriver, false),
        ("image", Slot::ImageDriver, false),
        ("machine", Slot::MachineDriver, false),
        ("network", Slot::NetworkDriver, false),
        ("exporting", Slot::ExportDriver, false),
        ("fencing", Slot::FenceDriver, false),
    ] {
        let bytes = fixture::component(world, fixture::SECTION);
        let manifest = inspect(&bytes).unwrap();
        assert_eq!((manifest.slot, manifest.explains), (slot, explains), "{world}");
        assert_eq!(
            (
                manifest.name.as_str(),
                manifest.version.as_str(),
                manifest.interface.as_str()
            ),
            ("dummy", "1.2.3", "0.1.0")
        );
        assert_eq!(manifest.size_bytes, bytes.len() as u64);
    }
}

#[test]
fn other_files() {
    assert_eq!(reason(b""), "empty");
    assert_eq!(reason(b"#!/bin/sh\n"), "not-wasm");
    assert_eq!(reason(b"\0as"), "truncated");
    assert_eq!(reason(b"\x7fELF\x02\x01\x01"), "elf");
    assert_eq!(reason(&wat("(module)")), "core-module");
    assert_eq!(
        reason(&vec![0; usize::try_from(COMPONENT_BYTES_MAX).unwrap() + 1]),
        "too-large"
    );
    let engine = crate::engine::engine(crate::engine::Purpose::Production).unwrap();
    assert_eq!(
        reason(&engine.precompile_component(&wat("(component)")).unwrap()),
        "precompiled"
    );
}

#[test]
fn a_cut_at_any_place_is_refused() {
    let bytes = fixture::component("scheduler", fixture::SECTION);
    for length in (0..bytes.len()).step_by(101).chain(bytes.len() - 3..bytes.len()) {
        assert!(inspect(&bytes[..length]).is_err(), "cut at {length}");
    }
    assert_eq!(reason(&bytes[..bytes.len() - 1]), "truncated");
}

#[test]
fn a_flipped_byte_never_panics() {
    let mut bytes = fixture::component("image", fixture::SECTION);
    for at in (0..bytes.len()).step_by(7) {
        bytes[at] ^= 0x55;
        let _ = inspect(&bytes);
        bytes[at] ^= 0x55;
    }
}

#[test]
fn imports_beyond_the_world_are_named() {
    let component = wat(
        r#"(component (import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64))))))"#,
    );
    let refused = inspect(&component).unwrap_err();
    assert_eq!(refused.reason(), "import");
    assert!(
        refused.to_string().contains("wasi:clocks/monotonic-clock@0.2.0 (now)"),
        "{refused}"
    );
    let component = wat(r#"(component (import "symphony:plugin/scheduling@0.1.0" (instance (export "call" (func)))))"#);
    assert_eq!(
        reason(&component),
        "import",
        "an interface of ours that has no functions"
    );
    assert_eq!(reason(&wat(r#"(component (import "f" (func)))"#)), "import");
}

#[test]
fn versions_are_named() {
    let component = wat(r#"(component (instance $i) (export "symphony:plugin/policy@0.2.0" (instance $i)))"#);
    let refused = inspect(&component).unwrap_err().to_string();
    assert!(
        refused.contains("policy@0.2.0") && refused.contains("policy@0.1.0") && refused.contains("rebuild"),
        "{refused}"
    );
    let component = wat(r#"(component (import "symphony:plugin/log@1.0.0" (instance)))"#);
    assert_eq!(reason(&component), "interface-version");
    assert!(is_served("0.1.7") && !is_served("0.10.0") && !is_served("1.1.0"));
}

#[test]
fn roles() {
    assert_eq!(reason(&wat("(component)")), "no-role");
    let two = r#"(component (instance $i)
        (export "symphony:plugin/policy@0.1.0" (instance $i)) (export "symphony:plugin/volume-driver@0.1.0" (instance $i)))"#;
    assert_eq!(reason(&wat(two)), "several-roles");
}

#[test]
fn what_it_says_of_itself() {
    let of = |section: &str| reason(&fixture::component("scheduler", section));
    assert_eq!(of(""), "section-missing");
    assert_eq!(of("{"), "section");
    assert_eq!(of(r#"{"name":"UPPER","version":"1.0.0"}"#), "section");
    assert_eq!(of(r#"{"name":"x","version":"one"}"#), "section");
    assert_eq!(
        of(r#"{"name":"x","version":"1.0.0","role":"driver","kind":"volume"}"#),
        "section"
    );
    assert_eq!(
        of(&format!(
            r#"{{"name":"x","version":"1.0.0","more":"{}"}}"#,
            "x".repeat(70_000)
        )),
        "section"
    );
}

#[test]
fn parts_and_memory_have_limits() {
    assert_eq!(
        reason(&wat(&format!("(component {})", "(core module)".repeat(65)))),
        "too-many-parts"
    );
    assert_eq!(
        reason(&wat(&format!("{}{}", "(component ".repeat(10), ")".repeat(10)))),
        "too-many-parts"
    );
    assert_eq!(reason(&wat("(component (core module (memory 20000)))")), "memory");
    assert_eq!(
        reason(&wat("(component (core module (memory 1 1 shared)))")),
        "malformed"
    );
    assert_eq!(reason(&wat("(component (core module (memory i64 1)))")), "malformed");
}
