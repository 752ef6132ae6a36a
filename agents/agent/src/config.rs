//! Loads `agent.toml` and refuses what can't work, before anything is opened.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use symphony_core::node::{POOLS_MAX, Role};
use symphony_core::quantity::{Bytes, SizeError};
use symphony_protocol::config::{AGENT_CONFIG_FILE, AgentConfig};

/// Largest configuration file, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Virtual processors that may be claimed for each processor, in percent.
pub const OVERCOMMIT_PERCENT: std::ops::RangeInclusive<u32> = 10..=6_400;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {path} can't be read")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Over [`CONFIG_BYTES_MAX`].
    #[error("the configuration {0} is over {CONFIG_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    /// Not what an [`AgentConfig`] looks like.
    #[error("the configuration {path} can't be understood")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where, and what was expected.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Reads well, and can't work.
    #[error("the configuration says {what}")]
    Value {
        /// What is wrong and what to write instead.
        what: String,
    },
    /// A pool's capacity is no size.
    #[error("the capacity of pool {pool} is not a size")]
    Capacity {
        /// Which pool.
        pool: String,
        /// Why.
        #[source]
        source: SizeError,
    },
}

/// A configuration and the folder that its relative paths start at.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the file says.
    pub agent: AgentConfig,
    /// Where the file is.
    pub folder: PathBuf,
}

impl Config {
    /// Loads `agent.toml` from a folder.
    ///
    /// # Errors
    /// The file can't be read or understood, or says what can't work.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(AGENT_CONFIG_FILE);
        let read = |source| ConfigError::Read {
            path: path.clone(),
            source,
        };
        let mut text = String::new();
        let file = std::fs::File::open(&path).map_err(read)?;
        file.take(CONFIG_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(read)?;
        if text.len() as u64 > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge(path));
        }
        let agent = toml::from_str(&text).map_err(|source| ConfigError::Syntax {
            path,
            source: Box::new(source),
        })?;
        check(&agent)?;
        Ok(Self {
            agent,
            folder: folder.to_owned(),
        })
    }

    /// A path of the configuration, from the agent's folder.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Whether the node has a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.agent.roles.contains(&role)
    }
}

fn check(config: &AgentConfig) -> Result<(), ConfigError> {
    let wrong = |what: String| Err(ConfigError::Value { what });
    let authority = config
        .manager
        .strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/'));
    if authority.is_none_or(|rest| rest.is_empty() || rest.contains('/')) {
        return wrong(format!(
            "manager = {:?}, which is not of the form http://ADDRESS:PORT",
            config.manager
        ));
    }
    if config.token.len() < 8 || !config.token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("a token of less than 8 characters, or one with spaces in it".to_owned());
    }
    if config.listen.parse::<SocketAddr>().is_err() {
        return wrong(format!(
            "listen = {:?}, which is not of the form ADDRESS:PORT",
            config.listen
        ));
    }
    if config.roles.is_empty() {
        return wrong("no roles; write for example roles = [\"block\", \"image\"]".to_owned());
    }
    if config.roles.contains(&Role::Block) && config.pools.is_empty() {
        return wrong("the role block and no pool; add a [[pool]] with a name and a path".to_owned());
    }
    if config.pools.len() > POOLS_MAX {
        return wrong(format!("{} pools; a node has at most {POOLS_MAX}", config.pools.len()));
    }
    if let Some(compute) = &config.compute {
        if !OVERCOMMIT_PERCENT.contains(&compute.cpu_overcommit_percent) {
            return wrong(format!(
                "cpu_overcommit_percent = {}, which is not from {} to {}",
                compute.cpu_overcommit_percent,
                OVERCOMMIT_PERCENT.start(),
                OVERCOMMIT_PERCENT.end()
            ));
        }
        if let Some(memory) = compute
            .memory
            .as_ref()
            .filter(|memory| memory.parse::<Bytes>().is_err())
        {
            return wrong(format!(
                "memory = {memory:?} in [compute], which is not a size like 60GiB"
            ));
        }
    }
    let mut names = BTreeSet::new();
    for pool in &config.pools {
        if !names.insert(&pool.name) {
            return wrong(format!("two pools with the name {}", pool.name));
        }
        if let Some(capacity) = &pool.capacity {
            let parsed = capacity.parse::<Bytes>();
            parsed.map_err(|source| ConfigError::Capacity {
                pool: pool.name.to_string(),
                source,
            })?;
        }
    }
    match config.programs.iter().find(|(_, path)| !path.is_absolute()) {
        Some((name, path)) => wrong(format!(
            "program {name} at {}, which is not an absolute path",
            path.display()
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "n1"
        manager = "http://127.0.0.1:15760"
        token = "0123456789abcdef"
        roles = ["block", "image"]
        [[pool]]
        name = "default"
        path = "pool"
        capacity = "10GiB"
    "#;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(AGENT_CONFIG_FILE), text).unwrap();
        Config::load(folder.path())
    }

    #[test]
    fn a_good_file_is_taken() {
        let config = load(GOOD).unwrap();
        assert!(config.has(Role::Block) && !config.has(Role::Compute));
        assert_eq!(config.agent.listen, "127.0.0.1:15761");
        assert_eq!(config.path(Path::new("/abs")), PathBuf::from("/abs"));
    }

    #[test]
    fn each_mistake_is_named() {
        let cases = [
            ("http://127.0.0.1:15760", "ftp://x", "manager"),
            ("0123456789abcdef", "short", "token"),
            ("[\"block\", \"image\"]", "[]", "roles"),
            ("[\"block\", \"image\"]", "[\"block\"]\nlisten = \"here\"", "listen"),
            (
                "\"10GiB\"",
                "\"10GiB\"\n[[pool]]\nname = \"default\"\npath = \"b\"",
                "two pools",
            ),
            ("\"10GiB\"", "\"10GiB\"\n[programs]\nzfs = \"sbin/zfs\"", "absolute"),
            ("\"10GiB\"", "\"ten\"", "capacity of pool default"),
            (
                "\"10GiB\"",
                "\"10GiB\"\n[compute]\ncpu_overcommit_percent = 9",
                "cpu_overcommit_percent = 9",
            ),
            ("\"10GiB\"", "\"10GiB\"\n[compute]\nmemory = \"much\"", "not a size"),
        ];
        for (from, to, named) in cases {
            let error = load(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(named), "{to}: {error}");
        }
        assert!(matches!(load("colour = 1"), Err(ConfigError::Syntax { .. })));
        assert!(matches!(load(&" ".repeat(2 << 20)), Err(ConfigError::TooLarge(_))));
        assert!(matches!(
            Config::load(Path::new("/nonexistent")),
            Err(ConfigError::Read { .. })
        ));
    }
}
