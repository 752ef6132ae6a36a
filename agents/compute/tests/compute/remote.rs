//! Machines with volumes of another node, over loopback: the other node is its exports, the machine's its libvirtd.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use symphony_compute::{Error, Machines};
use symphony_core::counter::Generation;
use symphony_core::export::{Endpoint, ExportKey, name};
use symphony_core::plan::export::{self as plan, Settings};
use symphony_core::plan::machine::{DeviceModel, Disk, DiskDevice, DiskSource, Hypervisor, RunState, Step};
use symphony_protocol::ExportAccess;
use symphony_storage::Exports;

use super::lab::{
    MACHINE, OTHER, Ours, bootable, define, description, device, domain, fact, hear, left, machines, shutdown, start,
    twice, undefine,
};

const VOLUME: &str = "01936e2a-7c3b-7def-8123-00000000beef";
/// Where the tiny guest counts its boots.
const COUNT: usize = 1024;

/// The node of the volume. Its servers, and the tunnels to them, end with it.
struct Far {
    top: PathBuf,
    exports: Exports,
}

impl Far {
    /// The volume's file is one that is in the pool `fast` already.
    fn new(top: &Path, from: &str) -> Self {
        let volumes = top.join("far/volumes");
        std::fs::create_dir_all(&volumes).unwrap();
        std::fs::rename(top.join("fast").join(from), volumes.join(format!("{VOLUME}.raw"))).unwrap();
        let pools = BTreeMap::from([("slow".parse().unwrap(), top.join("far"))]);
        Self {
            top: top.to_owned(),
            exports: Exports::new(top.join("exports"), pools),
        }
    }

    fn file(&self) -> PathBuf {
        self.top.join(format!("far/volumes/{VOLUME}.raw"))
    }

    fn count(&self) -> u8 {
        std::fs::read(self.file()).unwrap()[COUNT]
    }

    /// Serves a generation to a client, and says how it is reached.
    async fn serve(&self, generation: u64) -> ExportAccess {
        let volume = VOLUME.parse().unwrap();
        let export = name(volume, Generation(generation));
        let key = ExportKey::new([u8::try_from(generation).unwrap(); 32]);
        let settings = Settings {
            pool: "slow".to_owned(),
            name: export.clone(),
            generation,
            listen: "127.0.0.1".to_owned(),
            client: "near".to_owned(),
        };
        let step = plan::Step::Serve {
            object: VOLUME.to_owned(),
            settings,
        };
        self.exports.run(&step, &key).await.unwrap();
        let served = self.served().expect("it is served");
        ExportAccess {
            volume,
            export,
            endpoint: Endpoint {
                address: "127.0.0.1".to_owned(),
                port: served.port,
            },
            client: "near".parse().unwrap(),
            key,
        }
    }

    fn served(&self) -> Option<plan::Served> {
        let facts = self.exports.facts(&[plan::Probe::Serving(VOLUME.to_owned())]).unwrap();
        let [plan::Fact::Serving(fact)] = facts.as_slice() else {
            panic!("{facts:?}")
        };
        fact.served.clone()
    }

