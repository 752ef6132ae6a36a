//! A cluster that is put together by the commands that operators give: one plain etcd, managers and agents that wait on
//! their control sockets.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use symphony_api::v1::Service;

use crate::process::{Process, Said};
use crate::{program, until};

/// The parts, by the names of their folders.
pub struct ByHand {
    dir: tempfile::TempDir,
    etcd: String,
    processes: BTreeMap<String, Process>,
}

impl ByHand {
    /// Starts an etcd in a fresh folder, and nothing else.
    ///
    /// # Panics
    /// When it does not begin.
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("symphony-hand-").tempdir();
        let dir = dir.expect("a folder can be made");
        let free: Vec<TcpListener> = (0..2)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free"))
            .collect();
        let url = |at: usize| format!("http://{}", free[at].local_addr().expect("it has an address"));
        let (etcd, peer) = (url(0), url(1));
        drop(free);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "etcd", "--unsafe-no-fsync"]);
        command.arg("--data-dir").arg(dir.path().join("etcd"));
        for (flag, value) in [
            ("--listen-client-urls", &etcd),
            ("--advertise-client-urls", &etcd),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("default={peer}")),
        ] {
            command.args([flag, value]);
        }
        let store = Process::start(&mut command, &dir.path().join("etcd.log"));
        let by_hand = Self {
            dir,
            etcd,
            processes: BTreeMap::from([("etcd".to_owned(), store)]),
        };
        until("etcd to begin", async || by_hand.etcdctl(&["get", "nothing"])).await;
        by_hand
    }

    /// Where etcd serves: an address that is none of a manager.
    #[must_use]
    pub fn etcd(&self) -> &str {
        self.etcd.trim_start_matches("http://")
    }

    fn etcdctl(&self, words: &[&str]) -> Option<String> {
        let mut command = Command::new("etcdctl");
        command.args(["--endpoints", &self.etcd]).args(words);
        let output = command.env("ETCDCTL_API", "3").stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// A part's folder.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder(name).join("control.sock")
    }

    /// What a part has said.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let log = self.dir.path().join(format!("{name}.log"));
        std::fs::read_to_string(log).unwrap_or_default()
    }

    fn start_part(&mut self, name: &str, command: &mut Command) {
        let log = self.dir.path().join(format!("{name}.log"));
        let process = Process::start(command.arg("--exit-with-stdin"), &log);
        self.processes.insert(name.to_owned(), process);
    }

    /// Starts a manager on its folder.
    pub fn manager(&mut self, name: &str) {
        let mut command = Command::new(program("symphony"));
        command.args([
            "manager",
            "--listen",
            "127.0.0.1:0",
            "--name",
            name,
            "--etcd",
            &self.etcd,
        ]);
        command.arg("--config-dir").arg(self.folder(name));
        self.start_part(name, &mut command);
    }

    /// Starts a manager with a store of its own: another cluster.
    pub fn manager_alone(&mut self, name: &str) {
        let mut command = Command::new(program("symphony"));
        command.args(["manager", "--listen", "127.0.0.1:0", "--name", name]);
        command.arg("--config-dir").arg(self.folder(name));
        self.start_part(name, &mut command);
    }

    /// Starts an agent on its folder, with a pool.
    ///
    /// # Panics
    /// When the folder can't be written.
    pub fn agent(&mut self, name: &str) {
        self.agent_with(name, "");
    }

    /// The same, with more in its configuration.
    ///
    /// # Panics
    /// When the folder can't be written.
    pub fn agent_with(&mut self, name: &str, more: &str) {
        let folder = self.folder(name);
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let config = format!(
            "name = \"{name}\"\nlisten = \"127.0.0.1:0\"\n[[pool]]\nname = \"default\"\npath = \"pool\"\ncapacity = \"1GiB\"\n{more}"
        );
        std::fs::write(folder.join("agent.toml"), config).expect("the folder can be written");
        let mut command = Command::new(program("symphony-agent"));
        command.arg("--config-dir").arg(folder);
        self.start_part(name, &mut command);
    }

    /// Ends a part as a power cut would.
    pub fn kill(&mut self, name: &str) {
        self.processes.remove(name);
    }

    /// The exit code of a part that ended by itself.
    pub async fn ended(&mut self, name: &str) -> i32 {
        let process = self.processes.get_mut(name).expect("it was started");
        until(&format!("{name} to end"), async || process.ended()).await
    }

    /// Waits for a part's control socket.
    pub async fn waits(&self, name: &str) {
        let socket = self.socket(name);
        let connects = async || std::os::unix::net::UnixStream::connect(&socket).ok();
        until(&format!("the control socket of {name}"), connects).await;
    }

    /// `symphony --socket NAME/control.sock WORDS…`.
    #[must_use]
    pub fn at(&self, name: &str, words: &[&str]) -> Said {
        let mut command = Command::new(program("symphony"));
        command.arg("--socket").arg(self.socket(name)).args(words);
        self.run(&mut command)
    }

    /// `symphony WORDS…` with the client's file of a manager.
    #[must_use]
    pub fn by(&self, manager: &str, words: &[&str]) -> Said {
        let mut command = Command::new(program("symphony"));
        command.args(words);
        command.env("SYMPHONY_CONFIG", self.folder(manager).join("client.toml"));
        self.run(&mut command)
    }

    fn run(&self, command: &mut Command) -> Said {
        command.env("HOME", self.dir.path()).stdin(Stdio::null());
        Said::of(&command.output().expect("symphony runs"))
    }

    /// Starts managers, and makes them members one after the other.
    pub async fn members(&mut self, names: &[&str]) {
        for name in names {
            self.manager(name);
        }
        for name in names {
            self.waits(name).await;
            let _ = self.at(name, &["manager", "init"]).good();
        }
    }

    /// A token for a role, made at a manager.
    #[must_use]
    pub fn token(&self, manager: &str, role: &str, more: &[&str]) -> String {
        let words = ["token", "create", "--role", role, "-o", "name"];
        self.at(manager, &[&words[..], more].concat()).good()
    }

    /// `symphony --socket AGENT ROLE init ADDRESS --token T`.
    #[must_use]
    pub fn init(&self, agent: &str, role: &str, address: &str, token: &str) -> Said {
        self.at(agent, &[role, "init", address, "--token", token])
    }

    /// `manager service list -o json`.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn services(&self, manager: &str) -> Vec<Service> {
        let list = self.at(manager, &["manager", "service", "list", "-o", "json"]).good();
        serde_json::from_str(&list).expect("a list of services")
    }

    /// One service of the list, when it is there.
    #[must_use]
    pub fn service(&self, manager: &str, node: &str, role: &str) -> Option<Service> {
        let services = self.services(manager);
        services
            .into_iter()
            .find(|service| service.node == node && service.role == role)
    }

    /// A manager's address, `HOST:PORT`.
    ///
    /// # Panics
    /// When it is not on record.
    #[must_use]
    pub fn address(&self, manager: &str) -> String {
        let service = self.service(manager, manager, "manager").expect("it is on record");
        service.address.trim_start_matches("https://").to_owned()
    }

    /// The folder that all is in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in self.processes.keys().filter(|name| *name != "etcd") {
                let log = self.log(name);
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                eprintln!("--- the end of what {name} said ---");
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        // Compute agents leave libvirtd running: machines outlive them.
        let etcd = self.processes.remove("etcd");
        let names: Vec<String> = std::mem::take(&mut self.processes).into_keys().collect();
        drop(etcd);
        for folder in names.iter().map(|name| self.folder(name)) {
            if folder.join("libvirt").exists() {
                let mut down = Command::new(program("symphony-agent"));
                down.args(["down", "--patience", "0", "--config-dir"]).arg(&folder);
                let ended = down.stdin(Stdio::null()).status();
                if !ended.is_ok_and(|status| status.success()) {
                    eprintln!("--- something of {} may be left running ---", folder.display());
                }
            }
        }
    }
}
