//! The root file system as a folder: busybox under all its names, and our few scripts.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::modules::Modules;
use super::packages::Packages;
use crate::run::{self, Error, run};

/// Where each script goes.
const SCRIPTS: [(&str, &[u8]); 7] = [
    ("etc/start", include_bytes!("../../assets/linux/start")),
    ("bin/value", include_bytes!("../../assets/linux/value")),
    ("etc/hotplug", include_bytes!("../../assets/linux/hotplug")),
    ("etc/dhcp", include_bytes!("../../assets/linux/dhcp")),
    // What busybox's acpid calls for the power button, whether it is a device or a fixed feature.
    ("etc/acpi/PWRF/00000080", include_bytes!("../../assets/linux/power")),
    ("etc/inittab", include_bytes!("../../assets/linux/inittab")),
    ("etc/profile", include_bytes!("../../assets/linux/profile")),
];

/// Lays it out in `root`.
pub(super) fn system(root: &Path, packages: &Packages, modules: &Modules) -> Result<(), Error> {
    for folder in [
        "bin", "sbin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "var/www",
    ] {
        run::folder(&root.join(folder))?;
    }
    let busybox = root.join("bin/busybox");
    run::write(&busybox, &run::read(&packages.busybox)?)?;
    executable(&busybox)?;
    for applet in run(Command::new(&busybox).arg("--list"))?
        .lines()
        .filter(|name| *name != "busybox")
    {
        link("busybox", &root.join("bin").join(applet))?;
    }
    link("/bin/busybox", &root.join("sbin/init"))?;
    link("/run/resolv.conf", &root.join("etc/resolv.conf"))?;
    for (path, content) in SCRIPTS {
        let path = root.join(path);
        run::write(&path, content)?;
        executable(&path)?;
    }
    run::write(&root.join("etc/passwd"), b"root::0:0:root:/root:/bin/sh\n")?;
    run::write(&root.join("etc/hosts"), b"127.0.0.1 localhost\n")?;
    for (name, content) in modules.contents()? {
        run::write(&root.join("modules").join(name), &content)?;
    }
    Ok(())
}

fn executable(path: &Path) -> Result<(), Error> {
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(run::file(path, "made executable"))
}

fn link(to: &str, path: &Path) -> Result<(), Error> {
    symlink(to, path).map_err(run::file(path, "linked"))
}
