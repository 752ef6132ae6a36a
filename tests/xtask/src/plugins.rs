//! `cargo xtask plugins`: components from crates, in fixed places under `target/plugins/`.
//!
//! Cargo decides what is to be built anew; a component that is the same is not written again, so that what embeds it is
//! not built again either.

mod guests;

use std::error::Error;
use std::path::{Path, PathBuf};

use symphony_plugin_build::{BuildOptions, BuiltComponent, build_components};

/// The first-party plugins: package and component.
const PLUGINS: [(&str, &str); 9] = [
    ("scheduler-spread", "spread"),
    ("scheduler-binpack", "binpack"),
    ("volume-file", "file"),
    ("image-blob", "blob"),
    ("machine-libvirt", "libvirt"),
    ("machine-test", "test"),
    ("network-bridge", "bridge"),
    ("export-nbd", "nbd"),
    ("fence-power", "power"),
];

/// What `plugins` takes.
#[derive(Default, clap::Args)]
pub(crate) struct Arguments {
    /// Also the guests that misbehave, into `target/plugins/guests/`: tests show what the host makes of them.
    #[arg(long)]
    pub(crate) guests: bool,
    /// No look at the network.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// Builds the components and says where they are.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let root = workspace_root();
    let options = BuildOptions {
        offline: arguments.offline,
        ..BuildOptions::new(&root)
    };
    let packages = PLUGINS.map(|(package, _)| package);
    for built in build_components(&options, &packages)? {
        let name = built.manifest.name.clone();
        if !PLUGINS.iter().any(|(_, plugin)| *plugin == name) {
            return Err(format!("a first-party plugin calls itself {name:?}, which nobody embeds").into());
        }
        place(&built, &plugins_dir(&root).join(format!("{name}.wasm")))?;
    }
    if arguments.guests {
        guests::run(&root, arguments.offline)
    } else {
        Ok(())
    }
}

/// Writes a component and says so.
fn place(built: &BuiltComponent, path: &Path) -> Result<(), Box<dyn Error>> {
    let state = if built.write_to(path)? { "new" } else { "same" };
    let imports = if built.imports.is_empty() {
        "nothing".to_owned()
    } else {
        built.imports.join(", ")
    };
    eprintln!(
        "{} {} bytes, {state}, {}, imports {imports}",
        path.display(),
        built.size(),
        built.digest
    );
    Ok(())
}

/// The same place whatever `CARGO_TARGET_DIR` says: `symphony` embeds the components from there.
fn plugins_dir(root: &Path) -> PathBuf {
    root.join("target/plugins")
}

/// Two folders above this crate's.
fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
