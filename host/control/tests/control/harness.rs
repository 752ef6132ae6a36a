//! A manager's loops in a temporary folder, and agents that keep volumes in memory and count what they are asked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use symphony_control::agents::Session;
use symphony_control::{Control, ControlConfig, Sole, clock};
use symphony_core::counter::Epoch;
use symphony_core::id::VolumeId;
use symphony_core::labels::Labels;
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::node::{Pool, Role};
use symphony_core::plan::volume::{Fact, ObjectState, Probe, Step};
use symphony_core::volume::{Volume, VolumeSpec, VolumeStatus};
use symphony_core::{keys, record};
use symphony_protocol::{Answer, Call, Hello, Outcome, PROTOCOL_VERSION, Seen, Task, ToAgent, ToManager, Work};
use symphony_runtime::{Compiler, Limits, Options, Runtime};
use symphony_store::{Compare, Embedded, Store, StoreExt as _, Txn};
use tokio_util::sync::CancellationToken;

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
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(
            Embedded::open(dir.path().join("store"), symphony_store::Options::default())
                .await
                .unwrap(),
        );
        let options = Options {
            cache_dir: dir.path().join("compiled"),
            compiler: Compiler::InProcess,
            limits: Limits::default(),
        };
        let config = ControlConfig {
            store: Arc::clone(&store),
            election: Arc::new(Sole),
            runtime: Runtime::open(options).unwrap(),
            plugins_dir: dir.path().join("plugins"),
            first_party: ["spread", "file"].map(component).to_vec(),
            agent_token: "secret".to_owned(),
            stop: CancellationToken::new(),
        };
        let control = Control::start(config).await.unwrap();
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
        self.store.put(key, record::encode(volume).unwrap()).await.unwrap();
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

/// An agent that keeps volumes in memory.
pub(crate) struct SimulatedAgent {
    pub(crate) calls: Arc<AtomicU64>,
    pub(crate) ended: tokio::task::JoinHandle<()>,
}

pub(crate) fn hello(node: &str, capacity_bytes: u64) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        node: name(node),
        version: "simulated".to_owned(),
        roles: vec![Role::Block],
        pools: vec![Pool {
            name: name("default"),
            capacity_bytes,
            reflink: false,
        }],
        compute: None,
        labels: Labels::default(),
        data_url: "http://127.0.0.1:1".to_owned(),
        epoch_seen: Epoch(0),
    }
}

impl SimulatedAgent {
    pub(crate) async fn connect(control: &Control, node: &str, capacity_bytes: u64) -> Self {
        let session = control.agents().connect(hello(node, capacity_bytes)).await.unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        Self {
            calls,
            ended: tokio::spawn(serve(session, counted)),
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn serve(mut session: Session, calls: Arc<AtomicU64>) {
    let disk = Mutex::new(HashMap::new());
    let inbox = session.inbox();
    while let Some(frame) = session.to_agent.recv().await {
        if let ToAgent::Call(call) = frame {
            calls.fetch_add(1, Ordering::SeqCst);
            let outcome = answer(&mut disk.lock().unwrap(), &call);
            inbox.receive(ToManager::Answer(Answer {
                call: call.id,
                result: Ok(outcome),
            }));
        }
    }
}

fn answer(disk: &mut HashMap<String, ObjectState>, call: &Call) -> Outcome {
    let Work::Volume { task, .. } = &call.work else {
        panic!("not for volumes: {:?}", call.work);
    };
    let probes = match task {
        Task::Facts { probes } => probes,
        Task::Steps { plan, then } => {
            plan.steps().iter().for_each(|step| act(disk, step));
            then
        }
    };
    let fact = |probe: &Probe| match probe {
        Probe::Object(object) => Fact::Object {
            object: object.clone(),
            state: disk.get(object).cloned().unwrap_or(ObjectState::Absent),
        },
        Probe::Pool => Fact::Pool {
            reflink: false,
            free_bytes: u64::MAX,
        },
        Probe::Image(_) => panic!("these volumes have no image"),
    };
    Outcome::Volume(Seen {
        facts: probes.as_slice().iter().map(fact).collect(),
        done: Vec::new(),
    })
}

fn act(disk: &mut HashMap<String, ObjectState>, step: &Step) {
    match step {
        Step::Allocate { object, size_bytes } => {
            disk.insert(
                object.clone(),
                ObjectState::Partial {
                    size_bytes: *size_bytes,
                    written: None,
                },
            );
        }
        Step::Resize { object, size_bytes } => match disk.get_mut(object) {
            Some(ObjectState::Present { size_bytes: now } | ObjectState::Partial { size_bytes: now, .. }) => {
                *now = *size_bytes
            }
            other => panic!("nothing to resize: {other:?}"),
        },
        Step::Publish { object } => {
            if let Some(ObjectState::Partial { size_bytes, .. }) = disk.get(object).cloned() {
                disk.insert(object.clone(), ObjectState::Present { size_bytes });
            }
        }
        Step::Remove { object } => drop(disk.remove(object)),
        other => panic!("not expected here: {other:?}"),
    }
}
