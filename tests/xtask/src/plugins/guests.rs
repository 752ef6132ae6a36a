//! Guests that misbehave, from `tests/guests/` into `target/plugins/guests/NAME.wasm`.

use std::error::Error;
use std::path::Path;

use symphony_plugin_build::{BuildOptions, BuiltComponent, build_component};

/// What a scheduler can do wrong; each is a feature of `tests/guests/scheduler`.
const SCHEDULERS: [&str; 12] = [
    "unknown-node",
    "overcommit",
    "too-few",
    "too-many",
    "endless-loop",
    "memory-bomb",
    "huge-answer",
    "trap",
    "nan-score",
    "stale-forever",
    "wrong-digest",
    "log-flood",
];

/// What a volume driver can do wrong; each is a feature of `tests/guests/volume`.
const DRIVERS: [&str; 7] = [
    "foreign-object",
    "path-object",
    "too-many-steps",
    "never-done",
    "forbidden-command",
    "driver-trap",
    "driver-loop",
];

/// Builds them all. One run of cargo each, for they differ in a feature; what is up to date is not built again.
pub(super) fn run(root: &Path, offline: bool) -> Result<(), Box<dyn Error>> {
    let sources = root.join("tests/guests");
    let target = root.join("target/plugins/guests");
    let build = |folder: &str, name: &str, features: &[&str]| {
        build_component(&BuildOptions {
            // Shared with the rest of the repository, so that the SDK is compiled once.
            target_dir: Some(root.join("target")),
            features: features.iter().map(|&feature| feature.to_owned()).collect(),
            name: Some(name.to_owned()),
            offline,
            quiet: true,
            ..BuildOptions::new(sources.join(folder))
        })
    };
    let place = |name: &str, built: &BuiltComponent| super::place(built, &target.join(format!("{name}.wasm")));
    for name in SCHEDULERS {
        place(name, &build("scheduler", name, &[name])?)?;
    }
    for name in DRIVERS {
        place(name, &build("volume", name, &[name])?)?;
    }
    place("imports-wasi", &build("wasi", "imports-wasi", &[])?)?;
    let good = build("scheduler", "well-behaved", &[])?;
    place("well-behaved", &good)?;
    place(
        "wrong-version",
        &build("scheduler", "wrong-version", &[])?.with_interface_version("0.2.0")?,
    )?;
    // What is no component at all.
    std::fs::write(target.join("core-module.wasm"), b"\0asm\x01\0\0\0")?;
    std::fs::write(
        target.join("text.wasm"),
        b"this is not the component that you are looking for\n",
    )?;
    std::fs::write(target.join("truncated.wasm"), &good.bytes[..good.bytes.len() / 2])?;
    Ok(())
}
