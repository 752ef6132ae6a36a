//! The parts as processes, each kept running by a shell as a service manager would, and what the store and the disks say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use symphony_api::{Client, DEFAULT_PROJECT, Endpoint};

use super::board::{self, Boards};
use super::parts::{MANAGERS, MEMBERS, NODES, Program, ROLES, agent_config, command_of, endpoints};
use super::space::Space;
use super::story::Story;
use crate::cluster::Leader;
use crate::process::{Said, below, signal};
use crate::{cloud, program, until};

/// Keeps a program running, but while its folder is held: `$0` is the folder, the rest the command.
const KEEP: &str = r#"while :; do
    [ -e "$0.held" ] || "$@" >>"$0.log" 2>&1
    sleep 0.1
done"#;
/// What a node's first process does before: nothing of what other nodes have in there is its own.
const COMES_UP: &str = "mount -t tmpfs none /run && mkdir -p /run/netns /run/lock || exit 1\n";

/// The cluster.
pub struct Apart {
    dir: tempfile::TempDir,
    pub(super) story: Story,
    running: Arc<Mutex<BTreeMap<Space, Child>>>,
    clients: Vec<Client>,
}

impl Apart {
    /// Starts all parts and waits until all nodes are ready.
    ///
    /// # Panics
    /// When they don't get so.
    pub async fn start(story: &Story) -> Self {
        let mut cluster = Self {
            dir: super::folder(),
            story: story.clone(),
            running: Arc::default(),
            clients: Vec::new(),
        };
        for folder in ["etcd", "managers", "nodes"] {
            std::fs::create_dir(cluster.dir().join(folder)).expect("the folder is ours");
        }
        for space in MEMBERS.into_iter().chain(MANAGERS).chain(NODES) {
            space.make();
        }
        for member in MEMBERS {
            cluster.run(member);
        }
        until("etcd to serve", async || cluster.etcdctl(&["get", "nothing"])).await;
        cluster.managers().await;
        cluster.boards().serve().await;
        cluster.agents().await;
        story.note("all nodes are ready");
        cluster
    }

    async fn managers(&mut self) {
        for (number, manager) in MANAGERS.into_iter().enumerate() {
            if number > 0 {
                // What the first one compiled need not be compiled again.
                let compiled = |of: Space| self.folder(of).join("plugins");
                std::fs::create_dir_all(self.folder(manager)).expect("the folder is ours");
                let mut copy = Command::new("cp");
                copy.arg("-a").arg(compiled(MANAGERS[0])).arg(compiled(manager));
                assert!(copy.status().expect("cp runs").success());
            }
            self.run(manager);
            let socket = self.folder(manager).join("control.sock");
            until("a control socket", async || {
                std::os::unix::net::UnixStream::connect(&socket).ok()
            })
            .await;
            let _ = self.at(manager, &["manager", "init"]).good();
            let token = cloud::token(&self.folder(manager));
            let endpoint = Endpoint::Http(format!("https://{}:15760", manager.address()));
            let client = Client::new(&endpoint, Some(&token), DEFAULT_PROJECT).expect("an address");
            until("a manager to serve", async || client.ready().await.ok()).await;
            self.clients.push(client);
        }
    }

    async fn agents(&self) {
        let token = |role: &str| {
            let words = ["token", "create", "--role", role, "--uses", "5", "-o", "name"];
            self.at(MANAGERS[0], &words).good()
        };
        let tokens = ROLES.map(token);
        let board = board::program(self.dir());
        for node in NODES {
            let text = agent_config(node, &tokens, &board);
            std::fs::create_dir_all(self.folder(node)).expect("the folder is ours");
            board::secret(&self.folder(node));
            std::fs::write(self.folder(node).join("agent.toml"), text).expect("the folder is ours");
            self.run(node);
        }
        for client in &self.clients {
            until("all nodes to be ready", async || {
                let nodes = client.all_nodes(None).await.ok()?;
                let ready = nodes.iter().filter(|node| node.status.phase == "Ready");
                (ready.count() == NODES.len()).then_some(())
            })
            .await;
        }
        for node in NODES {
            let described = self.clients[0].patch_node(node.0, &board::described(node), None).await;
            described.expect("what cuts its power is described");
        }
    }

    pub(super) fn boards(&self) -> Boards {
        Boards::new(&self.running, &self.dir().join(Program::Agent.folder()), &self.story)
    }

