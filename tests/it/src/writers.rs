//! Clients that make volumes while a cluster suffers: each asks again with the same key until it is answered, and notes what
//! was acknowledged and how it failed before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symphony_api::v1::{CreateVolume, CreateVolumeSpec, Labels, Size, Volume};
use symphony_api::{Client, ClientError, Code};
use tokio::task::JoinHandle;

use crate::{Cluster, until};

/// Between two volumes of one writer.
const PAUSE: Duration = Duration::from_millis(150);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);
/// Tries before a volume counts as never taken.
const TRIES: usize = 2_000;

/// Codes after which the same request may be sent again.
pub const RETRYABLE: [Code; 4] = [
    Code::StoreUnavailable,
    Code::NoLeader,
    Code::NotReady,
    Code::TooManyRequests,
];

/// The clients.
pub struct Writers {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    made: Arc<Mutex<BTreeMap<String, String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Lets one client for each of these managers make volumes. `may_vanish`: whether one that does not answer at all counts
    /// as a retryable failure, because it is one of those that suffer.
    #[must_use]
    pub fn start(clients: &[&Client], image: Option<&'static str>, may_vanish: bool) -> Self {
        // No name and no key is used twice: a manager answers a key again as it did before.
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let run = RUNS.fetch_add(1, Ordering::SeqCst);
        let mut writers = Self {
            stop: Arc::default(),
            count: Arc::default(),
            made: Arc::default(),
            tasks: Vec::new(),
        };
        for (writer, client) in clients.iter().enumerate() {
            let (client, stop) = ((*client).clone(), Arc::clone(&writers.stop));
            let (count, made) = (Arc::clone(&writers.count), Arc::clone(&writers.made));
            writers.tasks.push(tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    let name = format!("w{run}-{writer}-{number}");
                    let volume = acknowledged(&client, &name, image, may_vanish).await;
                    let id = volume.meta.id.to_string();
                    let before = made.lock().unwrap_or_else(PoisonError::into_inner).insert(name, id);
                    assert_eq!(before, None, "a name is used once");
                    count.fetch_add(1, Ordering::SeqCst);
                    number += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }));
        }
        writers
    }

    /// Waits until so many more volumes were acknowledged.
    pub async fn more(&self, volumes: usize) {
        let before = self.count.load(Ordering::SeqCst);
        until(&format!("{volumes} more acknowledged volumes"), async || {
            let failed = self.tasks.iter().any(JoinHandle::is_finished);
            assert!(!failed, "a writer was refused for good");
            (self.count.load(Ordering::SeqCst) >= before + volumes).then_some(())
        })
        .await;
    }

    /// Ends them when each was answered; gives the names and ids of what was acknowledged.
    ///
    /// # Panics
    /// When one was refused with a code that is not retryable.
    pub async fn stop(self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("each failure was retryable");
        }
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn acknowledged(client: &Client, name: &str, image: Option<&str>, may_vanish: bool) -> Volume {
    let wanted = CreateVolume {
        name: name.to_owned(),
        labels: Labels::default(),
        spec: CreateVolumeSpec {
            size: Some(Size::text("4MiB")),
            image: image.map(str::to_owned),
            ..CreateVolumeSpec::default()
        },
    };
    for _ in 0..TRIES {
        match client.create_volume_once(&wanted, name).await {
            Ok(volume) => return volume,
            Err(ClientError::Problem(problem)) => {
                assert!(
                    RETRYABLE.contains(&problem.code),
                    "{name}: {} is not retryable: {}",
                    problem.code,
                    problem.detail
                );
                eprintln!("  ({name}: trying again: {})", problem.code);
            }
            Err(error @ ClientError::Transport { .. }) => {
                assert!(
                    may_vanish,
                    "{name}: a manager that nobody touched did not answer: {error:?}"
                );
                eprintln!("  ({name}: trying again: {error})");
            }
            Err(other) => panic!("{name}: {other:?}"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    panic!("{name} was never taken");
}

/// What must be so in the end: all nodes are ready; each acknowledged volume is there once, whole, with the id that was
/// acknowledged, and so says each manager; nothing else is there; claims are what is placed.
///
/// # Panics
/// When it is not so.
pub async fn check(cluster: &Cluster, acknowledged: &BTreeMap<String, String>) {
    for client in cluster.clients() {
        until("all nodes to be ready, by each manager", async || {
            let nodes = client.all_nodes(None).await.ok()?;
            let ready = |node: &symphony_api::v1::Node| node.status.phase == "Ready";
            nodes.iter().all(ready).then_some(())
        })
        .await;
    }
    let client = &cluster.clients()[0];
    let volumes = until("all volumes to be ready", async || {
        let volumes = client.all_volumes(None).await.ok()?;
        volumes.iter().all(Volume::is_ready).then_some(volumes)
    })
    .await;
    let listed: BTreeMap<String, String> = volumes
        .iter()
        .map(|volume| (volume.meta.name.clone(), volume.meta.id.to_string()))
        .collect();
    assert_eq!(volumes.len(), listed.len(), "no name is there twice");
    assert_eq!(
        &listed, acknowledged,
        "what was acknowledged is there, and nothing else"
    );
    for other in cluster.clients() {
        assert_eq!(
            other.all_volumes(None).await.expect("it serves"),
            volumes,
            "managers agree"
        );
    }
    let mut placed: BTreeMap<String, u64> = BTreeMap::new();
    for volume in &volumes {
        *placed
            .entry(volume.node().expect("it is placed").to_owned())
            .or_default() += volume.spec.size;
    }
    assert_eq!(cluster.ledgers(), Some(placed), "claims are what is placed");
    until("the files to be those of the volumes, each once", async || {
        let files = cluster.volume_files();
        let twice: Vec<&String> = files
            .iter()
            .filter(|(_, count)| **count != 1)
            .map(|(id, _)| id)
            .collect();
        assert!(twice.is_empty(), "volumes are in two places: {twice:?}");
        files
            .keys()
            .eq(listed.values().collect::<std::collections::BTreeSet<_>>())
            .then_some(())
    })
    .await;
}
