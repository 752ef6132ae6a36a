//! The disk: a first sector that boots, a FAT partition with the boot loader and the kernel, an ext4 partition with the
//! root file system. Nothing is mounted, so nobody needs root's rights.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::modules::tool;
use crate::run::{self, Error, run};

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// What boots a partition that is marked active.
const BOOT_CODE: &str = "/usr/lib/syslinux/mbr/mbr.bin";
/// As far as the first sector belongs to code.
const CODE_BYTES: usize = 440;

/// A partition: where it starts and how long it is, in MiB, and what it is said to hold.
struct Partition {
    start: u64,
    size: u64,
    kind: u8,
    is_active: bool,
}

/// FAT16, by sector number.
const BOOT: Partition = Partition {
    start: 1,
    size: 16,
    kind: 0x0e,
    is_active: true,
};
const ROOT: Partition = Partition {
    start: 17,
    size: 31,
    kind: 0x83,
    is_active: false,
};

/// Makes the disk in `work` and gives its path.
pub(super) fn disk(work: &Path, kernel: &Path, initrd: &[u8], root: &Path) -> Result<PathBuf, Error> {
    let boot = boot_partition(work, kernel, initrd)?;
    let system = work.join("system.part");
    sized(&system, ROOT.size)?;
    let mut format = tool("mke2fs");
    format.args(["-q", "-F", "-t", "ext4", "-L", "symphony-root", "-E", "root_owner=0:0"]);
    run(format.arg("-d").arg(root).arg(&system))?;

    let path = work.join("linux.raw");
    let disk = sized(&path, ROOT.start + ROOT.size)?;
    let mut code = run::read(Path::new(BOOT_CODE))?;
    code.truncate(CODE_BYTES);
    let table = table(&[BOOT, ROOT]);
    let written = disk
        .write_all_at(&code, 0)
        .and_then(|()| disk.write_all_at(&table, SECTOR - table.len() as u64));
    written.map_err(run::file(&path, "written"))?;
    for (partition, from) in [(BOOT, boot), (ROOT, system)] {
        copy(&disk, partition.start * MIB, &run::read(&from)?).map_err(run::file(&path, "written"))?;
    }
    disk.sync_all().map_err(run::file(&path, "written"))?;
    Ok(path)
}

fn boot_partition(work: &Path, kernel: &Path, initrd: &[u8]) -> Result<PathBuf, Error> {
    let path = work.join("boot.part");
    sized(&path, BOOT.size)?;
    run(tool("mkfs.fat").args(["-F", "16", "-n", "SYMBOOT"]).arg(&path))?;
    let (memory_disk, config) = (work.join("initrd"), work.join("syslinux.cfg"));
    run::write(&memory_disk, initrd)?;
    run::write(&config, include_bytes!("../../assets/linux/syslinux.cfg"))?;
    for (from, to) in [
        (kernel, "::/vmlinuz"),
        (&memory_disk, "::/initrd"),
        (&config, "::/syslinux.cfg"),
    ] {
        run(tool("mcopy").arg("-i").arg(&path).arg(from).arg(to))?;
    }
    run(tool("syslinux").arg("--install").arg(&path))?;
    Ok(path)
}

/// The partition table: four places, then the mark of a sector that boots.
fn table(partitions: &[Partition]) -> Vec<u8> {
    let mut table = vec![0; 64];
    for (entry, partition) in table.chunks_exact_mut(16).zip(partitions) {
        let sectors = |mib: u64| u32::try_from(mib * MIB / SECTOR).unwrap_or(u32::MAX).to_le_bytes();
        entry[0] = if partition.is_active { 0x80 } else { 0 };
        // Cylinders, heads and sectors: "look at the sector number instead".
        entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[4] = partition.kind;
        entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[8..12].copy_from_slice(&sectors(partition.start));
        entry[12..16].copy_from_slice(&sectors(partition.size));
    }
    table.extend([0x55, 0xaa]);
    table
}

fn sized(path: &Path, mib: u64) -> Result<File, Error> {
    let mut file = File::create(path).map_err(run::file(path, "made"))?;
    let made = file.flush().and_then(|()| file.set_len(mib * MIB));
    made.map_err(run::file(path, "made"))?;
    Ok(file)
}

/// Copies what is not zero, so that the file stays small on the disk.
fn copy(disk: &File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    const PIECE: usize = 64 << 10;
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        if piece.iter().any(|byte| *byte != 0) {
            disk.write_all_at(piece, at + (number * PIECE) as u64)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_marks_the_boot_partition_and_leaves_no_gap() {
        let table = table(&[BOOT, ROOT]);
        assert_eq!(table.len(), 66);
        assert_eq!((table[0], table[16]), (0x80, 0));
        assert_eq!(table[8..12], 2048_u32.to_le_bytes());
        assert_eq!(table[24..28], (17 * 2048_u32).to_le_bytes());
        assert_eq!(table[64..], [0x55, 0xaa]);
        assert_eq!(BOOT.start + BOOT.size, ROOT.start);
        const { assert!(ROOT.start + ROOT.size <= 64) }
    }
}
