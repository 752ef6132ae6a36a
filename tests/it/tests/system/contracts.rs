//! The contracts with plugins' authors: a released version of `wit/` never changes. What comes later comes beside it, as
//! new interfaces in new files, and as new worlds after those that are there; comments may say more.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// What was released, and the SHA-256 over its files (names and bytes, in the order of names).
const RELEASED: &[(&str, &str)] = &[(
    "0.1.0",
    "cd055f04c9457a745565d6e894d12b4e96dd4a5f59f7d230c71b76cda9e909cd",
)];

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let wit = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
    wit.map(|path| {
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            std::fs::read(&path).unwrap(),
        )
    })
    .collect()
}

fn fingerprint(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for (name, bytes) in files {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hex::encode(hash.finalize())
}

#[test]
fn released_contracts_are_frozen() {
    for (version, frozen) in RELEASED {
        let folder = symphony_tests::root().join("wit/released").join(version);
        assert_eq!(
            fingerprint(&files(&folder)),
            *frozen,
            "wit/released/{version} is served for ever and must not change"
        );
    }
}

/// What a file says to a machine: its words, without comments.
fn words(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).expect("a text");
    let code = text
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn what_was_released_stays_as_it_is_and_new_things_come_beside_it() {
    let wit = symphony_tests::root().join("wit");
    let current = files(&wit);
    for (version, _) in RELEASED {
        for (name, bytes) in files(&wit.join("released").join(version)) {
            let (old, new) = (words(&bytes), words(&current[&name]));
            if name == "worlds.wit" {
                assert!(
                    new.starts_with(&old),
                    "{name}: a world of {version} changed; add new ones after them"
                );
            } else {
                assert_eq!(
                    new, old,
                    "{name} of {version} changed; what is new has a file of its own"
                );
            }
        }
    }
}

#[test]
fn words_are_what_counts() {
    let one = b"/// Says.\nrecord a {\n  b: u64, // why\n}";
    assert_eq!(words(one), words(b"record a { b: u64,\n}"));
    assert_ne!(words(one), words(b"record a { b: u32,\n}"));
}

#[test]
fn the_current_contract_still_serves_the_released_one() {
    let wit = symphony_tests::root().join("wit");
    let current = parse(&wit);
    for (version, _) in RELEASED {
        let released = parse(&wit.join("released").join(version));
        let worlds = &released.0.packages[released.1].worlds;
        assert!(worlds.len() >= 4, "{:?}", worlds.keys());
        for (world, old) in worlds.iter().map(|(name, world)| (name.as_str(), *world)) {
            let (mut merged, new) = current.clone();
            let new_world = merged.select_world(&[new], Some(world)).unwrap();
            let remap = merged.merge(released.0.clone()).unwrap();
            let old_world = remap.map_world(old, Default::default()).unwrap();
            if let Err(error) = wit_component::semver_check(merged, old_world, new_world) {
                panic!("world {world} breaks plugins built for {version}: {error:#}");
            }
        }
    }
}

fn parse(folder: &Path) -> (wit_parser::Resolve, wit_parser::PackageId) {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve
        .push_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error:#}", folder.display()));
    (resolve, package)
}

#[test]
fn every_item_of_the_contract_is_documented() {
    let (resolve, package) = parse(&symphony_tests::root().join("wit"));
    for (name, interface) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[*interface];
        assert!(interface.docs.contents.is_some(), "interface {name} says nothing");
        for (function, item) in &interface.functions {
            let known = matches!(function.as_str(), "describe");
            assert!(known || item.docs.contents.is_some(), "{name}.{function} says nothing");
        }
    }
}
