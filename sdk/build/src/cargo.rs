//! Asks `cargo` what is there and has it build.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::Error;

/// What `cargo metadata` tells.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
}

/// One package of it. Values that the workspace gives are filled in by cargo.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    pub(crate) manifest_path: PathBuf,
    #[serde(default)]
    pub(crate) metadata: Option<serde_json::Value>,
}

/// What a build gave: modules by package, and the SDK's version.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// Package id and the module's file.
    pub(crate) modules: Vec<(String, PathBuf)>,
    pub(crate) sdk: String,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
struct Target {
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: Vec<String>,
}

/// The packages of the workspace that this folder belongs to.
pub(crate) fn workspace(dir: &Path) -> Result<Workspace, Error> {
    let mut command = cargo(dir);
    command.args(["metadata", "--format-version", "1", "--no-deps"]);
    let output = command.output().map_err(|source| start(&command, source))?;
    if !output.status.success() {
        let detail = format!(": {}", String::from_utf8_lossy(&output.stderr).trim());
        return Err(Error::Cargo {
            verb: "metadata",
            dir: dir.to_owned(),
            detail,
        });
    }
    serde_json::from_slice(&output.stdout).map_err(|source| Error::Answer {
        verb: "metadata",
        source,
    })
}

/// Runs `cargo build` with these arguments. Compiler messages go to stderr as they are.
pub(crate) fn build(dir: &Path, arguments: &[OsString]) -> Result<Built, Error> {
    let mut command = cargo(dir);
    command.args([
        "build",
        "--lib",
        "--target",
        crate::TARGET,
        "--message-format",
        "json-render-diagnostics",
    ]);
    command.args(arguments).stderr(Stdio::inherit());
    let output = command.output().map_err(|source| start(&command, source))?;
    if !output.status.success() {
        return Err(Error::Cargo {
            verb: "build",
            dir: dir.to_owned(),
            detail: String::new(),
        });
    }
    let mut built = Built::default();
    for line in output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{"))
    {
        let message: Message =
            serde_json::from_slice(line).map_err(|source| Error::Answer { verb: "build", source })?;
        if message.reason != "compiler-artifact" {
            continue;
        }
        if message.target.name == "symphony_sdk" {
            built.sdk = version_of(&message.package_id);
        }
        if message.target.kind.iter().any(|kind| kind == "cdylib") {
            let modules = message
                .filenames
                .into_iter()
                .filter(|file| file.extension().is_some_and(|e| e == "wasm"));
            built
                .modules
                .extend(modules.map(|file| (message.package_id.clone(), file)));
        }
    }
    Ok(built)
}

/// Checks that the compiler which cargo uses in this folder has the target.
pub(crate) fn expect_target(dir: &Path) -> Result<(), Error> {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command
        .current_dir(dir)
        .args(["--print", "target-libdir", "--target", crate::TARGET])
        .stdin(Stdio::null());
    let output = command.output().map_err(|source| start(&command, source))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && libraries.is_dir() {
        Ok(())
    } else {
        Err(Error::NoTarget)
    }
}

fn cargo(dir: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(dir).stdin(Stdio::null());
    command
}

fn start(command: &Command, source: std::io::Error) -> Error {
    Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}

/// The version in a package id (`…#name@1.2.3` or `…/name#1.2.3`).
fn version_of(package_id: &str) -> String {
    let fragment = package_id.rsplit('#').next().unwrap_or_default();
    fragment.rsplit('@').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn versions_of_package_ids() {
        assert_eq!(version_of("path+file:///a/sdk/rust#symphony-sdk@0.1.0"), "0.1.0");
        assert_eq!(version_of("path+file:///a/symphony-sdk#0.2.0"), "0.2.0");
        assert_eq!(version_of("registry+https://x/y#symphony-sdk@1.0.0-rc.1"), "1.0.0-rc.1");
    }
}
