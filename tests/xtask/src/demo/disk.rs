//! A bootable disk of our own making, and a look at the bytes on the nodes.

use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// Makes the tiny disk.
pub(crate) fn tiny(dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let path = dir.join("tiny.raw");
    symphony_lab::tiny(&path, "made by symphony")?;
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
