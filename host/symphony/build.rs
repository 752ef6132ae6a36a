//! Finds the first-party components that are embedded in the binary. Never builds them: they are built for another
//! target, by `cargo xtask plugins`.

use std::path::{Path, PathBuf};

const COMPONENTS: [&str; 9] = [
    "spread.wasm",
    "binpack.wasm",
    "file.wasm",
    "blob.wasm",
    "libvirt.wasm",
    "test.wasm",
    "bridge.wasm",
    "nbd.wasm",
    "power.wasm",
];

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = here.join("../../target/plugins");
    for component in COMPONENTS {
        println!("cargo::rerun-if-changed={}", folder.join(component).display());
    }
    if COMPONENTS.iter().all(|component| folder.join(component).is_file()) {
        println!("cargo::rustc-env=SYMPHONY_PLUGINS={}", absolute(&folder).display());
    } else {
        println!("cargo::error=first-party plugins are not built: run `cargo xtask plugins`");
    }
}

fn absolute(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}
