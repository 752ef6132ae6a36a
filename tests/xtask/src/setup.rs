//! What this repository needs of a server before anything is built: the wasm target, and Debian packages. Installs what
//! is missing and may be installed; otherwise prints the one line to run. Never starts a service.

mod backports;
mod packages;
mod quiet;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::process::Command;

use crate::process;

pub(crate) use packages::Need;
use packages::{NEEDED, Package, Suite};

/// The target that components are compiled for.
const TARGET: &str = symphony_plugin_build::TARGET;

/// Makes sure that everything is there. What is not to be had here and not needed for this is only said.
pub(crate) fn run(need: Need) -> Result<(), Box<dyn Error>> {
    wasm_target()?;
    install(need)?;
    // Each says itself what is not to be had here; the rest goes on.
    if need >= Need::Machines && symphony_lab::Abilities::here().machines() {
        let _ = symphony_lab::Abilities::here().networks();
    }
    Ok(())
}

fn wasm_target() -> Result<(), Box<dyn Error>> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    eprintln!("setup: adding the target {TARGET}");
    process::run(Command::new("rustup").args(["target", "add", TARGET])).map_err(|error| {
        format!("components can't be built without the target: run `rustup target add {TARGET}` ({error})").into()
    })
}

fn install(need: Need) -> Result<(), Box<dyn Error>> {
    let missing: Vec<&Package> = NEEDED.iter().filter(|package| package.is_missing()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        eprintln!("setup: {} is missing: {}", package.name, package.what_for);
    }
    let backports = backports::find()?;
    let steps = steps(&missing, backports.as_ref());
    let line = steps.join(" && ");
    let is_root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    if !is_root || !process::is_installed("apt-get") {
        if missing.iter().all(|package| package.need > need) {
            let needs: BTreeSet<_> = missing.iter().map(|package| package.need).collect();
            let needs: Vec<_> = needs.iter().map(ToString::to_string).collect();
            let needs = needs.join(" AND ");
            eprintln!("!!! THIS IS MISSING FOR {needs}; for them run this as root, then try again:\n  {line}");
            return Ok(());
        }
        return Err(format!("run this as root, then try again:\n  {line}").into());
    }
    let _quiet = quiet::Quiet::please()?;
    for step in &steps {
        eprintln!("setup: {step}");
        let mut shell = Command::new("sh");
        shell.args(["-c", step]).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(&mut shell).map_err(|error| format!("{error}; try by hand:\n  {line}"))?;
    }
    match missing.iter().find(|package| package.is_missing()) {
        None => Ok(()),
        Some(package) => Err(format!(
            "{} is installed, but {} is still not to be found",
            package.name, package.proof
        )
        .into()),
    }
}

/// The shell commands that bring the packages, in order.
fn steps(missing: &[&Package], backports: Option<&backports::Suite>) -> Vec<String> {
    let mut steps = Vec::new();
    let of = |suite: Suite| -> Vec<&str> {
        let ours = missing.iter().filter(|package| package.suite == suite);
        ours.map(|package| package.name).collect()
    };
    let (newer, plain) = (of(Suite::Backports), of(Suite::Plain));
    let mut installs = Vec::new();
    match backports {
        Some(suite) if !newer.is_empty() => {
            steps.extend(suite.addition());
            installs.push((format!("-t {} ", suite.name), newer));
            installs.push((String::new(), plain));
        }
        // A later Debian has what we need in its own suite.
        _ => installs.push((String::new(), [plain, newer].concat())),
    }
    steps.push("apt-get -qq update".to_owned());
    for (suite, packages) in installs.iter().filter(|(_, packages)| !packages.is_empty()) {
        steps.push(format!(
            "apt-get -qq install -y --no-install-recommends {suite}{}",
            packages.join(" ")
        ));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &'static str, suite: Suite) -> Package {
        Package {
            name,
            suite,
            ..NEEDED[0]
        }
    }

    #[test]
    fn only_what_must_be_new_comes_from_backports() {
        let suite = backports::Suite {
            name: "bookworm-backports".to_owned(),
            sources: Some("Types: deb".to_owned()),
        };
        let (new, old) = (package("new", Suite::Backports), package("old", Suite::Plain));
        let with = steps(&[&new, &old], Some(&suite));
        assert!(with[0].contains("Types: deb") && with[0].ends_with("bookworm-backports.sources"));
        assert!(with[2].ends_with("-t bookworm-backports new"), "{with:?}");
        assert!(with[3].ends_with("recommends old"), "{with:?}");
        assert_eq!(
            steps(&[&old], Some(&suite)).len(),
            2,
            "backports are not added for nothing"
        );
        assert!(steps(&[&new, &old], None)[1].ends_with("recommends old new"));
    }

    #[test]
    fn a_package_is_missing_until_its_proof_is_there() {
        let mut one = package("one", Suite::Plain);
        one.proof = packages::Proof::Program("surely-no-such-program");
        assert!(one.is_missing());
        one.proof = packages::Proof::Program("sh");
        assert!(!one.is_missing());
        one.proof = packages::Proof::Library("surely/no/such.file");
        assert!(one.is_missing());
        one.proof = packages::Proof::Included("surely/no/such.file");
        assert!(one.is_missing());
    }
}
