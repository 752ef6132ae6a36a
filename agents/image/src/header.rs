//! What a disk image says of itself, read from its first and last bytes without any other program.
//!
//! Only raw and qcow2 are taken, and of qcow2 only what needs nothing else: no backing file, no external data file, no
//! key, no feature that nobody here knows. Known formats that are not taken are named, so that a VMDK is not mistaken for
//! a raw disk.

mod qcow2;

use symphony_core::plan::image::{DetectedFormat, Header};

/// How much of the beginning [`read`] wants; a shorter file gives what it has.
pub const HEAD_BYTES: usize = 64 << 10;
/// How much of the end.
pub const TAIL_BYTES: usize = 512;

/// A known format that is not taken.
struct Foreign {
    offset: usize,
    magic: &'static [u8],
    name: &'static str,
}

const fn at_start(magic: &'static [u8], name: &'static str) -> Foreign {
    Foreign { offset: 0, magic, name }
}

const FOREIGN: [Foreign; 20] = [
    at_start(b"KDMV", "a VMDK image"),
    at_start(b"COWD", "a VMDK image"),
    at_start(b"# Disk DescriptorFile", "a VMDK descriptor"),
    Foreign {
        offset: 0x40,
        magic: &[0x7f, 0x10, 0xda, 0xbe],
        name: "a VDI image",
    },
    at_start(b"conectix", "a VHD image"),
    at_start(b"vhdxfile", "a VHDX image"),
    at_start(b"QED\0", "a QED image"),
    at_start(b"LUKS\xba\xbe", "encrypted with LUKS"),
    at_start(b"WithoutFreeSpace", "a Parallels image"),
    at_start(b"WithouFreSpacExt", "a Parallels image"),
    at_start(b"Bochs Virtual HD Image", "a Bochs image"),
    at_start(b"#!/bin/sh\n#V2.0 Format\n", "a cloop image"),
    at_start(b"OOOM\0OOOM", "a user-mode Linux COW file"),
    at_start(&[0x1f, 0x8b, 0x08], "compressed with gzip; unpack it first"),
    at_start(
        &[0xfd, b'7', b'z', b'X', b'Z', 0],
        "compressed with xz; unpack it first",
    ),
    at_start(&[0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd; unpack it first"),
    at_start(b"BZh", "compressed with bzip2; unpack it first"),
    at_start(b"PK\x03\x04", "a zip archive; unpack it first"),
    at_start(b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    Foreign {
        offset: 257,
        magic: b"ustar",
        name: "a tar archive (OVA?); unpack it first",
    },
];

/// Reads the header of a file of `length` bytes from its first [`HEAD_BYTES`] and last [`TAIL_BYTES`].
#[must_use]
pub fn read(head: &[u8], tail: &[u8], length: u64) -> Header {
    match foreign(head, tail) {
        Some(name) => unsupported(name),
        None if head.starts_with(&qcow2::MAGIC) => qcow2::read(head),
        None => Header {
            format: DetectedFormat::Raw,
            virtual_bytes: length,
            refused: Vec::new(),
        },
    }
}

fn foreign(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    let has = |foreign: &&Foreign| {
        head.get(foreign.offset..)
            .is_some_and(|rest| rest.starts_with(foreign.magic))
    };
    // These two put their mark at the end, behind what looks like a raw disk.
    let mark = tail.len().checked_sub(TAIL_BYTES).map(|start| &tail[start..]);
    let at_end = |magic: &[u8]| mark.is_some_and(|mark| mark.starts_with(magic));
    if at_end(b"conectix") {
        return Some("a VHD image");
    }
    if at_end(b"koly") {
        return Some("a DMG image");
    }
    FOREIGN.iter().find(has).map(|foreign| foreign.name)
}

fn unsupported(name: &str) -> Header {
    Header {
        format: DetectedFormat::Unsupported,
        virtual_bytes: 0,
        refused: vec![format!("it is {name}")],
    }
}

#[cfg(test)]
mod tests;
