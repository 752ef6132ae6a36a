//! The nodes of `dev`: a folder and an `agent.toml` each.

use std::path::{Path, PathBuf};

use symphony_cli::Failure;
use symphony_core::labels::Labels;
use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_core::quantity::Bytes;
use symphony_protocol::config::{AGENT_CONFIG_FILE, AgentConfig, PoolConfig};

use crate::folder::{make_folder, write_private};

/// What may be claimed on the nodes when not told otherwise: different, so that schedulers have something to choose.
const CAPACITIES: [Bytes; 3] = [Bytes(20 << 30), Bytes(40 << 30), Bytes(80 << 30)];
/// The zones, taken in turn.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// A node of `dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: Name,
    /// Its agent's folder.
    pub(crate) folder: PathBuf,
}

/// How agents reach the manager.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manager<'a> {
    /// `http://ADDRESS:PORT`.
    pub(crate) url: &'a str,
    /// The agents' secret.
    pub(crate) token: &'a str,
}

/// Writes the folders of `count` nodes below `root`. A node that is there already keeps its configuration (somebody may
/// have changed it) but for the manager's address and secret, and for the capacities when they are given now.
pub(crate) fn write(root: &Path, count: u16, capacities: &[Bytes], manager: Manager<'_>) -> Result<Vec<Node>, Failure> {
    (0..usize::from(count))
        .map(|index| write_one(root, index, capacities, manager))
        .collect()
}

fn write_one(root: &Path, index: usize, capacities: &[Bytes], manager: Manager<'_>) -> Result<Node, Failure> {
    let fresh = config(index, capacities, manager)?;
    let folder = root.join(fresh.name.as_str());
    let path = folder.join(AGENT_CONFIG_FILE);
    let failed = |error: &dyn std::error::Error| Failure::caused(format!("could not write {}", path.display()), error);
    make_folder(&folder).map_err(|error| failed(&error))?;
    let config = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh,
        Err(error) => return Err(failed(&error)),
        Ok(text) => {
            let mut kept: AgentConfig = toml::from_str(&text).map_err(|error| {
                Failure::caused(format!("could not read {}", path.display()), &error)
                    .hint("repair the file, or remove it to have it written again")
            })?;
            kept.manager = fresh.manager;
            kept.token = fresh.token;
            if let (false, Some(pool), Some(new)) = (capacities.is_empty(), kept.pools.first_mut(), fresh.pools.first())
            {
                pool.capacity.clone_from(&new.capacity);
            }
            kept
        }
    };
    let text = toml::to_string(&config).map_err(|error| failed(&error))?;
    write_private(&path, &text).map_err(|error| failed(&error))?;
    Ok(Node {
        name: config.name,
        folder,
    })
}

/// The configuration of a node that is not there yet.
fn config(index: usize, capacities: &[Bytes], manager: Manager<'_>) -> Result<AgentConfig, Failure> {
    let bad = |error: &dyn std::error::Error| Failure::caused("could not make a node's configuration", error);
    let capacities = if capacities.is_empty() {
        &CAPACITIES[..]
    } else {
        capacities
    };
    let Bytes(capacity) = capacities[index % capacities.len()];
    Ok(AgentConfig {
        name: format!("node-{}", index + 1).parse().map_err(|error| bad(&error))?,
        manager: manager.url.to_owned(),
        token: manager.token.to_owned(),
        listen: "127.0.0.1:0".to_owned(),
        // One image service is enough: images are stored once, and nodes fetch from it.
        roles: if index == 0 {
            vec![Role::Block, Role::Image]
        } else {
            vec![Role::Block]
        },
        labels: Labels::parse([format!("zone={}", ZONES[index % ZONES.len()]).as_str()])
            .map_err(|error| bad(&error))?,
        images: PathBuf::from("images"),
        pools: vec![PoolConfig {
            name: "default".parse().map_err(|error| bad(&error))?,
            path: PathBuf::from("pools/default"),
            // In bytes: exact, whatever was asked for.
            capacity: Some(exact(capacity)),
        }],
        compute: None,
        programs: std::collections::BTreeMap::new(),
    })
}

/// A size as text that reads back as the same number: with a unit when that is exact, else in bytes.
fn exact(bytes: u64) -> String {
    let short = Bytes(bytes).to_string();
    if short.parse() == Ok(Bytes(bytes)) {
        short
    } else {
        format!("{bytes}B")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANAGER: Manager<'_> = Manager {
        url: "http://127.0.0.1:15760",
        token: "secret",
    };

    fn read(node: &Node) -> AgentConfig {
        toml::from_str(&std::fs::read_to_string(node.folder.join(AGENT_CONFIG_FILE)).unwrap()).unwrap()
    }

    #[test]
    fn nodes_differ_and_the_first_keeps_images() {
        let home = tempfile::tempdir().unwrap();
        let nodes = write(home.path(), 4, &[], MANAGER).unwrap();
        let configs: Vec<_> = nodes.iter().map(read).collect();
        let capacities: Vec<_> = configs
            .iter()
            .filter_map(|config| config.pools[0].capacity.clone())
            .collect();
        assert_eq!(capacities, ["20GiB", "40GiB", "80GiB", "20GiB"]);
        assert_eq!(configs[0].roles, [Role::Block, Role::Image]);
        assert_eq!(configs[1].roles, [Role::Block]);
        assert_eq!(configs[2].labels.value("zone"), Some("c"));
        assert_eq!(configs[3].name.as_str(), "node-4");
    }

    #[test]
    fn a_changed_configuration_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let nodes = write(home.path(), 1, &[], MANAGER).unwrap();
        let mut changed = read(&nodes[0]);
        changed.labels = "rack=7".parse().unwrap();
        let path = nodes[0].folder.join(AGENT_CONFIG_FILE);
        std::fs::write(&path, toml::to_string(&changed).unwrap()).unwrap();

        let moved = Manager {
            url: "http://127.0.0.1:4444",
            token: "other",
        };
        write(home.path(), 1, &[], moved).unwrap();
        let now = read(&nodes[0]);
        assert_eq!((now.manager.as_str(), now.token.as_str()), (moved.url, moved.token));
        assert_eq!(now.labels.value("rack"), Some("7"));
        assert_eq!(now.pools[0].capacity.as_deref(), Some("20GiB"));

        write(home.path(), 1, &[Bytes(1_000_000_007)], moved).unwrap();
        assert_eq!(read(&nodes[0]).pools[0].capacity.as_deref(), Some("1000000007B"));

        std::fs::write(&path, "name = 7").unwrap();
        assert!(write(home.path(), 1, &[], moved).unwrap_err().hint.is_some());
    }
}
