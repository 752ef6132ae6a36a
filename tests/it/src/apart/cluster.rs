//! The parts as processes, each kept running by a shell as a service manager would, and what may be done to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use symphony_api::{Client, DEFAULT_PROJECT, Endpoint};

use super::space::Space;
use super::story::Story;
use crate::cluster::Leader;
use crate::process::{Said, below, signal};
use crate::{cloud, program, until};

/// The members of etcd.
pub const MEMBERS: [Space; 3] = [Space("e1"), Space("e2"), Space("e3")];
/// The managers.
pub const MANAGERS: [Space; 3] = [Space("m1"), Space("m2"), Space("m3")];
/// The nodes.
pub const NODES: [Space; 5] = [Space("n1"), Space("n2"), Space("n3"), Space("n4"), Space("n5")];
/// The node that keeps the images.
pub const IMAGES: Space = NODES[0];

const ROLES: [&str; 4] = ["block", "image", "compute", "network"];

/// Keeps a program running, but while its folder is held: `$0` is the folder, the rest the command.
const KEEP: &str = r#"while :; do
    [ -e "$0.held" ] || "$@" >>"$0.log" 2>&1
    sleep 0.1
done"#;
/// What a node's first process does before: nothing of what other nodes have in there is its own.
const COMES_UP: &str = "mount -t tmpfs none /run && mkdir -p /run/netns /run/lock || exit 1\n";

/// What a part's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A member of etcd.
    Etcd,
    /// A manager.
    Manager,
    /// An agent.
    Agent,
}

impl Program {
    fn of(space: Space) -> Self {
        match &space.0[..1] {
            "e" => Self::Etcd,
            "m" => Self::Manager,
            _ => Self::Agent,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Manager => "symphony",
            Self::Agent => "symphony-agent",
        }
    }
}

/// The cluster.
pub struct Apart {
    dir: tempfile::TempDir,
    story: Story,
    running: Mutex<BTreeMap<Space, Child>>,
    clients: Vec<Client>,
}

