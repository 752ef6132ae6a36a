//! Crafted headers, each with one thing wrong.

use super::*;

const GIB: u64 = 1 << 30;

/// A sound header of version 3, as qemu-img writes it.
fn version_3() -> Vec<u8> {
    let mut head = vec![0; 4096];
    put(&mut head, 0, &qcow2::MAGIC);
    put(&mut head, 4, &3_u32.to_be_bytes());
    put(&mut head, 20, &16_u32.to_be_bytes());
    put(&mut head, 24, &GIB.to_be_bytes());
    put(&mut head, 96, &4_u32.to_be_bytes());
    put(&mut head, 100, &112_u32.to_be_bytes());
    // The table of feature names, and the end mark behind it.
    put(&mut head, 112, &0x6803_f857_u32.to_be_bytes());
    put(&mut head, 116, &48_u32.to_be_bytes());
    head
}

fn version_2() -> Vec<u8> {
    let mut head = version_3();
    put(&mut head, 4, &2_u32.to_be_bytes());
    head[72..].fill(0);
    head
}

fn put(head: &mut [u8], at: usize, bytes: &[u8]) {
    head[at..at + bytes.len()].copy_from_slice(bytes);
}

fn with(mut head: Vec<u8>, at: usize, bytes: &[u8]) -> Header {
    put(&mut head, at, bytes);
    read(&head, &[0; TAIL_BYTES], 4096)
}

fn refusal(header: &Header) -> &str {
    assert_eq!(
        (header.format, header.refused.len()),
        (DetectedFormat::Qcow2, 1),
        "{header:?}"
    );
    &header.refused[0]
}

#[test]
fn sound_headers_are_taken() {
    for head in [version_2(), version_3()] {
        let header = read(&head, &[0; TAIL_BYTES], 4096);
        assert_eq!(
            header,
            Header {
                format: DetectedFormat::Qcow2,
                virtual_bytes: GIB,
                refused: vec![]
            }
        );
    }
    // zstd, with its bit; extended L2 entries.
    let mut head = version_3();
    put(&mut head, 72, &0b1_1000_u64.to_be_bytes());
    head[104] = 1;
    assert!(read(&head, &[], 4096).refused.is_empty());
}

#[test]
fn references_to_other_files_are_refused() {
    for head in [version_2(), version_3()] {
        let mut backed = head.clone();
        put(&mut backed, 8, &2048_u64.to_be_bytes());
        put(&mut backed, 16, &11_u32.to_be_bytes());
        put(&mut backed, 2048, b"/etc/shado\n");
        assert_eq!(
            refusal(&read(&backed, &[], 4096)),
            "it refers to a backing file (/etc/shado)"
        );
        // A name outside of what is read, or half of the two fields, is refused too.
        assert!(refusal(&with(head.clone(), 8, &u64::MAX.to_be_bytes())).contains("backing file"));
        assert!(refusal(&with(head.clone(), 16, &1_u32.to_be_bytes())).contains("backing file"));
    }
    assert!(refusal(&with(version_3(), 72, &4_u64.to_be_bytes())).contains("external file"));
    let mut named = version_3();
    put(&mut named, 112, &0x4441_5441_u32.to_be_bytes());
    put(&mut named, 116, &6_u32.to_be_bytes());
    put(&mut named, 120, b"secret");
    assert_eq!(
        refusal(&read(&named, &[], 4096)),
        "it refers to an external data file (secret)"
    );
    assert!(refusal(&with(version_2(), 72, &[0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 3])).contains("backing file"));
}

#[test]
fn what_can_not_be_read_safely_is_refused() {
    let cases: [(usize, &[u8], &str); 13] = [
        (4, &4_u32.to_be_bytes(), "version 4"),
        (20, &8_u32.to_be_bytes(), "clusters"),
        (20, &22_u32.to_be_bytes(), "clusters"),
        (20, &u32::MAX.to_be_bytes(), "clusters"),
        (24, &0_u64.to_be_bytes(), "no size"),
        (24, &u64::MAX.to_be_bytes(), "1 PiB"),
        (24, &513_u64.to_be_bytes(), "multiple of 512"),
        (32, &1_u32.to_be_bytes(), "encrypted"),
        (72, &1_u64.to_be_bytes(), "dirty"),
        (72, &2_u64.to_be_bytes(), "corrupt"),
        (72, &(1_u64 << 40).to_be_bytes(), "unknown"),
        (96, &7_u32.to_be_bytes(), "reference counts"),
        (104, &[2], "compression"),
    ];
    for (at, bytes, named) in cases {
        let header = with(version_3(), at, bytes);
        assert!(refusal(&header).contains(named), "{header:?}");
    }
    for header_bytes in [0_u32, 96, 105, 5000, u32::MAX] {
        assert!(refusal(&with(version_3(), 100, &header_bytes.to_be_bytes())).contains("header"));
    }
    assert!(refusal(&with(version_3(), 112, &[0x05, 0x37, 0xbe, 0x77, 0, 0, 0, 16])).contains("encryption"));
    assert!(refusal(&with(version_3(), 116, &u32::MAX.to_be_bytes())).contains("do not end"));
}

#[test]
fn a_header_cut_anywhere_is_no_panic() {
    for head in [version_2(), version_3()] {
        for cut in 0..=200 {
            let header = read(&head[..cut], &head[..cut], cut as u64);
            assert_eq!(header.format == DetectedFormat::Raw, cut < 4, "cut at {cut}");
            assert!(!header.refused.is_empty() || !(4..72).contains(&cut), "cut at {cut}");
        }
    }
}

#[test]
fn any_byte_may_be_anything() {
    let head = version_3();
    for at in 0..200 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut crafted = head.clone();
            crafted[at] = value;
            let header = read(&crafted, &[], 4096);
            assert!(header.refused.iter().all(|why| why.len() < 200));
        }
    }
}

#[test]
fn known_formats_are_named_and_the_rest_is_raw() {
    for foreign in &FOREIGN {
        let mut head = vec![0; 1024];
        put(&mut head, foreign.offset, foreign.magic);
        let header = read(&head, &[0; TAIL_BYTES], 1024);
        assert_eq!(header.format, DetectedFormat::Unsupported, "{}", foreign.name);
        assert!(header.refused[0].contains(foreign.name));
    }
    for magic in [&b"conectix"[..], b"koly"] {
        let mut tail = [0; TAIL_BYTES];
        put(&mut tail, 0, magic);
        assert_eq!(read(&[0; 1024], &tail, 1 << 20).format, DetectedFormat::Unsupported);
    }
    let mut old = version_2();
    put(&mut old, 4, &1_u32.to_be_bytes());
    assert_eq!(read(&old, &[], 4096).format, DetectedFormat::Unsupported);
    let boot_sector = {
        let mut head = vec![0xeb; 512];
        put(&mut head, 510, &[0x55, 0xaa]);
        head
    };
    let raw = Header {
        format: DetectedFormat::Raw,
        virtual_bytes: 512,
        refused: vec![],
    };
    assert_eq!(read(&boot_sector, &boot_sector, 512), raw);
    assert_eq!(read(&[], &[], 0).format, DetectedFormat::Raw);
}
