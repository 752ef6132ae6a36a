//! The nodes of `dev`: a folder and an `agent.toml` each.

use std::path::{Path, PathBuf};

use symphony_cli::Failure;
use symphony_core::labels::Labels;
use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_core::quantity::Bytes;
use symphony_protocol::config::{AGENT_CONFIG_FILE, AgentConfig, ComputeConfig, JoinConfig, PoolConfig};

use crate::folder::{make_folder, write_private};

/// What may be claimed on the nodes when not told otherwise: different, so that schedulers have something to choose.
const CAPACITIES: [Bytes; 3] = [Bytes(20 << 30), Bytes(40 << 30), Bytes(80 << 30)];
/// Memory that is left for the server itself.
const RESERVED_BYTES: u64 = 1 << 30;
/// The zones, taken in turn.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// A node of `dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: Name,
    /// Its agent's folder.
    pub(crate) folder: PathBuf,
    /// What it is to be let in for.
    pub(crate) roles: Vec<Role>,
}

/// The file in which an agent keeps what it was let in for.
const ENROLLED: &str = "enrolled.json";

/// Of that file, what is asked here.
#[derive(serde::Deserialize)]
struct Enrolled {
    roles: Vec<Role>,
}

impl Node {
    /// Whether it has to be let in for something yet.
    pub(crate) fn is_outside(&self) -> bool {
        let text = std::fs::read(self.folder.join(ENROLLED)).unwrap_or_default();
        let enrolled: Option<Enrolled> = serde_json::from_slice(&text).ok();
        enrolled.is_none_or(|enrolled| self.roles.iter().any(|role| !enrolled.roles.contains(role)))
    }

    /// Writes down where managers are, and tokens, one for each of its roles; none when it is in already.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn invite(&self, managers: &[String], tokens: Vec<String>) -> Result<(), Failure> {
        let path = self.folder.join(AGENT_CONFIG_FILE);
        let failed =
            |error: &dyn std::error::Error| Failure::caused(format!("could not write {}", path.display()), error);
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
        let mut config: AgentConfig = toml::from_str(&text).map_err(|error| failed(&error))?;
        config.join = Some(JoinConfig {
            managers: managers.to_vec(),
            tokens,
        });
        let text = toml::to_string(&config).map_err(|error| failed(&error))?;
        write_private(&path, &text).map_err(|error| failed(&error))
    }
}

/// What the nodes are to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// How many.
    pub(crate) count: u16,
    /// What may be claimed in their pools, in turn; empty when not told.
    pub(crate) capacities: &'a [Bytes],
    /// Whether they run machines and networks.
    pub(crate) machines: bool,
    /// Memory that machines may claim on each; when not told, all share the server's.
    pub(crate) memory: Option<Bytes>,
    /// The first three numbers of their own addresses, `127.9.2`; all are on 127.0.0.1 when not given.
    pub(crate) addresses: Option<[u8; 3]>,
}

/// Writes the folders of nodes below `root`. A node that is there already keeps its configuration (somebody may have changed
/// it) but for whether it runs machines, and the capacities and memory when they are given
/// now.
pub(crate) fn write(root: &Path, wanted: &Wanted<'_>) -> Result<Vec<Node>, Failure> {
    (0..usize::from(wanted.count))
        .map(|index| write_one(root, index, wanted))
        .collect()
}

