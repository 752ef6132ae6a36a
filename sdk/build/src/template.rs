//! A ready folder for a new plugin: builds, passes its tests, and says where to go on.

use std::path::{Path, PathBuf};

use crate::compile::write_if_changed;
use crate::error::Error;
use crate::manifest::is_name;

/// What the new plugin is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// A placement policy.
    Scheduler,
    /// A driver for volumes.
    VolumeDriver,
}

/// Where the new plugin gets the SDK from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SdkSource {
    /// A folder with the crate `symphony-sdk`.
    Path(PathBuf),
    /// A version from the registry.
    Version(String),
}

const GITIGNORE: &str = "/target\n";

/// Makes the folder `dir` with a plugin of this name. Gives the files that were written.
///
/// # Errors
/// When the name is none for a plugin, the folder is there already, or can't be written.
pub fn new_plugin(template: Template, dir: &Path, name: &str, sdk: &SdkSource) -> Result<Vec<PathBuf>, Error> {
    if !is_name(name) {
        return Err(Error::Name { name: name.to_owned() });
    }
    if dir.exists() {
        return Err(Error::Exists { path: dir.to_owned() });
    }
    let sdk = match sdk {
        SdkSource::Path(path) => format!("{{ path = {} }}", quoted(&path.display().to_string())),
        SdkSource::Version(version) => quoted(version),
    };
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{type}}", &type_name(name))
            .replace("{{sdk}}", &sdk)
    };
    let files = match template {
        Template::Scheduler => [
            ("Cargo.toml", include_str!("../templates/scheduler/Cargo.toml.in")),
            ("README.md", include_str!("../templates/scheduler/README.md.in")),
            ("src/lib.rs", include_str!("../templates/scheduler/src/lib.rs.in")),
        ],
        Template::VolumeDriver => [
            ("Cargo.toml", include_str!("../templates/volume/Cargo.toml.in")),
            ("README.md", include_str!("../templates/volume/README.md.in")),
            ("src/lib.rs", include_str!("../templates/volume/src/lib.rs.in")),
        ],
    };
    let mut written = Vec::new();
    for (file, text) in files.into_iter().chain([(".gitignore", GITIGNORE)]) {
        let path = dir.join(file);
        write_if_changed(&path, fill(text).as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

/// `my-policy` becomes `MyPolicy`.
fn type_name(name: &str) -> String {
    let words = name.split('-').filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// A TOML string: what JSON escapes, TOML escapes in the same way.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::{SdkSource, Template, new_plugin, quoted, type_name};
    use crate::error::Error;

    #[test]
    fn names_become_types() {
        assert_eq!(["a", "my-policy", "x--2y-"].map(type_name), ["A", "MyPolicy", "X2y"]);
        assert_eq!(quoted("a\"b\\c"), r#""a\"b\\c""#);
    }

    #[test]
    fn a_folder_is_made_once_and_has_no_gaps() {
        let dir = tempfile::tempdir().unwrap();
        for (template, name) in [
            (Template::Scheduler, "my-policy"),
            (Template::VolumeDriver, "my-driver"),
        ] {
            let folder = dir.path().join(name);
            let sdk = SdkSource::Version("0.1".to_owned());
            let files = new_plugin(template, &folder, name, &sdk).unwrap();
            for file in files {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(!text.contains("{{"), "{}: {text}", file.display());
            }
            assert!(matches!(
                new_plugin(template, &folder, name, &sdk),
                Err(Error::Exists { .. })
            ));
        }
        let bad = new_plugin(
            Template::Scheduler,
            &dir.path().join("x"),
            "../x",
            &SdkSource::Version("1".to_owned()),
        );
        assert!(matches!(bad, Err(Error::Name { .. })));
    }
}
