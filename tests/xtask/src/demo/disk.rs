//! A bootable disk of our own making, and a look at the bytes on the nodes.

use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// Size of the tiny disk: 1 MiB.
const DISK_BYTES: usize = 1 << 20;
const SECTOR: usize = 512;

/// Assembles the boot sector and lays the disk out; see `assets/boot.S`.
pub(crate) fn tiny(dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let source = process::root().join("tests/xtask/assets/boot.S");
    let (object, linked) = (dir.join("boot.o"), dir.join("boot.bin"));
    process::run(Command::new("as").arg("--32").arg(source).arg("-o").arg(&object))?;
    let mut link = Command::new("ld");
    link.args(["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary"])
        .arg(&object)
        .arg("-o")
        .arg(&linked);
    process::run(&mut link)?;
    let mut disk = std::fs::read(&linked)?;
    if disk.len() != SECTOR {
        return Err(format!("the boot sector has {} bytes", disk.len()).into());
    }
    disk.resize(DISK_BYTES, 0);
    let text = b"made by symphony\0";
    disk[SECTOR..SECTOR + text.len()].copy_from_slice(text);
    let path = dir.join("tiny.raw");
    std::fs::write(&path, disk)?;
    Ok(path)
}

/// Compares every volume that a node has published with the image, byte by byte, as far as the image goes.
pub(crate) fn compare(dir: &Path, image: &str) -> Result<(), Box<dyn Error>> {
    let raw = dir.join("compare.raw");
    process::run(Command::new("qemu-img").args(["convert", "-O", "raw", image]).arg(&raw))?;
    let mut wanted = Vec::new();
    File::open(&raw)?.read_to_end(&mut wanted)?;
    println!("\n# The image's bytes are on the nodes' disks:");
    let mut compared = 0;
    for node in std::fs::read_dir(dir.join("nodes"))? {
        for volume in volumes(&node?.path())? {
            let mut bytes = vec![0; wanted.len()];
            File::open(&volume)?.read_exact(&mut bytes)?;
            if bytes != wanted {
                return Err(format!("{} differs from the image", volume.display()).into());
            }
            println!("same as the image: {}", volume.strip_prefix(dir)?.display());
            compared += 1;
        }
    }
    if compared == 0 {
        Err("no volume was found on any node".into())
    } else {
        Ok(())
    }
}

/// The published volumes of a node, in all its pools.
fn volumes(node: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut folders = vec![node.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "raw")
                && path.parent().is_some_and(|p| p.ends_with("volumes"))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
