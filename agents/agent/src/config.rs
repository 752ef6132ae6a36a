//! Loads `agent.toml` and refuses what can't work, before anything is opened. Without the file everything has its default.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use symphony_core::name::Name;
use symphony_core::network::Underlay;
use symphony_core::node::{FENCE_PROGRAMS_MAX, POOLS_MAX, Role};
use symphony_core::power;
use symphony_core::quantity::{Bytes, SizeError};
use symphony_core::token::TokenText;
use symphony_protocol::config::{AGENT_CONFIG_FILE, AgentConfig, JoinConfig};

use crate::membership::ManagerAddress;

/// Largest configuration file, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Virtual processors that may be claimed for each processor, in percent.
pub const OVERCOMMIT_PERCENT: std::ops::RangeInclusive<u32> = 10..=6_400;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no folder, and none can be made.
    #[error("the agent's folder {path} can't be made")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
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
    /// Makes the folder of an agent, for its owner alone, when it is missing.
    ///
    /// # Errors
    /// It can't be made.
    pub fn make_folder(folder: &Path) -> Result<(), ConfigError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| ConfigError::Folder {
            path: folder.to_owned(),
            source,
        })
    }

    /// Loads `agent.toml` from a folder; the defaults when it is not there.
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
        match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            opened => {
                let mut file = opened.map_err(read)?.take(CONFIG_BYTES_MAX + 1);
                file.read_to_string(&mut text).map_err(read)?;
            }
        }
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

    /// The node's name: as configured, else that of the server.
    ///
    /// # Errors
    /// None is configured, and the server's is no name of a node.
    pub fn name(&self) -> Result<Name, ConfigError> {
        match &self.agent.name {
            Some(name) => Ok(name.clone()),
            None => server_name(&rustix::system::uname().nodename().to_string_lossy()),
        }
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
    if config.listen.parse::<SocketAddr>().is_err() {
        return wrong(format!(
            "listen = {:?}, which is not of the form ADDRESS:PORT",
            config.listen
        ));
    }
    if let Some(join) = &config.join {
        check_join(&config.roles, join)?;
    }
    if let Some(Err(error)) = config.underlay.as_deref().map(str::parse::<Underlay>) {
        return wrong(format!("as underlay {error}"));
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
    let mut programs = config.programs.iter().chain(&config.fence_programs);
    if let Some((name, path)) = programs.find(|(_, path)| !path.is_absolute()) {
        return wrong(format!(
            "program {name} at {}, which is not an absolute path",
            path.display()
        ));
    }
    if config.fence_programs.len() > FENCE_PROGRAMS_MAX {
        let count = config.fence_programs.len();
        return wrong(format!(
            "{count} programs in [fence_programs]; there are at most {FENCE_PROGRAMS_MAX}"
        ));
    }
    match config.fence_programs.keys().find(|name| !power::is_program(name)) {
        Some(name) => wrong(format!(
            "{name:?} in [fence_programs], which is no name: letters, digits, `-`, `_` and `.`"
        )),
        None => Ok(()),
    }
}

fn check_join(roles: &[Role], join: &JoinConfig) -> Result<(), ConfigError> {
    let wrong = |what: String| Err(ConfigError::Value { what });
    if join.managers.is_empty() {
        return wrong("[join] without managers; write for example managers = [\"192.0.2.10:15760\"]".to_owned());
    }
    if let Some(error) = join
        .managers
        .iter()
        .find_map(|text| text.parse::<ManagerAddress>().err())
    {
        return wrong(format!("managers in [join], of which {error}"));
    }
    if !join.tokens.is_empty() && join.tokens.len() != roles.len() {
        return wrong(format!(
            "{} tokens in [join] and {} roles; there is to be one token for each of roles = [...], in their order",
            join.tokens.len(),
            roles.len()
        ));
    }
    for (role, token) in roles.iter().zip(&join.tokens) {
        if let Err(error) = token.parse::<TokenText>() {
            return wrong(format!("a token in [join] for {} that is none: {error}", role.as_str()));
        }
    }
    Ok(())
}

/// The first part of a server's name, if it can be a node's.
fn server_name(host: &str) -> Result<Name, ConfigError> {
    let first = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    first.parse().map_err(|error| ConfigError::Value {
        what: format!("no name, and the server's ({host:?}) can't be a node's ({error}); write name = \"...\", or start it with --name"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "n1"
        listen = "127.0.0.1:0"
        roles = ["block", "image"]
        [[pool]]
        name = "default"
        path = "pool"
        capacity = "10GiB"
        [join]
        managers = ["127.0.0.1:15760", "m2"]
        tokens = ["sym1.1111111111111111.22222222222222222222222222222222.33333333333333333333333333333333",
                  "sym1.4444444444444444.22222222222222222222222222222222.33333333333333333333333333333333"]
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
        assert_eq!(config.name().unwrap().as_str(), "n1");
        assert_eq!(config.path(Path::new("/abs")), PathBuf::from("/abs"));
    }

    #[test]
    fn each_mistake_is_named() {
        let cases = [
            (
                "127.0.0.1:15760",
                "http://x",
                "managers in [join], of which \"http://x\" is not of the form",
            ),
            ("[\"127.0.0.1:15760\", \"m2\"]", "[]", "[join] without managers"),
            (
                "sym1.4",
                "sym1.zz",
                "a token in [join] for image that is none: the id of a token is",
            ),
            ("name = \"n1\"", "underlay = \"node-1\"", "as underlay \"node-1\" is no"),
            ("[\"block\", \"image\"]", "[]", "2 tokens in [join] and 0 roles"),
            ("127.0.0.1:0", "here", "listen"),
            (
                "\"10GiB\"",
                "\"10GiB\"\n[[pool]]\nname = \"default\"\npath = \"b\"",
                "two pools",
            ),
            ("\"10GiB\"", "\"10GiB\"\n[programs]\nzfs = \"sbin/zfs\"", "absolute"),
            ("\"10GiB\"", "\"10GiB\"\n[fence_programs]\nfence_x = \"x\"", "absolute"),
            (
                "\"10GiB\"",
                "\"10GiB\"\n[fence_programs]\n\"a b\" = \"/x\"",
                "\"a b\" in [fence_programs]",
            ),
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
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(AGENT_CONFIG_FILE)).unwrap();
        assert!(matches!(Config::load(folder.path()), Err(ConfigError::Read { .. })));
        let nowhere = Config::make_folder(Path::new("/proc/nonexistent"));
        assert!(matches!(nowhere, Err(ConfigError::Folder { .. })));
        let error = load(&GOOD.replace("sym1.4", "sym1.zz")).unwrap_err().to_string();
        assert!(!error.contains("2222"), "a secret is shown: {error}");
    }

    #[test]
    fn nothing_at_all_is_enough() {
        let home = tempfile::tempdir().unwrap();
        let config = Config::load(&home.path().join("a/b")).unwrap();
        assert_eq!(
            (config.agent.listen.as_str(), config.agent.pools.len()),
            ("0.0.0.0:15761", 1)
        );
        assert_eq!(config.agent.pools[0].name.as_str(), "default");
        assert!(config.agent.roles.is_empty() && config.agent.join.is_none());
        let written = toml::to_string(&config.agent).unwrap();
        assert_eq!(toml::from_str::<AgentConfig>(&written).unwrap(), config.agent);
    }

    #[test]
    fn a_servers_name_is_the_nodes_when_it_can_be() {
        assert_eq!(server_name("Rack7.example.org").unwrap().as_str(), "rack7");
        let error = server_name("my_server").unwrap_err().to_string();
        assert!(error.contains("\"my_server\"") && error.contains("--name"), "{error}");
    }
}
