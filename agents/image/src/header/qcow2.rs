//! The header of qcow2, versions 2 and 3: <https://www.qemu.org/docs/master/interop/qcow2.html>.

use symphony_core::plan::image::{DetectedFormat, Header};
use symphony_core::quantity::VOLUME_BYTES_MAX;

pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";

const HEADER_BYTES_V2: usize = 72;
const HEADER_BYTES_V3_MIN: usize = 104;
/// Most header extensions that are looked at; qemu writes five at most.
const EXTENSIONS_MAX: usize = 64;
/// Longest part of a name from the file that is shown.
const SHOWN_CHARS_MAX: usize = 80;

const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

/// Reads a header that starts with [`MAGIC`]. What is wrong goes into `refused`.
pub(super) fn read(head: &[u8]) -> Header {
    let bytes = Bytes(head);
    let mut refused = Vec::new();
    let virtual_bytes = match bytes.u32(4) {
        Some(2) if head.len() >= HEADER_BYTES_V2 => {
            common(&bytes, &mut refused);
            extensions(&bytes, HEADER_BYTES_V2, &mut refused);
            bytes.u64(24).unwrap_or(0)
        }
        Some(3) if head.len() >= HEADER_BYTES_V3_MIN => {
            common(&bytes, &mut refused);
            version_3(&bytes, &mut refused);
            bytes.u64(24).unwrap_or(0)
        }
        Some(2 | 3) | None => {
            refused.push("its header is cut".to_owned());
            0
        }
        Some(1) => return super::unsupported("a qcow image of version 1"),
        Some(version) => {
            refused.push(format!("its qcow2 version {version} is unknown"));
            0
        }
    };
    Header {
        format: DetectedFormat::Qcow2,
        virtual_bytes,
        refused,
    }
}

fn common(bytes: &Bytes<'_>, refused: &mut Vec<String>) {
    let (backing_offset, backing_bytes) = (bytes.u64(8).unwrap_or(0), bytes.u32(16).unwrap_or(0));
    if backing_offset != 0 || backing_bytes != 0 {
        refused.push(format!(
            "it refers to a backing file{}",
            bytes.shown(backing_offset, u64::from(backing_bytes))
        ));
    }
    let cluster_bits = bytes.u32(20).unwrap_or(0);
    if !(9..=21).contains(&cluster_bits) {
        refused.push(format!(
            "its clusters have 2^{cluster_bits} bytes, and 2^9 to 2^21 are allowed"
        ));
    }
    match bytes.u64(24).unwrap_or(0) {
        0 => refused.push("its disk has no size".to_owned()),
        size if size > VOLUME_BYTES_MAX => {
            refused.push(format!(
                "its disk has {size} bytes, over the limit of {VOLUME_BYTES_MAX} (1 PiB)"
            ));
        }
        size if !size.is_multiple_of(512) => refused.push(format!("its disk has {size} bytes, no multiple of 512")),
        _ => {}
    }
    if bytes.u32(32).unwrap_or(0) != 0 {
        refused.push("it is encrypted".to_owned());
    }
}

fn version_3(bytes: &Bytes<'_>, refused: &mut Vec<String>) {
    let incompatible = bytes.u64(72).unwrap_or(0);
    let known = [
        (
            DIRTY,
            "it was not closed cleanly (dirty); repair it with qemu-img check -r all",
        ),
        (CORRUPT, "it is marked as corrupt"),
        (EXTERNAL_DATA, "its data is in an external file"),
    ];
    refused.extend(
        known
            .iter()
            .filter(|(bit, _)| incompatible & bit != 0)
            .map(|(_, why)| (*why).to_owned()),
    );
    let unknown = incompatible & !(DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2);
    if unknown != 0 {
        refused.push(format!("it needs features that are unknown here (bits {unknown:#x})"));
    }
    let refcount_order = bytes.u32(96).unwrap_or(0);
    if refcount_order > 6 {
        refused.push(format!(
            "its reference counts have 2^{refcount_order} bits, and 2^6 is the most"
        ));
    }
    let header_bytes = bytes
        .u32(100)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(0);
    if header_bytes < HEADER_BYTES_V3_MIN || !header_bytes.is_multiple_of(8) || header_bytes > 4096 {
        refused.push(format!("its header says that it has {header_bytes} bytes"));
        return;
    }
    // 0 is zlib, 1 is zstd; without the bit it must be zlib.
    let compression = if header_bytes > HEADER_BYTES_V3_MIN {
        bytes.u8(104).unwrap_or(0)
    } else {
        0
    };
    if compression > 1 || (compression != 0) != (incompatible & COMPRESSION != 0) {
        refused.push(format!("its compression method {compression} is unknown"));
    }
    extensions(bytes, header_bytes, refused);
}

fn extensions(bytes: &Bytes<'_>, start: usize, refused: &mut Vec<String>) {
    let mut at = start;
    for _ in 0..EXTENSIONS_MAX {
        // A v2 file may end with its header, and zeros are the end mark.
        let (Some(kind), Some(length)) = (bytes.u32(at), bytes.u32(at + 4)) else {
            return;
        };
        let content = at as u64 + 8;
        match kind {
            0 => return,
            EXTENSION_BACKING_FORMAT => refused.push("it names the format of a backing file".to_owned()),
            EXTENSION_ENCRYPTION => refused.push("it has an encryption header".to_owned()),
            EXTENSION_DATA_FILE => {
                let name = bytes.shown(content, u64::from(length));
                refused.push(format!("it refers to an external data file{name}"));
            }
            _ => {}
        }
        let padded = u64::from(length).next_multiple_of(8);
        match usize::try_from(content + padded) {
            Ok(next) if next <= super::HEAD_BYTES => at = next,
            _ => break,
        }
    }
    refused.push("its header extensions do not end".to_owned());
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// A name from the file, made safe to show.
    fn shown(&self, offset: u64, length: u64) -> String {
        let range = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(offset.saturating_add(length)).ok());
        let Some(name) = range.and_then(|(from, to)| self.0.get(from..to)) else {
            return String::new();
        };
        let name = String::from_utf8_lossy(name);
        let name: String = name.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
        format!(" ({name})")
    }
}