    /// Where everything is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of a part.
    #[must_use]
    pub fn folder(&self, space: Space) -> PathBuf {
        self.dir().join(Program::of(space).folder()).join(space.0)
    }

    /// A client of each manager.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    fn at(&self, manager: Space, words: &[&str]) -> Said {
        let mut command = Command::new(program("symphony"));
        command
            .arg("--socket")
            .arg(self.folder(manager).join("control.sock"))
            .args(words);
        command.env("HOME", self.dir()).stdin(Stdio::null());
        Said::of(&command.output().expect("symphony runs"))
    }

    pub(super) fn run(&self, space: Space) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", space.file()));
        let script = if Program::of(space) == Program::Agent {
            // Its first process is a child of `unshare`, and ends with it.
            command.args([
                "unshare",
                "--mount",
                "--uts",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ]);
            command.args(["--propagation", "private"]);
            format!("{COMES_UP}{KEEP}")
        } else {
            KEEP.to_owned()
        };
        command
            .args(["sh", "-c", &script])
            .arg(self.folder(space))
            .args(command_of(space, &self.folder(space)));
        command.env("RUST_LOG", "info").env("HOME", self.dir());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("nsenter runs");
        self.running().insert(space, child);
    }

    pub(super) fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Space, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn etcdctl(&self, words: &[&str]) -> Option<String> {
        let mut command = Command::new("etcdctl");
        command
            .args(["--command-timeout", "3s", "--endpoints", &endpoints()])
            .args(words);
        let output = command.env("ETCDCTL_API", "3").stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// Whether a member of etcd serves, as it says itself.
    #[must_use]
    pub fn is_healthy(&self, member: Space) -> bool {
        let mut command = Command::new("etcdctl");
        let endpoint = format!("http://{}:2379", member.address());
        command.args([
            "--command-timeout",
            "3s",
            "--endpoints",
            &endpoint,
            "endpoint",
            "health",
        ]);
        command
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// Who leads, by the record in the store.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        serde_json::from_str(&self.etcdctl(&["get", "v1/leader", "--print-value-only"])?).ok()
    }

    /// Waits for a leader of a later epoch than this.
    pub async fn leader_after(&self, epoch: u64) -> Leader {
        until("a leader", async || self.leader().filter(|leader| leader.epoch > epoch)).await
    }

    /// The manager that leads, with its epoch.
    pub async fn leads(&self) -> (Space, u64) {
        let leader = self.leader_after(0).await;
        (manager(&leader.manager), leader.epoch)
    }

    /// What is claimed on each node by its ledger in the store, node to bytes, without nodes where it is nothing.
    #[must_use]
    pub fn ledgers(&self) -> Option<BTreeMap<String, u64>> {
        crate::cluster::ledgers(&self.etcdctl(&["get", "--prefix", "v1/ledger/"])?)
    }

    /// All files of the nodes whose name fits.
    #[must_use]
    pub fn files(&self, fits: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir().join("nodes")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    Ok(kind) if kind.is_file() && fits(&path) => found.push(path),
                    _ => {}
                }
            }
        }
        found
    }

    /// What a part said last.
    #[must_use]
    pub fn log(&self, space: Space) -> String {
        std::fs::read_to_string(self.folder(space).with_extension("log")).unwrap_or_default()
    }
}

/// The manager of this name.
///
/// # Panics
/// When there is none.
fn manager(name: &str) -> Space {
    let found = MANAGERS.into_iter().find(|manager| manager.0 == name);
    found.unwrap_or_else(|| panic!("{name} is no manager"))
}

impl Drop for Apart {
    fn drop(&mut self) {
        for (_, mut child) in std::mem::take(&mut *self.running()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The shells are gone; what they kept is not.
        for pid in below(self.dir()) {
            signal(pid, "KILL");
        }
        if std::thread::panicking() {
            eprintln!("--- what happened ---\n{}", self.story.told());
            for space in MANAGERS.into_iter().chain(NODES) {
                let log = self.log(space);
                let tail: Vec<&str> = log.lines().rev().take(25).collect();
                eprintln!("--- the end of what {} said ---", space.0);
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
            if std::env::var_os("SYMPHONY_CHAOS_KEEP").is_some() {
                // By a name that nobody sweeps.
                let kept = std::env::temp_dir().join(format!("symphony-kept-{}", self.story.seconds()));
                let moved = std::fs::rename(self.dir.path(), &kept);
                eprintln!("--- all of it is kept in {} ({moved:?}) ---", kept.display());
            }
        }
    }
}
