//! Disk images of the tests' own making, with bytes that tell one place from another.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes that look random and are the same each time.
#[must_use]
pub fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// A raw disk with data at both ends and zeros between.
#[must_use]
pub fn raw(seed: u64, bytes: usize) -> Vec<u8> {
    let mut disk = vec![0; bytes];
    let end = pattern(seed, bytes / 4);
    disk[..end.len()].copy_from_slice(&end);
    disk[bytes - end.len()..].copy_from_slice(&end);
    disk
}

/// Makes a qcow2 file of a raw disk.
///
/// # Panics
/// When `qemu-img` is missing or fails.
#[must_use]
pub fn qcow2(dir: &Path, raw: &[u8]) -> PathBuf {
    let (from, to) = (dir.join("source.raw"), dir.join("source.qcow2"));
    std::fs::write(&from, raw).expect("the folder can be written");
    let status = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .arg(&from)
        .arg(&to)
        .status();
    assert!(status.expect("qemu-img is installed").success());
    to
}
