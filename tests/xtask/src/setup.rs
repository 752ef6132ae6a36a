//! What a machine needs before anything is built: the wasm target, and a few Debian packages. Installs what is missing
//! and may be installed; otherwise prints the one line to run.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use crate::process;

/// The target that components are compiled for.
const TARGET: &str = symphony_plugin_build::TARGET;

/// A program, and the Debian package that brings it.
struct Program {
    name: &'static str,
    package: &'static str,
    what_for: &'static str,
}

const NEEDED: [Program; 3] = [
    Program {
        name: "qemu-img",
        package: "qemu-utils",
        what_for: "images are checked and written with it",
    },
    Program {
        name: "as",
        package: "binutils",
        what_for: "the demonstration's disk is assembled with it",
    },
    Program {
        name: "mkfs.xfs",
        package: "xfsprogs",
        what_for: "tests clone volumes on a file system with reflinks",
    },
];

/// Makes sure that everything is there.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    wasm_target()?;
    packages()
}

fn wasm_target() -> Result<(), Box<dyn Error>> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    eprintln!("setup: adding the target {TARGET}");
    process::run(Command::new("rustup").args(["target", "add", TARGET])).map_err(|error| {
        format!("components can't be built without the target: run `rustup target add {TARGET}` ({error})").into()
    })
}

fn packages() -> Result<(), Box<dyn Error>> {
    let missing: Vec<&Program> = NEEDED
        .iter()
        .filter(|program| !process::is_installed(program.name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for program in &missing {
        eprintln!("setup: {} is missing: {}", program.name, program.what_for);
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    let line = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    let is_root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    if !is_root || !process::is_installed("apt-get") {
        return Err(format!("run this as root, then try again:\n  {line}").into());
    }
    eprintln!("setup: {line}");
    process::run(Command::new("apt-get").args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    install
        .args(["-qq", "install", "-y", "--no-install-recommends"])
        .args(&packages);
    process::run(install.env("DEBIAN_FRONTEND", "noninteractive"))
        .map_err(|error| format!("{error}; try by hand:\n  {line}").into())
}