    /// The storage daemons of this test with this on their command line.
    fn daemons(&self, of: &str) -> Vec<Pid> {
        let mark = format!("--pidfile={}/{of}", self.top.display());
        let pids = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let is_ours = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"qemu-storage-daemon") && String::from_utf8_lossy(&line).contains(&mark)
        };
        pids.filter(is_ours).filter_map(Pid::from_raw).collect()
    }

    fn kill(&self, of: &str) {
        let all = self.daemons(of);
        assert!(!all.is_empty(), "nothing of {of} runs");
        for pid in all {
            kill_process(pid, Signal::KILL).unwrap();
        }
        while !self.daemons(of).is_empty() {
            std::thread::yield_now();
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        for pid in self.daemons("") {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn remote(generation: u64, boot: bool) -> DiskDevice {
    let source = DiskSource::Remote {
        export: name(VOLUME.parse().unwrap(), Generation(generation)),
        node: "far".to_owned(),
    };
    let disk = Disk {
        volume: VOLUME.to_owned(),
        source,
        boot,
    };
    DiskDevice {
        disk,
        model: DeviceModel::Virtio,
    }
}

fn can() -> bool {
    symphony_lab::Abilities::here().machines()
}

async fn destroy(machines: &Machines, object: &str) {
    let object = object.to_owned();
    machines.run(&Step::Destroy { object }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_boots_from_another_nodes_volume_and_waits_for_what_is_lost() {
    if !can() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    bootable(top.path(), "root");
    let far = Far::new(top.path(), "root");
    let ours = Ours::start(top.path());
    let machines = machines(top.path(), &ours.uri(), Hypervisor::Qemu);
    let wanted = description(MACHINE, Hypervisor::Qemu, vec![remote(1, true)]);
    twice(&machines, &define(&wanted)).await;
    // Before anybody says where it is.
    let unserved = machines.run(&start(1)).await;
    assert!(matches!(unserved, Err(Error::Unserved(_))), "{unserved:?}");
    let access = far.serve(1).await;
    machines.reach(MACHINE, std::slice::from_ref(&access));
    let mut view = machines.console(MACHINE).unwrap().view().unwrap();
    twice(&machines, &start(1)).await;
    hear(&mut view, "TINY of compute boots=1").await;
    let seen = domain(&machines, MACHINE).await;
    assert_eq!(
        (seen.live_volumes, seen.description),
        (vec![VOLUME.to_owned()], wanted.clone())
    );
    assert_eq!(far.count(), 1);
    assert!(far.served().unwrap().connected);
    let xml = std::fs::read_to_string(top.path().join(format!("libvirt/etc/qemu/{MACHINE}.xml"))).unwrap();
    assert!(
        xml.contains("protocol='nbd'") && !xml.contains(access.key.reveal()),
        "{xml}"
    );
    assert!(
        std::fs::read_dir(top.path().join("machines").join(MACHINE))
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().ends_with(".keys") })
    );

    // While it is served, no machine of its own node can have it.
    let path = top.path().join("fast/other");
    std::fs::hard_link(far.file(), &path).unwrap();
    let local = description(OTHER, Hypervisor::Qemu, vec![device("other", true)]);
    machines.run(&define(&local)).await.unwrap();
    let other = Step::Start {
        object: OTHER.to_owned(),
        boots: 1,
    };
    let refused = machines.run(&other).await;
    assert!(matches!(refused, Err(Error::Hypervisor(_))), "{refused:?}");

    // The server is killed, then the tunnel: the guest writes when both are back.
    for of in ["exports", "machines"] {
        far.kill(of);
        assert_eq!(domain(&machines, MACHINE).await.state, RunState::Running);
        machines.reach(MACHINE, &[far.serve(1).await]);
        assert_eq!(domain(&machines, MACHINE).await.live_volumes, [VOLUME]);
        assert_eq!(far.daemons("machines").len(), 1);
    }
    destroy(&machines, MACHINE).await;
    machines.run(&start(2)).await.unwrap();
    hear(&mut view, "TINY of compute boots=2").await;
    assert_eq!(far.count(), 2);

    // It moves on while the machine runs: with what this node knows nothing can be written any more.
    far.serve(2).await;
    destroy(&machines, MACHINE).await;
    let over = machines.run(&start(3)).await;
    assert!(matches!(over, Err(Error::Remote(_))), "{over:?}");
    assert_eq!(far.count(), 2);
    // What is off has no tunnels.
    assert!(matches!(domain(&machines, MACHINE).await.state, RunState::Off(_)));
    assert!(far.daemons("machines").is_empty());

    // And comes back, in another generation.
    machines.reach(MACHINE, &[far.serve(3).await]);
    machines
        .run(&define(&description(MACHINE, Hypervisor::Qemu, vec![remote(3, true)])))
        .await
        .unwrap();
    machines.run(&start(3)).await.unwrap();
    hear(&mut view, "TINY of compute boots=3").await;
    assert_eq!(far.count(), 3);
    for object in [MACHINE, OTHER] {
        destroy(&machines, object).await;
        let object = object.to_owned();
        twice(&machines, &Step::Undefine { object }).await;
    }
    assert_eq!(left(top.path()), 0);
    assert!(far.daemons("machines").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_nodes_volume_comes_and_goes_while_a_machine_runs() {
    if !can() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    super::lab::empty(top.path(), "more");
    let far = Far::new(top.path(), "more");
    std::fs::copy(symphony_lab::linux().unwrap(), top.path().join("fast/root")).unwrap();
    let ours = Ours::start(top.path());
    let machines = machines(top.path(), &ours.uri(), Hypervisor::Qemu);
    let mut wanted = description(MACHINE, Hypervisor::Qemu, vec![device("root", true)]);
    wanted.memory_bytes = 192 << 20;
    machines.run(&define(&wanted)).await.unwrap();
    let console = machines.console(MACHINE).unwrap();
    let mut view = console.view().unwrap();
    machines.run(&start(1)).await.unwrap();
    hear(&mut view, "symphony-linux up boots=1").await;

    machines.reach(MACHINE, &[far.serve(1).await]);
    let attach = Step::AttachDisk {
        object: MACHINE.to_owned(),
        device: remote(1, false),
    };
    twice(&machines, &attach).await;
    assert_eq!(domain(&machines, MACHINE).await.live_volumes, ["root", VOLUME]);
    let write = "\nuntil [ -b /dev/vdb ]; do sleep 0.1; done; echo from-the-guest > /dev/vdb && sync && echo wro''te\n";
    console.input(write.as_bytes().to_vec()).unwrap();
    hear(&mut view, "wrote").await;
    assert!(std::fs::read(far.file()).unwrap().starts_with(b"from-the-guest\n"));
    // Not yet in its definition, and its tunnel is none of those that nobody needs.
    domain(&machines, MACHINE).await;
    assert_eq!(far.daemons("machines").len(), 1);

    let detach = Step::DetachDisk {
        object: MACHINE.to_owned(),
        volume: VOLUME.to_owned(),
    };
    twice(&machines, &detach).await;
    assert_eq!(domain(&machines, MACHINE).await.live_volumes, ["root"]);
    assert!(far.daemons("machines").is_empty());
    machines.run(&shutdown()).await.unwrap();
    machines.run(&undefine()).await.unwrap();
    assert!(fact(&machines, MACHINE).await.found.is_none());
}