impl Apart {
    /// Starts all parts and waits until all nodes are ready.
    ///
    /// # Panics
    /// When they don't get so.
    pub async fn start(story: &Story) -> Self {
        let dir = tempfile::Builder::new().prefix("symphony-apart-").tempdir();
        let mut cluster = Self {
            dir: dir.expect("a folder can be made"),
            story: story.clone(),
            running: Mutex::default(),
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
            format!("{:?}", self.at(MANAGERS[0], &words).good())
        };
        let tokens = ROLES.map(token);
        let managers = MANAGERS.map(|manager| format!("\"{}:15760\"", manager.address()));
        for node in NODES {
            let has = |role: &&str| *role != "image" || node == IMAGES;
            let (mut roles, mut theirs) = (Vec::new(), Vec::new());
            for (role, token) in ROLES.iter().zip(&tokens).filter(|(role, _)| has(role)) {
                roles.push(format!("{role:?}"));
                theirs.push(token.clone());
            }
            let text = format!(
                "name = \"{name}\"\nlisten = \"{address}:15761\"\nroles = [{roles}]\n[labels]\nzone = \"{name}\"\n\
                 [[pool]]\nname = \"default\"\npath = \"pool\"\ncapacity = \"1GiB\"\n[compute]\nmemory = \"1GiB\"\n\
                 [join]\nmanagers = [{managers}]\ntokens = [{tokens}]\n",
                name = node.0,
                address = node.address(),
                roles = roles.join(", "),
                managers = managers.join(", "),
                tokens = theirs.join(", "),
            );
            std::fs::create_dir_all(self.folder(node)).expect("the folder is ours");
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
    }

    /// Where everything is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of a part.
    #[must_use]
    pub fn folder(&self, space: Space) -> PathBuf {
        let kind = match Program::of(space) {
            Program::Etcd => "etcd",
            Program::Manager => "managers",
            Program::Agent => "nodes",
        };
        self.dir().join(kind).join(space.0)
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

    fn command(&self, space: Space) -> Vec<String> {
        let folder = self.folder(space).display().to_string();
        let address = space.address();
        let words: Vec<String> = match Program::of(space) {
            Program::Etcd => {
                let (client, peer) = (format!("http://{address}:2379"), format!("http://{address}:2380"));
                let all = MEMBERS.map(|member| format!("{}=http://{}:2380", member.0, member.address()));
                let flags = [
                    ("--name", space.0.to_owned()),
                    ("--data-dir", folder),
                    ("--listen-client-urls", client.clone()),
                    ("--advertise-client-urls", client),
                    ("--listen-peer-urls", peer.clone()),
                    ("--initial-advertise-peer-urls", peer),
                    ("--initial-cluster", all.join(",")),
                ];
                let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
                std::iter::once("etcd".to_owned()).chain(flags).collect()
            }
            Program::Manager => {
                let words = [
                    "manager",
                    "--listen",
                    &format!("{address}:15760"),
                    "--name",
                    space.0,
                    "--etcd",
                ];
                let more = [endpoints(), "--config-dir".to_owned(), folder];
                let program = program("symphony").display().to_string();
                std::iter::once(program)
                    .chain(words.map(str::to_owned))
                    .chain(more)
                    .collect()
            }
            Program::Agent => {
                let program = program("symphony-agent").display().to_string();
                vec![program, "--config-dir".to_owned(), folder]
            }
        };
        words
    }

    fn run(&self, space: Space) {
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
            .args(self.command(space));
        command.env("RUST_LOG", "info").env("HOME", self.dir());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("nsenter runs");
        self.running().insert(space, child);
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Space, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process of a part, when it runs.
    #[must_use]
    pub fn pid(&self, space: Space) -> Option<u32> {
        let folder = self.folder(space).display().to_string();
        let is_it = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            let first = line.split('\0').next().unwrap_or_default();
            first.rsplit('/').next() == Some(Program::of(space).name()) && line.split('\0').any(|word| word == folder)
        };
        below(&self.folder(space)).into_iter().find(is_it)
    }

    async fn process(&self, space: Space) -> u32 {
        until(&format!("the process of {}", space.0), async || self.pid(space)).await
    }

    /// Kills the process of a part; it is started again at once. Gives its number.
    pub async fn kill(&self, space: Space) -> u32 {
        let pid = self.process(space).await;
        assert!(signal(pid, "KILL"), "{} is killed", space.0);
        self.story.note(format!("killed {}", space.0));
        pid
    }

    /// Waits until a part's process is another one than this.
    pub async fn runs_anew(&self, space: Space, before: u32) {
        until(&format!("{} to run anew", space.0), async || {
            self.pid(space).filter(|pid| *pid != before)
        })
        .await;
    }

    /// Kills the process of a part, and keeps it down.
    ///
    /// # Panics
    /// When its folder can't be written.
    pub async fn hold(&self, space: Space) {
        std::fs::write(self.held(space), "").expect("the folder is ours");
        self.kill(space).await;
    }

    /// Lets a part that is held run again.
    pub fn release(&self, space: Space) {
        // Only who was held has the file.
        let _ = std::fs::remove_file(self.held(space));
        self.story.note(format!("released {}", space.0));
    }

    fn held(&self, space: Space) -> PathBuf {
        self.folder(space).with_extension("held")
    }

    /// Stops the process of a part where it is. Gives its number.
    pub async fn freeze(&self, space: Space) -> u32 {
        let pid = self.process(space).await;
        assert!(signal(pid, "STOP"), "{} is frozen", space.0);
        self.story.note(format!("froze {}", space.0));
        pid
    }

    /// Lets a frozen process go on.
    ///
    /// # Panics
    /// When it is gone.
    pub fn thaw(&self, space: Space, pid: u32) {
        assert!(signal(pid, "CONT"), "{} goes on", space.0);
        self.story.note(format!("thawed {}", space.0));
    }

    /// Takes a node's power: everything that runs there is gone at once, with its network. What it has on disk stays.
    ///
    /// # Panics
    /// When it has no power, or something outlives it.
    pub async fn power_cut(&self, node: Space) {
        let child = self.running().remove(&node);
        let mut child = child.expect("it has power");
        child.kill().expect("it can be killed");
        let _ = child.wait();
        self.story.note(format!("cut the power of {}", node.0));
        let folder = self.folder(node);
        until("the node's processes to be gone", async || {
            below(&folder).is_empty().then_some(())
        })
        .await;
        node.remove();
    }

    /// Gives a node its power back.
    pub fn power_on(&self, node: Space) {
        node.make();
        self.run(node);
        self.story.note(format!("gave {} its power back", node.0));
    }

    /// Cuts a part off in some way, and says so.
    pub fn cut(&self, space: Space, how: &str, cut: impl FnOnce(Space)) {
        cut(space);
        self.story.note(format!("cut {} off: {how}", space.0));
    }

    /// Heals what was cut at a part.
    pub fn heal(&self, space: Space) {
        space.heal();
        self.story.note(format!("healed {}", space.0));
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

fn endpoints() -> String {
    MEMBERS
        .map(|member| format!("http://{}:2379", member.address()))
        .join(",")
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
            let kept = self.dir.path().to_owned();
            for space in MANAGERS.into_iter().chain(NODES) {
                let log = self.log(space);
                let tail: Vec<&str> = log.lines().rev().take(25).collect();
                eprintln!("--- the end of what {} said ---", space.0);
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
            if std::env::var_os("SYMPHONY_CHAOS_KEEP").is_some() {
                eprintln!("--- all of it is kept in {} ---", kept.display());
                self.dir.disable_cleanup(true);
            }
        }
    }
}
