//! A bootable disk of 1 MiB with one sector of code: up in a third of a second, in 16 MiB of memory. It prints
//! `TINY text boots=N` on the first serial port, counts its boots on the disk, echoes what it receives, and obeys the
//! power button. It knows no network.

use std::path::Path;
use std::process::Command;

use crate::run::{self, Error, run};

/// Size of the disk, in bytes.
pub const TINY_BYTES: usize = 1 << 20;
const SECTOR: usize = 512;

/// Writes a tiny disk (raw) to `path`; `text` is what it says of itself: at most 511 bytes, without a zero byte.
///
/// # Errors
/// When the text does not fit, binutils are missing, or the disk can't be written.
pub fn tiny(path: &Path, text: &str) -> Result<(), Error> {
    if text.len() >= SECTOR || text.contains('\0') {
        let bytes = text.len();
        return Err(Error::Unexpected(format!(
            "the tiny disk's text does not fit: {bytes} bytes"
        )));
    }
    let (object, linked) = (path.with_extension("o"), path.with_extension("bin"));
    let source = crate::root().join("tests/lab/assets/boot.S");
    run(Command::new("as").arg("--32").arg(source).arg("-o").arg(&object))?;
    let mut link = Command::new("ld");
    link.args(["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary"]);
    run(link.arg(&object).arg("-o").arg(&linked))?;
    let mut disk = run::read(&linked)?;
    for made in [object, linked] {
        std::fs::remove_file(&made).map_err(run::file(&made, "removed"))?;
    }
    if disk.len() != SECTOR {
        return Err(Error::Unexpected(format!("the boot sector has {} bytes", disk.len())));
    }
    disk.resize(TINY_BYTES, 0);
    disk[SECTOR..SECTOR + text.len()].copy_from_slice(text.as_bytes());
    run::write(path, &disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_boots_by_its_first_sector_and_says_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny.raw");
        tiny(&path, "a text").unwrap();
        let disk = std::fs::read(&path).unwrap();
        assert_eq!(disk.len(), TINY_BYTES);
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        assert_eq!(&disk[512..519], b"a text\0");
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "something was left behind"
        );
    }

    #[test]
    fn a_text_that_is_too_long_is_refused() {
        let path = std::env::temp_dir().join("never-written.raw");
        assert!(tiny(&path, &"x".repeat(512)).is_err());
        assert!(!path.exists());
    }
}
