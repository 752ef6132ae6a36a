//! What these tests share: a node with one volume, and clients that may know a key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use symphony_core::counter::Generation;
use symphony_core::export::{ExportKey, name};
use symphony_core::plan::export::{Fact, Probe, Served, ServingFact, Settings, Step};
use symphony_storage::Exports;

pub(super) const VOLUME: &str = "01936e2a-7c3b-7def-8123-456789abcdef";

/// Whether this server has the programs.
pub(super) fn can() -> bool {
    let has = |program: &str| {
        let run = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    let can = has("qemu-storage-daemon") && has("qemu-io");
    if !can {
        eprintln!("skipped: qemu-storage-daemon and qemu-io are not installed");
    }
    can
}

/// A node; its servers end with it, however that is.
pub(super) struct Node {
    pub(super) top: tempfile::TempDir,
    pub(super) exports: Exports,
}

impl Node {
    pub(super) fn new() -> Self {
        let top = tempfile::Builder::new().prefix("a,b ").tempdir().unwrap();
        let volumes = top.path().join("pool/volumes");
        std::fs::create_dir_all(&volumes).unwrap();
        std::fs::write(volumes.join(format!("{VOLUME}.raw")), vec![0; 1 << 20]).unwrap();
        let exports = exports(top.path());
        Self { top, exports }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.top.path().join(format!("pool/volumes/{VOLUME}.raw"))
    }

    pub(super) fn fact(&self) -> ServingFact {
        let facts = self.exports.facts(&[Probe::Serving(VOLUME.to_owned())]).unwrap();
        let [Fact::Serving(fact)] = facts.as_slice() else {
            panic!("{facts:?}")
        };
        fact.clone()
    }

    pub(super) fn served(&self) -> Served {
        self.fact().served.expect("it is served")
    }

    /// The processes that serve the volume.
    pub(super) fn servers(&self) -> Vec<i32> {
        servers(self.top.path())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for pid in self.servers() {
            kill(pid);
        }
    }
}

pub(super) fn exports(top: &Path) -> Exports {
    let pools = BTreeMap::from([("fast".parse().unwrap(), top.join("pool"))]);
    Exports::new(top.join("exports"), pools)
}

pub(super) fn servers(top: &Path) -> Vec<i32> {
    let mark = format!("--pidfile={}/", top.join("exports").display());
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"qemu-storage-daemon") && String::from_utf8_lossy(&line).contains(&mark)
    };
    pids.filter(is_ours).collect()
}

pub(super) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

pub(super) fn settings(generation: u64) -> Settings {
    Settings {
        pool: "fast".to_owned(),
        name: name(VOLUME.parse().unwrap(), Generation(generation)),
        generation,
        listen: "127.0.0.1".to_owned(),
        client: "n2".to_owned(),
    }
}

pub(super) fn serve(generation: u64) -> Step {
    Step::Serve {
        object: VOLUME.to_owned(),
        settings: settings(generation),
    }
}

pub(super) fn stop(generation: u64) -> Step {
    Step::Stop {
        object: VOLUME.to_owned(),
        generation,
    }
}

pub(super) fn key(generation: u64) -> ExportKey {
    ExportKey::new([u8::try_from(generation).unwrap() + 1; 32])
}

/// A client of one generation, with a key.
pub(super) fn client(port: u16, generation: u64, key: &ExportKey, commands: &[&str]) -> Output {
    let keys = tempfile::tempdir().unwrap();
    std::fs::write(keys.path().join("keys.psk"), format!("n2:{}\n", key.reveal())).unwrap();
    let keys = keys.path().display();
    let name = settings(generation).name;
    let mut io = Command::new("qemu-io");
    for command in commands {
        io.args(["-c", command]);
    }
    io.arg("--object")
        .arg(format!("tls-creds-psk,id=tls,endpoint=client,username=n2,dir={keys}"));
    io.arg("--image-opts").arg(format!(
        "driver=nbd,server.type=inet,server.host=127.0.0.1,server.port={port},export={name},tls-creds=tls"
    ));
    io.stdin(Stdio::null()).output().unwrap()
}

/// A client that knows no key and speaks no TLS.
pub(super) fn plain(port: u16, generation: u64) -> Output {
    let name = settings(generation).name;
    let mut io = Command::new("qemu-io");
    io.args(["-f", "raw", "-c", "write -P 9 0 4k"])
        .arg(format!("nbd://127.0.0.1:{port}/{name}"));
    io.stdin(Stdio::null()).output().unwrap()
}

pub(super) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}
