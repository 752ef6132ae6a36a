//! Debian's packages for the guest: fetched and unpacked into a folder, never installed on this server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Error, run};

/// Depends on the current kernel package, whose name has its version.
const KERNEL: &str = "linux-image-cloud-amd64";

/// The unpacked packages.
pub(super) struct Packages {
    /// The folder that they are unpacked in.
    pub(super) dir: PathBuf,
    /// The kernel's version, as its modules' folder is named.
    pub(super) version: String,
    /// The kernel, in the form that boot loaders take.
    pub(super) kernel: PathBuf,
    /// The statically linked busybox.
    pub(super) busybox: PathBuf,
}

/// Fetches and unpacks them.
pub(super) fn fetch(dir: &Path) -> Result<Packages, Error> {
    run::folder(dir)?;
    if download(dir).is_err() {
        // The lists are missing or out of date. Only root can fetch them; for others the second try tells what is wrong.
        let _ = run(Command::new("apt-get").args(["-qq", "update"]));
        download(dir)?;
    }
    let unpacked = dir.join("unpacked");
    for entry in std::fs::read_dir(dir).map_err(run::file(dir, "read"))?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(&unpacked))?;
        }
    }
    let modules = unpacked.join("lib/modules");
    let mut versions = std::fs::read_dir(&modules)
        .map_err(run::file(&modules, "read"))?
        .flatten();
    let version = versions
        .next()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let version = version.ok_or_else(|| Error::Unexpected("the kernel's package has no modules".to_owned()))?;
    Ok(Packages {
        kernel: unpacked.join(format!("boot/vmlinuz-{version}")),
        busybox: unpacked.join("bin/busybox"),
        version,
        dir: unpacked,
    })
}

fn download(dir: &Path) -> Result<(), Error> {
    let depends = run(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let name = depends
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("Depends: ")
                .filter(|name| name.starts_with("linux-image-"))
        })
        .ok_or_else(|| Error::Unexpected(format!("{KERNEL} depends on no kernel: {depends}")))?;
    let mut fetch = Command::new("apt-get");
    fetch.args(["-qq", "download", "busybox-static", name]).current_dir(dir);
    run(&mut fetch).map(drop)
}
