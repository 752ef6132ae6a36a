//! From crates to components: one run of cargo, then one component for each crate.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::cargo::{self, Built, Package, Workspace};
use crate::component::{componentize, rename_interface_version, with_manifest};
use crate::error::Error;
use crate::inspect::{Import, inspect};
use crate::manifest::{INTERFACE_VERSION, Kind, PluginManifest, Role, is_name};

/// What to build and how.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The folder of the plugin's `Cargo.toml`.
    pub manifest_dir: PathBuf,
    /// Optimised. A debug build is for stepping through traps, not for clusters.
    pub release: bool,
    /// Where cargo keeps its work; nothing: where it would by itself.
    pub target_dir: Option<PathBuf>,
    /// Features of the crate.
    pub features: Vec<String>,
    /// What the plugin calls itself, when that is not what its `Cargo.toml` says.
    pub name: Option<String>,
    /// No look at the network.
    pub offline: bool,
    /// No progress of cargo's; its errors are shown all the same.
    pub quiet: bool,
}

impl BuildOptions {
    /// A release build of the crate in this folder, with cargo's own settings.
    #[must_use]
    pub fn new(manifest_dir: impl Into<PathBuf>) -> Self {
        Self {
            manifest_dir: manifest_dir.into(),
            release: true,
            target_dir: None,
            features: Vec::new(),
            name: None,
            offline: false,
            quiet: false,
        }
    }
}

/// A component that was built.
#[derive(Debug, Clone)]
pub struct BuiltComponent {
    /// The component itself.
    pub bytes: Vec<u8>,
    /// `sha256:` and 64 hexadecimal digits, of the bytes.
    pub digest: String,
    /// What it says of itself: name, version, role, kind …
    pub manifest: PluginManifest,
    /// The interfaces that it calls functions of.
    pub imports: Vec<String>,
}

impl BuiltComponent {
    /// Its size, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The same component as if built for another version of the interfaces, of the same length (`0.2.0`): for tests of
    /// what a host says to a plugin from the future.
    ///
    /// # Errors
    /// When the lengths differ or the result is no valid component.
    pub fn with_interface_version(self, version: &str) -> Result<Self, Error> {
        let bytes = rename_interface_version(&self.bytes, &self.manifest.interface, version)?;
        let manifest = PluginManifest {
            interface: version.to_owned(),
            ..self.manifest
        };
        Self::new(bytes, manifest)
    }

    /// Looks at the bytes for what they import.
    fn new(bytes: Vec<u8>, manifest: PluginManifest) -> Result<Self, Error> {
        let info = inspect(&bytes)?;
        let needed = info.imports.into_iter().filter(Import::is_needed);
        let imports = needed.map(|import| import.name).collect();
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        Ok(Self {
            bytes,
            digest,
            manifest,
            imports,
        })
    }

    /// Writes it, at once or not at all; leaves a file that is the same already. Tells whether it wrote.
    ///
    /// # Errors
    /// When the file or its folder can't be written.
    pub fn write_to(&self, path: &Path) -> Result<bool, Error> {
        write_if_changed(path, &self.bytes)
    }
}

/// Builds the plugin in `options.manifest_dir`.
///
/// # Errors
/// When cargo fails, the crate does not say what kind of plugin it is, or its module is no component of that kind.
pub fn build_component(options: &BuildOptions) -> Result<BuiltComponent, Error> {
    let workspace = cargo::workspace(&options.manifest_dir)?;
    let here = options.manifest_dir.join("Cargo.toml");
    let here = here.canonicalize().map_err(|source| Error::File {
        verb: "read",
        path: here,
        source,
    })?;
    let no_package = || Error::NoPackage {
        package: here.display().to_string(),
        dir: options.manifest_dir.clone(),
    };
    let package = workspace
        .packages
        .iter()
        .find(|package| package.manifest_path == here)
        .ok_or_else(no_package)?;
    let mut built = build(options, &[package])?;
    built.pop().ok_or_else(no_package)
}

/// Builds several packages of one workspace in one run of cargo; `options.manifest_dir` is any folder of it.
///
/// # Errors
/// As [`build_component`].
pub fn build_components(options: &BuildOptions, packages: &[&str]) -> Result<Vec<BuiltComponent>, Error> {
    let workspace = cargo::workspace(&options.manifest_dir)?;
    let find = |name: &&str| {
        let package = workspace.packages.iter().find(|package| package.name == **name);
        package.ok_or_else(|| Error::NoPackage {
            package: (*name).to_owned(),
            dir: options.manifest_dir.clone(),
        })
    };
    let packages: Vec<&Package> = packages.iter().map(find).collect::<Result<_, _>>()?;
    build(options, &packages)
}

/// Where cargo keeps the work of the workspace that this folder belongs to.
///
/// # Errors
/// When there is none.
pub fn target_directory(dir: &Path) -> Result<PathBuf, Error> {
    cargo::workspace(dir).map(|Workspace { target_directory, .. }| target_directory)
}

