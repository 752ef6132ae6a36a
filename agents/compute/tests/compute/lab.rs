//! What these tests share: a folder with disks, and the machines of a node over it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use symphony_compute::{Disks, Libvirtd, Machines, Options, View};
use symphony_core::plan::machine::{
    Chipset, CpuMode, Description, DeviceModel, Disk, DiskDevice, DiskSource, Domain, DomainFact, Fact, Hypervisor,
    Probe, SeedFile, Step,
};

pub(super) const MACHINE: &str = "01936e2a-7c3b-7def-8123-456789abcdef";
pub(super) const OTHER: &str = "01936e2a-7c3b-7def-8123-456789abcd00";
/// Fails a test that hangs; nothing is measured by it.
pub(super) const HANGS: Duration = Duration::from_secs(120);

/// A libvirtd that ends with the test, however that ends.
pub(super) struct Ours(Option<Libvirtd>);

impl Ours {
    pub(super) fn start(top: &Path) -> Self {
        Self(Some(Libvirtd::start(&top.join("libvirt")).unwrap()))
    }

    pub(super) fn uri(&self) -> String {
        self.0.as_ref().unwrap().uri()
    }

    pub(super) fn daemon(&self) -> Option<u32> {
        self.0.as_ref().unwrap().daemon()
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(libvirtd) = self.0.take() {
            libvirtd.stop().unwrap();
        }
    }
}

/// One pool: a folder.
pub(super) struct Pool(PathBuf);

impl Disks for Pool {
    fn path(&self, pool: &str, volume: &str) -> io::Result<PathBuf> {
        let path = self.0.join(pool).join(volume);
        if path.is_file() {
            Ok(path)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// Puts an empty disk into the pool `fast`.
pub(super) fn empty(top: &Path, volume: &str) -> DiskDevice {
    std::fs::create_dir_all(top.join("fast")).unwrap();
    std::fs::write(top.join("fast").join(volume), vec![0; 1 << 20]).unwrap();
    device(volume, false)
}

/// Puts a disk that boots into the pool `fast`.
pub(super) fn bootable(top: &Path, volume: &str) -> DiskDevice {
    std::fs::create_dir_all(top.join("fast")).unwrap();
    let raw = top.join("fast").join("made.raw");
    symphony_lab::tiny(&raw, "of compute").unwrap();
    std::fs::rename(raw, top.join("fast").join(volume)).unwrap();
    device(volume, true)
}

pub(super) fn device(volume: &str, boot: bool) -> DiskDevice {
    let disk = Disk {
        volume: volume.to_owned(),
        source: DiskSource::Local {
            pool: "fast".to_owned(),
        },
        boot,
    };
    DiskDevice {
        disk,
        model: DeviceModel::Virtio,
    }
}

pub(super) fn machines(top: &Path, uri: &str, hypervisor: Hypervisor) -> Machines {
    let options = Options {
        folder: top.join("machines"),
        uri: uri.to_owned(),
        hypervisor,
    };
    Machines::open(options, Arc::new(Pool(top.to_owned()))).unwrap()
}

pub(super) fn description(object: &str, hypervisor: Hypervisor, disks: Vec<DiskDevice>) -> Description {
    Description {
        object: object.to_owned(),
        title: "a test".to_owned(),
        hypervisor,
        chipset: Chipset::Q35,
        cpus: 1,
        memory_bytes: 16 << 20,
        cpu_mode: CpuMode::Automatic,
        hugepages: false,
        disks,
        ports: Vec::new(),
        seed: false,
        console: true,
        screen: false,
    }
}

pub(super) async fn fact(machines: &Machines, object: &str) -> DomainFact {
    let facts = machines.facts(&[Probe::Domain(object.to_owned())]).await.unwrap();
    match facts.as_slice() {
        [Fact::Domain(fact)] => fact.clone(),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn domain(machines: &Machines, object: &str) -> Domain {
    fact(machines, object).await.found.expect("libvirt knows it")
}

/// Does a step, and once more: what is done is left as it is.
pub(super) async fn twice(machines: &Machines, step: &Step) {
    machines.run(step).await.unwrap();
    machines.run(step).await.unwrap();
}

pub(super) fn define(description: &Description) -> Step {
    Step::Define(Box::new(description.clone()))
}

pub(super) fn start(boots: u64) -> Step {
    Step::Start {
        object: MACHINE.to_owned(),
        boots,
    }
}

pub(super) fn shutdown() -> Step {
    Step::Shutdown {
        object: MACHINE.to_owned(),
        timeout_ms: 60_000,
    }
}

pub(super) fn undefine() -> Step {
    Step::Undefine {
        object: MACHINE.to_owned(),
    }
}

pub(super) fn seed() -> Step {
    let file = SeedFile {
        name: "meta-data".to_owned(),
        content: "instance-id: 1\n".to_owned(),
    };
    Step::WriteSeed {
        object: MACHINE.to_owned(),
        digest: "d1".to_owned(),
        files: vec![file],
    }
}

/// How many things are in the machines' folder.
pub(super) fn left(top: &Path) -> usize {
    std::fs::read_dir(top.join("machines")).unwrap().count()
}

/// What was said, until these words are in it.
pub(super) async fn hear(view: &mut View, words: &str) -> String {
    let listen = async {
        loop {
            let said = String::from_utf8_lossy(&view.history).into_owned();
            if said.contains(words) {
                return said;
            }
            view.history.extend_from_slice(&view.output.recv().await.unwrap());
        }
    };
    let heard = tokio::time::timeout(HANGS, listen).await;
    heard.unwrap_or_else(|_| panic!("{words:?} is not in {:?}", String::from_utf8_lossy(&view.history)))
}
