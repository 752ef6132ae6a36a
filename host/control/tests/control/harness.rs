//! A manager's loops in a temporary folder, and agents of simulated nodes that count what they are asked.

mod node;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use symphony_control::agents::{Inbox, Session};
use symphony_control::{Control, ControlConfig, clock};
use symphony_core::counter::Epoch;
use symphony_core::id::VolumeId;
use symphony_core::labels::Labels;
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::node::{Compute, Pool, Role};
use symphony_core::plan::machine::Hypervisor;
use symphony_core::volume::{Volume, VolumeSpec, VolumeStatus};
use symphony_core::{keys, record};
use symphony_protocol::{Answer, Hello, PROTOCOL_VERSION, ToAgent, ToManager};
use symphony_runtime::{Compiler, Limits, Options, Runtime};
use symphony_store::{Compare, Embedded, Store, StoreExt as _, Txn};
use tokio_util::sync::CancellationToken;

pub(crate) use node::{Node, Supply};

/// A manager's loops.
pub(crate) struct Loops {
    pub(crate) control: Control,
    pub(crate) store: Arc<dyn Store>,
    _dir: tempfile::TempDir,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A component of `cargo xtask plugins --guests`.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/plugins/{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins --guests`", path.display()))
}

impl Loops {
    pub(crate) async fn start() -> Self {
        Self::start_on(async |_| {}).await
    }

    /// In a store that a backup was restored into.
    pub(crate) async fn start_restored() -> Self {
        let epoch = symphony_control::restored_epoch(None).unwrap();
        Self::start_on(async |store| {
            store.put(keys::EPOCH, epoch).await.unwrap();
        })
        .await
    }

    async fn start_on(prepare: impl AsyncFnOnce(&dyn Store)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(
            Embedded::open(dir.path().join("store"), symphony_store::Options::default())
                .await
                .unwrap(),
        );
        prepare(&*store).await;
        let options = Options {
            cache_dir: dir.path().join("compiled"),
            compiler: Compiler::InProcess,
            limits: Limits::default(),
        };
        let config = ControlConfig {
            store: Arc::clone(&store),
            runtime: Runtime::open(options).unwrap(),
            plugins_dir: dir.path().join("plugins"),
            first_party: ["spread", "file", "libvirt", "bridge", "nbd", "power"]
                .map(component)
                .to_vec(),
            stop: CancellationToken::new(),
        };
        let control = Control::alone(config).await.unwrap();
        Self {
            control,
            store,
            _dir: dir,
        }
    }

    /// Asks for a volume, as the server does.
    pub(crate) async fn ask_for(&self, volume: &str, bytes: u64) {
        let meta = Meta::new(
            VolumeId::new(clock::new_uuid()),
            name("default"),
            name(volume),
            Labels::default(),
            clock::now(),
        );
        let spec = VolumeSpec {
            size: bytes.try_into().unwrap(),
            pool: None,
            require: Labels::default(),
            source: None,
        };
        let volume = Volume {
            meta,
            spec,
            placement: None,
            machine: None,
            status: VolumeStatus::pending(),
        };
        self.put(&volume).await;
    }

    /// Changes a volume's size without looking at who has room, as two requests at once can.
    pub(crate) async fn resize(&self, volume: &str, bytes: u64) {
        loop {
            let (mut value, revision) = self.volume(volume).await;
            value.spec.size = bytes.try_into().unwrap();
            value.meta.generation = value.meta.generation.next();
            let key = keys::volume(&value.meta.project, &value.meta.name);
            let txn = Txn::new()
                .when(Compare::mod_revision(key.clone(), revision))
                .put(key, record::encode(&value).unwrap());
            if self.store.txn(txn).await.unwrap().succeeded {
                return;
            }
        }
    }

    pub(crate) async fn put(&self, volume: &Volume) {
        let key = keys::volume(&volume.meta.project, &volume.meta.name);
        self.write(key, volume).await;
    }

    pub(crate) async fn write<T: serde::Serialize>(&self, key: String, value: &T) {
        self.store.put(key, record::encode(value).unwrap()).await.unwrap();
    }

    /// A record, if it is there.
    pub(crate) async fn read<T: serde::de::DeserializeOwned>(&self, key: String) -> Option<T> {
        let kv = self.store.get(&key.into(), None).await.unwrap()?;
        Some(record::decode(&kv.value).unwrap())
    }

    /// Changes a record as it is now, as a request does.
    pub(crate) async fn change<T>(&self, key: String, change: impl Fn(&mut T))
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        loop {
            let kv = self.store.get(&key.clone().into(), None).await.unwrap().unwrap();
            let mut value: T = record::decode(&kv.value).unwrap();
            change(&mut value);
            let txn = Txn::new()
                .when(Compare::mod_revision(key.clone(), kv.mod_revision))
                .put(key.clone(), record::encode(&value).unwrap());
            if self.store.txn(txn).await.unwrap().succeeded {
                return;
            }
        }
    }

    pub(crate) async fn volume(&self, volume: &str) -> (Volume, symphony_store::Revision) {
        let kv = self
            .store
            .get(&keys::volume(&name("default"), &name(volume)).into(), None)
            .await
            .unwrap()
            .unwrap();
        (record::decode(&kv.value).unwrap(), kv.mod_revision)
    }

    /// Waits until a volume is as it should be.
    pub(crate) async fn until(&self, volume: &str, what: &str, holds: impl Fn(&Volume) -> bool) -> Volume {
        for _ in 0..3_000 {
            let (value, _) = self.volume(volume).await;
            if holds(&value) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{volume} never came to be {what}: {:?}", self.volume(volume).await.0);
    }
}

/// An agent whose node is simulated.
pub(crate) struct SimulatedAgent {
    pub(crate) calls: Arc<AtomicU64>,
    pub(crate) node: Arc<Mutex<Node>>,
    pub(crate) inbox: Inbox,
    pub(crate) ended: tokio::task::JoinHandle<()>,
}

pub(crate) fn hello(node: &str, capacity_bytes: u64) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        node: name(node),
        version: "simulated".to_owned(),
        roles: vec![Role::Block, Role::Compute, Role::Network],
        pools: vec![Pool {
            name: name("default"),
            capacity_bytes,
            reflink: false,
        }],
        compute: Some(Compute {
            hypervisor: Hypervisor::Qemu,
            cpus: 2,
            cpu_overcommit_percent: 200,
            memory_bytes: 1 << 30,
        }),
        labels: Labels::default(),
        data_url: "http://127.0.0.1:1".to_owned(),
        underlay: Some(format!("10.9.0.{}", node.as_bytes()[0])),
        fence_programs: Vec::new(),
        epoch_seen: Epoch(0),
        revision_seen: 0,
        admission: None,
    }
}

impl SimulatedAgent {
    pub(crate) async fn connect(control: &Control, node: &str, capacity_bytes: u64) -> Self {
        Self::connect_to(control, node, capacity_bytes, Arc::default()).await
    }

    /// As the agent of a node that was there before.
    pub(crate) async fn connect_to(control: &Control, name: &str, capacity_bytes: u64, node: Arc<Mutex<Node>>) -> Self {
        Self::connect_as(control, hello(name, capacity_bytes), node).await
    }

    /// As an agent that says this of itself.
    pub(crate) async fn connect_as(control: &Control, hello: Hello, node: Arc<Mutex<Node>>) -> Self {
        let admission = node.lock().unwrap().admission;
        let hello = Hello { admission, ..hello };
        let session = control.agents().connect(hello).await.unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let inbox = session.inbox();
        Self {
            calls,
            node: Arc::clone(&node),
            inbox,
            ended: tokio::spawn(serve(session, counted, node)),
        }
    }

    /// Its connection breaks; its node goes on.
    pub(crate) async fn cut(self) -> Arc<Mutex<Node>> {
        self.ended.abort();
        let _ = self.ended.await;
        self.node
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap()
    }
}

async fn serve(mut session: Session, calls: Arc<AtomicU64>, node: Arc<Mutex<Node>>) {
    let inbox = session.inbox();
    while let Some(frame) = session.to_agent.recv().await {
        match frame {
            ToAgent::Call(call) => {
                calls.fetch_add(1, Ordering::SeqCst);
                let outcome = node.lock().unwrap().called(&call);
                inbox.receive(ToManager::Answer(Answer {
                    call: call.id,
                    result: Ok(outcome),
                }));
            }
            ToAgent::Readmit(readmit) => {
                let done = node.lock().unwrap().readmit(&readmit);
                if let Some(done) = done {
                    inbox.receive(ToManager::Readmitted(done));
                }
            }
            _ => {}
        }
    }
}