fn write_one(root: &Path, index: usize, wanted: &Wanted<'_>) -> Result<Node, Failure> {
    let name: Name = format!("node-{}", index + 1)
        .parse()
        .map_err(|error| Failure::caused("could not name a node", &error))?;
    let fresh = config(index, &name, wanted)?;
    let folder = root.join(name.as_str());
    let path = folder.join(AGENT_CONFIG_FILE);
    let failed = |error: &dyn std::error::Error| Failure::caused(format!("could not write {}", path.display()), error);
    make_folder(&folder).map_err(|error| failed(&error))?;
    let config = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh,
        Err(error) => return Err(failed(&error)),
        Ok(text) => {
            let mut kept = read(&text).map_err(|error| {
                Failure::caused(format!("could not read {}", path.display()), &error)
                    .hint("repair the file, or remove it to have it written again")
            })?;
            kept.name = fresh.name;
            with_machines(&mut kept.roles, wanted.machines);
            if wanted.machines && (kept.compute.is_none() || wanted.memory.is_some()) {
                let memory = fresh.compute.and_then(|compute| compute.memory);
                kept.compute.get_or_insert_default().memory = memory;
            }
            if let (false, Some(pool), Some(new)) = (
                wanted.capacities.is_empty(),
                kept.pools.first_mut(),
                fresh.pools.first(),
            ) {
                pool.capacity.clone_from(&new.capacity);
            }
            kept
        }
    };
    let text = toml::to_string(&config).map_err(|error| failed(&error))?;
    write_private(&path, &text).map_err(|error| failed(&error))?;
    Ok(Node {
        name,
        folder,
        roles: config.roles,
    })
}

/// A configuration; one from before there were certificates has the manager's address and a secret, which count no more.
fn read(text: &str) -> Result<AgentConfig, toml::de::Error> {
    let mut table: toml::Table = toml::from_str(text)?;
    table.remove("manager");
    table.remove("token");
    table.try_into()
}

/// The configuration of a node that is not there yet.
fn config(index: usize, name: &Name, wanted: &Wanted<'_>) -> Result<AgentConfig, Failure> {
    let bad = |error: &dyn std::error::Error| Failure::caused("could not make a node's configuration", error);
    let capacities = match wanted.capacities {
        [] => &CAPACITIES[..],
        given => given,
    };
    // One image service is enough: images are stored once, and nodes fetch from it.
    let mut roles = match index {
        0 => vec![Role::Block, Role::Image],
        _ => vec![Role::Block],
    };
    with_machines(&mut roles, wanted.machines);
    let Bytes(capacity) = capacities[index % capacities.len()];
    Ok(AgentConfig {
        name: Some(name.clone()),
        listen: match wanted.addresses {
            Some([a, b, c]) => format!("{a}.{b}.{c}.{}:15761", index + 1),
            None => "127.0.0.1:0".to_owned(),
        },
        roles,
        labels: Labels::parse([format!("zone={}", ZONES[index % ZONES.len()]).as_str()])
            .map_err(|error| bad(&error))?,
        images: PathBuf::from("images"),
        pools: vec![PoolConfig {
            name: "default".parse().map_err(|error| bad(&error))?,
            path: PathBuf::from("pools/default"),
            // In bytes: exact, whatever was asked for.
            capacity: Some(exact(capacity)),
        }],
        compute: wanted.machines.then(|| ComputeConfig {
            memory: Some(exact(wanted.memory.unwrap_or_else(|| share(wanted.count)).0)),
            ..ComputeConfig::default()
        }),
        programs: std::collections::BTreeMap::new(),
        fence_programs: std::collections::BTreeMap::new(),
        join: None,
        underlay: None,
    })
}

/// Adds the roles for machines, or takes them away. Whether the node can fill them its agent finds out.
fn with_machines(roles: &mut Vec<Role>, machines: bool) {
    for role in [Role::Compute, Role::Network] {
        if !machines {
            roles.retain(|known| *known != role);
        } else if !roles.contains(&role) {
            roles.push(role);
        }
    }
}

