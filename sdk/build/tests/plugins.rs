//! Builds real crates: those of third parties, outside of this workspace.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use symphony_plugin_build::{
    BuildOptions, Error, INTERFACE_VERSION, Kind, Role, SdkSource, Template, build_component, inspect, new_plugin,
    target_directory,
};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The repository's own target folder, so that the SDK's dependencies are compiled once for all.
fn shared() -> Option<PathBuf> {
    Some(target_directory(here()).unwrap())
}

fn sdk() -> SdkSource {
    SdkSource::Path(here().parent().unwrap().join("rust"))
}

/// The only function that a plugin may ask for.
const LOG: &str = "symphony:plugin/log@0.1.0";

#[test]
fn a_third_partys_scheduler_becomes_a_component() {
    let folder = here().parent().unwrap().join("rust/examples/hello-scheduler");
    let options = BuildOptions {
        target_dir: shared(),
        quiet: true,
        ..BuildOptions::new(&folder)
    };
    let built = build_component(&options).unwrap();
    assert_eq!(
        (built.manifest.name.as_str(), built.manifest.version.as_str()),
        ("hello", "0.1.0")
    );
    assert_eq!(
        (built.manifest.role, built.manifest.kind),
        (Role::Scheduler, Kind::Volume)
    );
    assert_eq!(built.manifest.interface, INTERFACE_VERSION);
    assert_eq!(built.manifest.sdk, env!("CARGO_PKG_VERSION"));
    assert_eq!(built.imports, [LOG]);

    let info = inspect(&built.bytes).unwrap();
    assert_eq!(info.manifest, Some(built.manifest.clone()));
    assert_eq!(
        info.exports,
        ["symphony:plugin/explain@0.1.0", "symphony:plugin/policy@0.1.0"]
    );
    let needed: Vec<_> = info.imports.iter().filter(|import| import.is_needed()).collect();
    assert_eq!(
        (needed.len(), needed[0].name.as_str(), needed[0].items.as_slice()),
        (1, LOG, &["write".to_owned()][..])
    );

    // The same source gives the same bytes, and a file that is the same is left alone.
    assert_eq!(build_component(&options).unwrap().digest, built.digest);
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("deep/hello.wasm");
    assert!(built.write_to(&file).unwrap());
    assert!(!built.write_to(&file).unwrap());
    assert_eq!(std::fs::read(&file).unwrap(), built.bytes);

    let future = built.clone().with_interface_version("0.2.0").unwrap();
    assert_eq!(future.imports, ["symphony:plugin/log@0.2.0"]);
    assert_eq!(inspect(&future.bytes).unwrap().manifest.unwrap().interface, "0.2.0");
    assert!(matches!(
        built.with_interface_version("0.10.0"),
        Err(Error::Invalid { .. })
    ));
}

/// A new plugin builds and passes its own tests, before its author has touched it.
#[test]
fn templates_are_ready() {
    let dir = tempfile::tempdir().unwrap();
    for (template, name, role) in [
        (Template::Scheduler, "my-policy", Role::Scheduler),
        (Template::VolumeDriver, "my-driver", Role::Driver),
    ] {
        let folder = dir.path().join(name);
        new_plugin(template, &folder, name, &sdk()).unwrap();
        let tests = Command::new("cargo")
            .args(["test", "--quiet", "--target-dir"])
            .arg(shared().unwrap())
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
        let options = BuildOptions {
            target_dir: shared(),
            quiet: true,
            ..BuildOptions::new(&folder)
        };
        let built = build_component(&options).unwrap();
        assert_eq!((built.manifest.name.as_str(), built.manifest.role), (name, role));
        assert_eq!(built.imports, [LOG]);
    }
}

#[test]
fn a_crate_that_is_no_plugin_is_told_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let write = |manifest: &str| {
        std::fs::create_dir_all(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("src/lib.rs"), "").unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        build_component(&BuildOptions {
            quiet: true,
            offline: true,
            ..BuildOptions::new(dir.path())
        })
    };
    let bare = "[package]\nname = \"x\"\nedition = \"2024\"\n[workspace]\n";
    let metadata = |text: &str| format!("{bare}[package.metadata.symphony]\n{text}\n");
    assert!(matches!(write("nonsense"), Err(Error::Cargo { verb: "metadata", .. })));
    for text in [
        "",
        "role = \"scheduler\"",
        "role = \"cook\"\nkind = \"volume\"",
        "role = \"scheduler\"\nkind = \"image\"",
    ] {
        let manifest = if text.is_empty() {
            bare.to_owned()
        } else {
            metadata(text)
        };
        assert!(matches!(write(&manifest), Err(Error::Metadata { .. })), "{text}");
    }
    let good = "role = \"driver\"\nkind = \"image\"";
    assert!(matches!(
        write(&metadata(&format!("{good}\nname = \"A b\""))),
        Err(Error::Name { .. })
    ));
    assert!(matches!(
        write(&metadata(&format!("{good}\nconfig-schema = \"no.json\""))),
        Err(Error::File { .. })
    ));
    // Cargo itself has nothing against this crate; it just gives no module.
    assert!(matches!(write(&metadata(good)), Err(Error::NoModule { .. })));
}
