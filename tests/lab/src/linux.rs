//! A small real Linux: a disk of 48 MiB with Debian's cloud kernel and busybox, up in some seven seconds without KVM, in
//! 192 MiB of memory. Made without root's rights from Debian's packages, kept in `target/guests/`, and made again only
//! when its recipe changes.
//!
//! What it does is in `assets/linux/`: it asks every `eth*` for an address by DHCP, also those that come later; says
//! `symphony-linux up boots=N address=A.B.C.D` on the first serial port, then offers a shell of root there; serves its
//! host name on port 80; obeys the power button; sees disks that are plugged in; takes its name and a script from a
//! seed (NoCloud, on a vfat disk named CIDATA).

mod disk;
mod initrd;
mod modules;
mod packages;
mod system;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::run::{self, Error};

/// Everything that the disk is made from and by; when a word of it changes, the disk is made again.
const RECIPE: [&str; 15] = [
    include_str!("linux.rs"),
    include_str!("linux/disk.rs"),
    include_str!("linux/initrd.rs"),
    include_str!("linux/modules.rs"),
    include_str!("linux/packages.rs"),
    include_str!("linux/system.rs"),
    include_str!("../assets/linux/init"),
    include_str!("../assets/linux/inittab"),
    include_str!("../assets/linux/start"),
    include_str!("../assets/linux/value"),
    include_str!("../assets/linux/hotplug"),
    include_str!("../assets/linux/dhcp"),
    include_str!("../assets/linux/power"),
    include_str!("../assets/linux/profile"),
    include_str!("../assets/linux/syslinux.cfg"),
];

/// The path of the Linux disk (raw; never to be booted from directly, for it is everyone's: copy it). Makes the disk when
/// it is not there; then Debian's mirror must be within reach.
///
/// # Errors
/// When packages can't be had, or a program fails.
pub fn linux() -> Result<PathBuf, Error> {
    let dir = crate::target_dir().join("guests");
    run::folder(&dir)?;
    // Tests run beside one another; the first makes it, the others wait.
    let lock = dir.join("linux.lock");
    let held = File::create(&lock).map_err(run::file(&lock, "made"))?;
    held.lock().map_err(run::file(&lock, "locked"))?;
    let (disk, recipe) = (dir.join("linux.raw"), dir.join("linux.recipe"));
    let wanted = RECIPE.concat();
    let made = std::fs::read_to_string(&recipe).is_ok_and(|made| made == wanted);
    if made && disk.is_file() {
        return Ok(disk);
    }
    let work = dir.join("linux.work");
    clear(&work)?;
    let new = make(&work)?;
    // The disk before the recipe: who is cut off between them makes it once more.
    std::fs::rename(&new, &disk).map_err(run::file(&disk, "put in place"))?;
    run::write(&recipe, wanted.as_bytes())?;
    clear(&work)?;
    Ok(disk)
}

fn make(work: &Path) -> Result<PathBuf, Error> {
    let packages = packages::fetch(&work.join("packages"))?;
    let boot = modules::Modules::find(&packages, &["virtio_pci", "virtio_blk"])?;
    let later = [
        "virtio_net",
        "virtio_rng",
        "virtio_balloon",
        "button",
        "evdev",
        "vfat",
        "nls_cp437",
        "nls_ascii",
        "nls_utf8",
        "nls_iso8859_1",
    ];
    let later = modules::Modules::find(&packages, &later)?.without(&boot);
    let initrd = initrd::initrd(&packages.busybox, &boot)?;
    let root = work.join("root");
    system::system(&root, &packages, &later)?;
    disk::disk(work, &packages.kernel, &initrd, &root)
}

fn clear(dir: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(run::file(dir, "removed")(error)),
        _ => Ok(()),
    }
}