/// A node's share of this server's memory, in whole MiB.
fn share(count: u16) -> Bytes {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total
        .and_then(|total| total.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    let rest = (kib << 10).saturating_sub(RESERVED_BYTES);
    Bytes((rest / u64::from(count.max(1))) >> 20 << 20)
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

    const WANTED: Wanted<'_> = Wanted {
        count: 1,
        capacities: &[],
        machines: false,
        memory: None,
        addresses: None,
    };

    fn of(node: &Node) -> AgentConfig {
        toml::from_str(&std::fs::read_to_string(node.folder.join(AGENT_CONFIG_FILE)).unwrap()).unwrap()
    }

    #[test]
    fn nodes_differ_and_the_first_keeps_images() {
        let home = tempfile::tempdir().unwrap();
        let nodes = write(home.path(), &Wanted { count: 4, ..WANTED }).unwrap();
        let configs: Vec<_> = nodes.iter().map(of).collect();
        let capacities: Vec<_> = configs
            .iter()
            .filter_map(|config| config.pools[0].capacity.clone())
            .collect();
        assert_eq!(capacities, ["20GiB", "40GiB", "80GiB", "20GiB"]);
        assert_eq!(configs[0].roles, [Role::Block, Role::Image]);
        assert_eq!(configs[1].roles, [Role::Block]);
        assert_eq!(configs[2].labels.value("zone"), Some("c"));
        assert_eq!(configs[3].name.as_ref().unwrap().as_str(), "node-4");
    }

    #[test]
    fn a_changed_configuration_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let nodes = write(home.path(), &WANTED).unwrap();
        let mut changed = of(&nodes[0]);
        changed.labels = "rack=7".parse().unwrap();
        let path = nodes[0].folder.join(AGENT_CONFIG_FILE);
        std::fs::write(&path, toml::to_string(&changed).unwrap()).unwrap();

        assert!(nodes[0].is_outside());
        write(home.path(), &WANTED).unwrap();
        nodes[0]
            .invite(&["127.0.0.1:4444".to_owned()], vec!["secret".to_owned()])
            .unwrap();
        let now = of(&nodes[0]);
        assert_eq!(now.join.unwrap().managers, ["127.0.0.1:4444"]);
        std::fs::write(
            nodes[0].folder.join(ENROLLED),
            r#"{"roles":["block","image"],"node":"x"}"#,
        )
        .unwrap();
        assert!(!nodes[0].is_outside());
        assert_eq!(now.labels.value("rack"), Some("7"));
        assert_eq!(now.pools[0].capacity.as_deref(), Some("20GiB"));

        let odd = Wanted {
            capacities: &[Bytes(1_000_000_007)],
            ..WANTED
        };
        write(home.path(), &odd).unwrap();
        assert_eq!(of(&nodes[0]).pools[0].capacity.as_deref(), Some("1000000007B"));

        let before = format!(
            "manager = \"http://127.0.0.1:1\"\ntoken = \"of-before\"\n{}",
            std::fs::read_to_string(&path).unwrap()
        );
        std::fs::write(&path, before).unwrap();
        write(home.path(), &WANTED).unwrap();
        assert!(!std::fs::read_to_string(&path).unwrap().contains("of-before"));

        std::fs::write(&path, "name = 7").unwrap();
        assert!(write(home.path(), &WANTED).unwrap_err().hint.is_some());
    }

    #[test]
    fn nodes_share_memory_and_lose_and_gain_their_machines() {
        let home = tempfile::tempdir().unwrap();
        let machines = Wanted {
            count: 2,
            machines: true,
            ..WANTED
        };
        let memory = |node: &Node| of(node).compute.unwrap().memory.unwrap().parse::<Bytes>().unwrap();
        let nodes = write(home.path(), &machines).unwrap();
        assert_eq!(
            of(&nodes[0]).roles,
            [Role::Block, Role::Image, Role::Compute, Role::Network]
        );
        assert_eq!(memory(&nodes[0]), share(2));
        assert_eq!(of(&nodes[1]).compute.unwrap().cpu_overcommit_percent, 400);

        // Without them for once; what was set stays.
        let nodes = write(home.path(), &Wanted { count: 2, ..WANTED }).unwrap();
        assert_eq!(of(&nodes[1]).roles, [Role::Block]);
        let told = Wanted {
            memory: Some(Bytes(3 << 30)),
            ..machines
        };
        let nodes = write(home.path(), &told).unwrap();
        assert_eq!(memory(&nodes[1]), Bytes(3 << 30));
        let nodes = write(home.path(), &machines).unwrap();
        assert_eq!(memory(&nodes[1]), Bytes(3 << 30));
        assert_eq!(of(&nodes[1]).roles, [Role::Block, Role::Compute, Role::Network]);
    }
}
