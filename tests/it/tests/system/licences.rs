//! What symphony is built from may be shipped with it.

use std::process::Command;

/// Licences that ask for no more than a notice. A package offers several by `OR`; one of them is enough.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "0BSD",
    // For data: the web's root certificates, which the client uses for images from https addresses.
    "CDLA-Permissive-2.0",
];

/// Packages under a licence that lets whoever has symphony change them and build it anew, as everyone can who has its
/// source: the bindings of libvirt, which only the executor of machines links.
const EXCEPTIONS: &[(&str, &str)] = &[("virt", "LGPL-2.1"), ("virt-sys", "LGPL-2.1")];

#[test]
fn every_dependency_has_a_licence_that_allows_it() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(symphony_tests::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let refused: Vec<String> = metadata["packages"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str().unwrap_or("none")))
        .filter(|package| {
            let is = |(name, licence): &(&str, &str)| package["name"] == *name && package["license"] == *licence;
            !EXCEPTIONS.iter().any(is)
        })
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert_eq!(refused, Vec::<String>::new());
}

fn is_allowed(expression: &str) -> bool {
    // `A OR B`, `A/B`, `(A OR B) AND C`: every part of an AND needs one allowed choice.
    expression.split(" AND ").all(|part| {
        let part = part
            .trim()
            .trim_start_matches('(')
            .trim_end_matches(')')
            .replace('/', " OR ");
        part.split(" OR ").any(|choice| ALLOWED.contains(&choice.trim()))
    })
}

#[test]
fn the_check_can_fail() {
    assert!(
        is_allowed("MIT OR GPL-3.0")
            && is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0")
            && is_allowed("MIT/Apache-2.0")
    );
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-2.0") && !is_allowed("none"));
}
