//! The initial memory disk: an archive in cpio's `newc` form, as the kernel unpacks it.

use std::path::Path;

use super::modules::Modules;
use crate::run::{self, Error};

/// What `assets/linux/init` calls.
const APPLETS: [&str; 8] = [
    "sh",
    "mount",
    "umount",
    "insmod",
    "findfs",
    "switch_root",
    "sleep",
    "cat",
];

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// Makes it from busybox and the modules that the root file system needs.
pub(super) fn initrd(busybox: &Path, modules: &Modules) -> Result<Vec<u8>, Error> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "mnt", "modules"] {
        archive.add(folder, FOLDER, b"");
    }
    archive.add("init", PROGRAM, include_bytes!("../../assets/linux/init"));
    archive.add("bin/busybox", PROGRAM, &run::read(busybox)?);
    for applet in APPLETS {
        archive.add(&format!("bin/{applet}"), LINK, b"busybox");
    }
    for (name, content) in modules.contents()? {
        archive.add(&format!("modules/{name}"), PROGRAM, &content);
    }
    Ok(archive.end())
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: usize,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let fields = [
            self.entries,
            mode as usize,
            0, // owner
            0, // group
            1, // links
            0, // time
            content.len(),
            0, // where the archive lies, twice
            0,
            0, // the device that a device file is, twice
            0,
            name.len() + 1,
            0, // checksum
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    /// Everything begins at a multiple of four bytes.
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_the_archive_has_its_end() {
        let mut archive = Archive::default();
        archive.add("a", PROGRAM, b"content");
        // The header has 110 bytes, the name two, the content seven.
        assert_eq!(archive.bytes.len(), 112 + 8);
        assert_eq!(&archive.bytes[..14], b"07070100000001");
        assert_eq!(&archive.bytes[14..22], b"000081ed");
        assert_eq!(&archive.bytes[54..62], b"00000007");
        let bytes = archive.end();
        assert!(bytes.len() % 4 == 0 && bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }
}
