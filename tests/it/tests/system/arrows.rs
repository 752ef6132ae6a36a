//! The map of the rooms holds: who may import whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each room, and all that it may import of ours. What is not listed is not allowed.
const ARROWS: &[(&str, &[&str])] = &[
    ("symphony-core", &[]),
    ("symphony-crash", &[]),
    ("symphony-pki", &["symphony-crash"]),
    ("symphony-store", &["symphony-crash"]),
    ("symphony-runtime", &["symphony-core", "symphony-crash"]),
    ("symphony-api", &["symphony-core", "symphony-pki"]),
    ("symphony-protocol", &["symphony-core"]),
    (
        "symphony-control",
        &[
            "symphony-core",
            "symphony-crash",
            "symphony-pki",
            "symphony-store",
            "symphony-runtime",
            "symphony-api",
            "symphony-protocol",
        ],
    ),
    (
        "symphony-server",
        &[
            "symphony-core",
            "symphony-crash",
            "symphony-pki",
            "symphony-store",
            "symphony-runtime",
            "symphony-api",
            "symphony-protocol",
            "symphony-control",
        ],
    ),
    (
        "symphony-cli",
        &[
            "symphony-core",
            "symphony-pki",
            "symphony-api",
            "symphony-protocol",
            "symphony-plugin-build",
        ],
    ),
    (
        "symphony",
        &[
            "symphony-core",
            "symphony-crash",
            "symphony-pki",
            "symphony-store",
            "symphony-runtime",
            "symphony-api",
            "symphony-protocol",
            "symphony-control",
            "symphony-server",
            "symphony-cli",
        ],
    ),
    (
        "symphony-agent",
        &["symphony-core", "symphony-crash", "symphony-pki", "symphony-protocol"],
    ),
    (
        "symphony-storage",
        &[
            "symphony-core",
            "symphony-crash",
            "symphony-pki",
            "symphony-protocol",
            "symphony-agent",
        ],
    ),
    (
        "symphony-image",
        &[
            "symphony-core",
            "symphony-crash",
            "symphony-pki",
            "symphony-protocol",
            "symphony-agent",
        ],
    ),
    (
        "symphony-network",
        &[
            "symphony-core",
            "symphony-crash",
            "symphony-pki",
            "symphony-protocol",
            "symphony-agent",
        ],
    ),
    (
        "symphony-fence",
        &["symphony-core", "symphony-protocol", "symphony-agent"],
    ),
    (
        "symphony-compute",
        &[
            "symphony-core",
            "symphony-crash",
            "symphony-pki",
            "symphony-protocol",
            "symphony-agent",
        ],
    ),
    (
        "symphony-node",
        &[
            "symphony-core",
            "symphony-crash",
            "symphony-pki",
            "symphony-protocol",
            "symphony-agent",
            "symphony-storage",
            "symphony-image",
            "symphony-compute",
            "symphony-network",
            "symphony-fence",
        ],
    ),
    ("symphony-sdk", &[]),
    ("symphony-plugin-build", &[]),
    ("scheduler-spread", &["symphony-sdk"]),
    ("scheduler-binpack", &["symphony-sdk"]),
    ("volume-file", &["symphony-sdk"]),
    ("image-blob", &["symphony-sdk"]),
    ("machine-libvirt", &["symphony-sdk"]),
    ("machine-test", &["symphony-sdk"]),
    ("network-bridge", &["symphony-sdk"]),
    ("export-nbd", &["symphony-sdk"]),
    ("fence-power", &["symphony-sdk"]),
];
/// Nobody imports these; they may import everything.
const TESTS: &[&str] = &[
    "symphony-bench",
    "symphony-lab",
    "symphony-models",
    "symphony-simulate",
    "symphony-tests",
    "xtask",
];

/// What a room must never see of the outside, wherever it would come from.
const NEVER: &[(&str, &[&str])] = &[
    (
        "symphony-core",
        &["tokio", "wasmtime", "hyper", "reqwest", "redb", "rustix", "sha2"],
    ),
    ("symphony-api", &["wasmtime", "axum", "redb"]),
    ("symphony-control", &["axum", "reqwest", "hyper"]),
    ("symphony-store", &["wasmtime", "axum", "reqwest"]),
    ("symphony-agent", &["wasmtime", "redb"]),
    ("symphony-storage", &["wasmtime", "redb"]),
    ("symphony-image", &["wasmtime", "redb"]),
    ("symphony-network", &["wasmtime", "redb"]),
    ("symphony-compute", &["wasmtime", "redb"]),
    ("symphony-node", &["wasmtime", "redb"]),
    ("symphony-sdk", &["tokio", "wasmtime", "serde"]),
];

#[test]
fn the_rooms_import_only_what_the_map_allows() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = ARROWS
        .iter()
        .map(|(room, _)| *room)
        .chain(TESTS.iter().copied())
        .collect();
    assert_eq!(
        ours, known,
        "every crate of the workspace is on the map, and nothing else"
    );
    for (room, allowed) in ARROWS {
        for import in packages[*room].iter().filter(|import| ours.contains(import.as_str())) {
            assert!(
                allowed.contains(&import.as_str()),
                "{room} imports {import}, which the map does not allow"
            );
        }
    }
    for (room, never) in NEVER {
        for import in *never {
            assert!(!packages[*room].contains(*import), "{room} must never import {import}");
        }
    }
}

/// The direct imports of every crate of the workspace (not those of its tests).
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(symphony_tests::root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let imports = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().expect("a list");
        let normal = all.iter().filter(|dependency| dependency["kind"] != "dev");
        normal
            .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let packages = metadata["packages"].as_array().expect("a list").iter();
    packages
        .map(|package| (package["name"].as_str().expect("a name").to_owned(), imports(package)))
        .collect()
}
