//! The client's file: where managers are and how to be let in. It holds secrets, so only its owner may read it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::DEFAULT_PROJECT;

/// Names the file, in place of the usual one.
pub const CONFIG_ENV: &str = "SYMPHONY_CONFIG";

/// The client's file. The fields at its top are the context that has no name; `symphony dev` writes only those.
///
/// ```toml
/// address = "http://127.0.0.1:15760"
/// token = "…"
///
/// [contexts.lab]
/// address = "http://10.0.0.1:15760"
/// token = "…"
/// project = "research"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// The context that is used when none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Address of the context that has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Token of the context that has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Project of the context that has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, Context>,
}

/// A manager and how to be let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// `http://HOST:PORT`.
    pub address: String,
    /// The bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The tenant.
    #[serde(default = "default_project")]
    pub project: String,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Context")
            .field("address", &self.address)
            .field("token", &token)
            .field("project", &self.project)
            .finish()
    }
}

fn default_project() -> String {
    DEFAULT_PROJECT.to_owned()
}

/// Why the client's file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It can't be written.
    #[error("{} can't be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{} is not a client's configuration", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// It can't be put into TOML.
    #[error("the configuration can't be written as TOML")]
    Encode(#[source] toml::ser::Error),
    /// It names no such context.
    #[error("there is no context {name:?}; there are: {known}")]
    NoContext {
        /// What was asked for.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// Nothing says where to find the file.
    #[error("neither SYMPHONY_CONFIG, XDG_CONFIG_HOME nor HOME is set, so there is no place for client.toml")]
    NoPlace,
}

impl ClientConfig {
    /// A file with one context that has no name.
    #[must_use]
    pub fn single(address: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            address: Some(address.into()),
            token: Some(token.into()),
            ..Self::default()
        }
    }

    /// Where the file is: what `SYMPHONY_CONFIG` names, else `symphony/client.toml` in the user's configuration folder.
    ///
    /// # Errors
    /// When the environment names no place.
    pub fn default_path() -> Result<PathBuf, ConfigError> {
        let var = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(path) = var(CONFIG_ENV) {
            return Ok(path);
        }
        let folder = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")));
        folder
            .map(|folder| folder.join("symphony").join("client.toml"))
            .ok_or(ConfigError::NoPlace)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there, can't be read, or is not what it should be.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads the file; none when it is not there.
    ///
    /// # Errors
    /// When it is there and can't be read, or is not what it should be.
    pub fn load_if_there(path: &Path) -> Result<Option<Self>, ConfigError> {
        match Self::load(path) {
            Err(ConfigError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Writes the file, as a whole or not at all, readable by its owner alone. Makes its folder.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let text = toml::to_string_pretty(self).map_err(ConfigError::Encode)?;
        write_private(path, text.as_bytes()).map_err(|source| ConfigError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// The context of this name; without one the current one, else the one that has no name.
    ///
    /// # Errors
    /// When there is no such context.
    pub fn context(&self, name: Option<&str>) -> Result<Option<Context>, ConfigError> {
        if let Some(name) = name.or(self.current.as_deref()) {
            let known = || self.contexts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let missing = || ConfigError::NoContext {
                name: name.to_owned(),
                known: known(),
            };
            return self.contexts.get(name).cloned().map(Some).ok_or_else(missing);
        }
        Ok(self.address.clone().map(|address| Context {
            address,
            token: self.token.clone(),
            project: self.project.clone().unwrap_or_else(default_project),
        }))
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn is_written_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("client.toml");
        let mut config = ClientConfig::single("http://127.0.0.1:1", "secret");
        config.contexts.insert(
            "lab".into(),
            Context {
                address: "http://lab:1".into(),
                token: None,
                project: "p".into(),
            },
        );
        config.save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ClientConfig::load(&path).unwrap(), config);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn contexts_are_found_and_missing_ones_named() {
        let config: ClientConfig =
            toml::from_str("address='http://a'\ntoken='t'\n[contexts.lab]\naddress='http://b'\n").unwrap();
        assert_eq!(config.context(None).unwrap().unwrap().project, "default");
        assert_eq!(config.context(Some("lab")).unwrap().unwrap().address, "http://b");
        assert!(config.context(Some("nope")).unwrap_err().to_string().contains("lab"));
        assert!(toml::from_str::<ClientConfig>("adress='x'").is_err());
        assert_eq!(ClientConfig::default().context(None).unwrap(), None);
    }

    #[test]
    fn a_missing_file_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ClientConfig::load_if_there(&folder.path().join("x")).unwrap(), None);
        std::fs::write(folder.path().join("y"), "not = [toml").unwrap();
        assert!(ClientConfig::load_if_there(&folder.path().join("y")).is_err());
    }

    #[test]
    fn a_token_is_never_shown() {
        let context = Context {
            address: "a".into(),
            token: Some("secret".into()),
            project: "p".into(),
        };
        assert!(!format!("{context:?}").contains("secret"));
    }
}
