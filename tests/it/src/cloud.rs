//! A `symphony dev` in a temporary folder: one manager, real agents. Ends with the value that stands for it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use symphony_api::v1;
use symphony_api::{Client, Endpoint};

use crate::wait::until;
use crate::{left, process};

/// How to start a cloud.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes.
    pub nodes: u32,
    /// The pools' capacities, one after the other; `--pool-capacity`.
    pub capacities: &'static str,
    /// Whether its nodes run machines and networks, where this server can.
    pub machines: bool,
    /// More environment: crash points.
    pub environment: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            capacities: "20GiB,40GiB,80GiB",
            machines: false,
            environment: Vec::new(),
        }
    }
}

/// A running cloud.
pub struct Cloud {
    dir: tempfile::TempDir,
    options: Options,
    child: Child,
    client: Client,
}

impl Cloud {
    /// Starts one in a fresh folder.
    pub async fn start(options: Options) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("symphony-")
            .tempdir()
            .expect("a folder can be made");
        copy_compiled(dir.path());
        let (child, client) = spawn(dir.path(), &options, true).await.expect("a fresh cloud starts");
        Self {
            dir,
            options,
            child,
            client,
        }
    }

    /// Starts one that is expected to die on the way; it may be dead already.
    pub async fn start_doomed(options: Options) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("symphony-")
            .tempdir()
            .expect("a folder can be made");
        copy_compiled(dir.path());
        loop {
            if let Ok((child, client)) = spawn(dir.path(), &options, false).await {
                return Self {
                    dir,
                    options,
                    child,
                    client,
                };
            }
        }
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A client with its token. After [`restart`](Self::restart) ask again.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The process of the manager.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs `symphony` with these words and gives exit code, output and messages.
    #[must_use]
    pub fn symphony(&self, words: &[&str]) -> (i32, String, String) {
        let output = Command::new(crate::program("symphony"))
            .args(words)
            .env("SYMPHONY_CONFIG", self.dir().join("client.toml"))
            .stdin(Stdio::null())
            .output()
            .expect("symphony runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is text");
        (
            output.status.code().unwrap_or(-1),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Whether the manager is dead.
    pub fn is_dead(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Ends it in good order, as Ctrl-C does, its machines and networks included. Gives the exit code; nothing when it was
    /// killed before, or had to be.
    pub fn stop(&mut self) -> Option<i32> {
        let ended = process::end(&mut self.child);
        if ended.is_none() {
            self.kill();
        }
        ended
    }

    /// Ends the manager as a power cut would; its agents end with it. Machines go on.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same folder.
    pub async fn restart(&mut self) {
        self.kill();
        loop {
            if let Ok((child, client)) = spawn(self.dir.path(), &self.options, false).await {
                (self.child, self.client) = (child, client);
                return;
            }
        }
    }

    /// Waits for a volume to be as its spec says.
    pub async fn ready(&self, name: &str) -> v1::Volume {
        until(&format!("volume {name} to be ready"), async || {
            let volume = self.client.volume(name).await.ok()?;
            volume.is_ready().then_some(volume)
        })
        .await
    }

    /// The published files of a volume, on whatever nodes they are: more than one would be a fault.
    #[must_use]
    pub fn files(&self, volume: &v1::Volume) -> Vec<PathBuf> {
        let name = format!("{}.raw", volume.meta.id);
        self.files_named(|file| file == name)
    }

    /// All files under the nodes' folders whose name fits.
    #[must_use]
    pub fn files_named(&self, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir().join("nodes")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().and_then(|name| name.to_str()).is_some_and(&fits) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// The newest events.
    pub async fn events(&self) -> Vec<v1::Event> {
        let query = symphony_api::client::ListQuery {
            limit: Some(500),
            ..symphony_api::client::ListQuery::default()
        };
        self.client
            .events(&query)
            .await
            .map(|page| page.items)
            .unwrap_or_default()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if self.options.machines && !self.is_dead() {
            self.stop();
        }
        self.kill();
        for node in left::clear(self.dir()) {
            eprintln!("--- something of {} may be left running ---", node.display());
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir().join("dev.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the end of the cloud's log ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Starts the process and waits for its line; an error when it ended before.
async fn spawn(dir: &Path, options: &Options, first: bool) -> Result<(Child, Client), ()> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("dev.log"))
        .expect("the log can be written");
    let mut command = Command::new(crate::program("symphony"));
    command
        .args([
            "dev",
            "--listen",
            "127.0.0.1:0",
            "--no-default-context",
            "--pool-capacity",
            options.capacities,
        ])
        .args(["--nodes", &options.nodes.to_string(), "--data"])
        .arg(dir)
        .env("RUST_LOG", "info")
        .args((!options.machines).then_some("--no-machines"))
        .envs(options.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().expect("symphony starts");
    let stdout = child.stdout.take().expect("the output is piped");
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        line
    })
    .await
    .expect("reading a line does not panic");
    let Some(address) = line.trim().strip_prefix("ready ") else {
        let _ = child.kill();
        let status = child.wait();
        assert!(!first, "symphony dev ended with {status:?} before it was ready");
        return Err(());
    };
    let token = token(dir);
    let client = Client::new(&Endpoint::Http(address.to_owned()), Some(&token), "default").expect("the address is one");
    Ok((child, client))
}

/// The token that `dev` wrote for clients.
#[must_use]
pub fn token(dir: &Path) -> String {
    let config = symphony_api::ClientConfig::load(&dir.join("client.toml")).expect("client.toml can be read");
    config
        .context(None)
        .expect("it has a context")
        .and_then(|context| context.token)
        .expect("it has a token")
}

/// Compiling the first-party components takes seconds; every cloud starts with what the first one compiled.
fn copy_compiled(dir: &Path) {
    static COMPILED: OnceLock<tempfile::TempDir> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let mut command = Command::new(crate::program("symphony"));
        command
            .args([
                "dev",
                "--listen",
                "127.0.0.1:0",
                "--no-default-context",
                "--no-machines",
                "--nodes",
                "1",
                "--data",
            ])
            .arg(dir.path());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("symphony starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("the output is piped");
        let _ = BufReader::new(stdout).read_line(&mut line);
        assert!(line.starts_with("ready "), "symphony dev did not get ready");
        let _ = child.kill();
        let _ = child.wait();
        dir
    });
    for folder in ["cache", "compiled"] {
        let from = compiled.path().join(folder);
        if from.is_dir() {
            let copied = Command::new("cp").arg("-a").arg(&from).arg(dir).status();
            assert!(copied.expect("cp runs").success());
        }
    }
}