fn build(options: &BuildOptions, packages: &[&Package]) -> Result<Vec<BuiltComponent>, Error> {
    // What the crates say of themselves is checked before the minute that compiling may take.
    let manifests = packages
        .iter()
        .map(|package| manifest(package, options.name.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    cargo::expect_target(&options.manifest_dir)?;
    let built = cargo::build(&options.manifest_dir, &arguments(options, packages))?;
    packages
        .iter()
        .zip(manifests)
        .map(|(package, manifest)| finish(package, manifest, &built))
        .collect()
}

/// Profile settings are given here, so that a third party's component is as small and as fast as a first-party one
/// without a profile of its own. Names are kept (`strip = "debuginfo"`): a trap in production then says where it was.
fn arguments(options: &BuildOptions, packages: &[&Package]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    if options.release {
        arguments.push("--release".into());
        for setting in [
            "opt-level=3",
            "debug=0",
            "strip=\"debuginfo\"",
            "codegen-units=1",
            "lto=\"fat\"",
        ] {
            arguments.extend(["--config".into(), format!("profile.release.{setting}").into()]);
        }
        arguments.extend(["--config".into(), "profile.release.panic=\"abort\"".into()]);
    }
    for package in packages {
        arguments.extend(["--package".into(), package.id.clone().into()]);
    }
    if !options.features.is_empty() {
        arguments.extend(["--features".into(), options.features.join(",").into()]);
    }
    if let Some(dir) = &options.target_dir {
        arguments.extend(["--target-dir".into(), dir.into()]);
    }
    for (flag, wanted) in [("--offline", options.offline), ("--quiet", options.quiet)] {
        if wanted {
            arguments.push(flag.into());
        }
    }
    arguments
}

fn finish(package: &Package, manifest: PluginManifest, built: &Built) -> Result<BuiltComponent, Error> {
    let module = built
        .modules
        .iter()
        .find(|(id, _)| *id == package.id)
        .map(|(_, file)| file);
    let path = module.ok_or_else(|| Error::NoModule {
        package: package.name.clone(),
    })?;
    let module = std::fs::read(path).map_err(|source| Error::File {
        verb: "read",
        path: path.clone(),
        source,
    })?;
    let component = componentize(&module).map_err(|reason| Error::Componentize {
        package: package.name.clone(),
        reason,
    })?;
    let manifest = PluginManifest {
        sdk: built.sdk.clone(),
        ..manifest
    };
    let bytes = with_manifest(component, &manifest);
    BuiltComponent::new(bytes, manifest)
}

/// What the crate's `Cargo.toml` says.
fn manifest(package: &Package, name: Option<&str>) -> Result<PluginManifest, Error> {
    let wrong = |what: String| Error::Metadata {
        package: package.name.clone(),
        what,
    };
    let metadata = package.metadata.as_ref().and_then(|metadata| metadata.get("symphony"));
    let metadata = metadata.ok_or_else(|| wrong("is missing; it needs role and kind".to_owned()))?;
    let text = |key: &str| metadata.get(key).and_then(serde_json::Value::as_str);
    let role = match text("role") {
        Some("scheduler") => Role::Scheduler,
        Some("driver") => Role::Driver,
        other => return Err(wrong(format!("has role {other:?}; it is \"scheduler\" or \"driver\""))),
    };
    let kind = match text("kind") {
        Some("volume") => Kind::Volume,
        Some("image") if role == Role::Driver => Kind::Image,
        Some("machine") if role == Role::Driver => Kind::Machine,
        Some("network") if role == Role::Driver => Kind::Network,
        Some("export") if role == Role::Driver => Kind::Export,
        Some("fence") if role == Role::Driver => Kind::Fence,
        other => {
            return Err(wrong(format!(
                "has kind {other:?}; it is \"volume\", or for a driver also \"image\", \"machine\", \"network\", \"export\" or \"fence\""
            )));
        }
    };
    let name = name.or(text("name")).unwrap_or(&package.name).to_owned();
    if !is_name(&name) {
        return Err(Error::Name { name });
    }
    Ok(PluginManifest {
        name,
        version: package.version.clone(),
        role,
        kind,
        interface: INTERFACE_VERSION.to_owned(),
        sdk: String::new(),
        description: package.description.clone().unwrap_or_default(),
        config_schema: config_schema(package, text("config-schema"))?,
        capabilities: Vec::new(),
    })
}

/// The schema's file is named relative to `Cargo.toml`.
fn config_schema(package: &Package, file: Option<&str>) -> Result<Option<serde_json::Value>, Error> {
    let Some(file) = file else { return Ok(None) };
    let path = package.manifest_path.with_file_name(file);
    let text = std::fs::read(&path).map_err(|source| Error::File {
        verb: "read",
        path,
        source,
    })?;
    let wrong = |error| Error::Metadata {
        package: package.name.clone(),
        what: format!("names config-schema {file:?}, which is no JSON ({error})"),
    };
    serde_json::from_slice(&text).map(Some).map_err(wrong)
}

/// Writes a file, at once or not at all; leaves one that is the same already.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let failed = |source| Error::File {
        verb: "write",
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}.new", std::process::id()));
    std::fs::write(&fresh, bytes)
        .and_then(|()| std::fs::rename(&fresh, path))
        .map_err(failed)?;
    Ok(true)
}
