//! What the end-to-end figures share: what they ask for, many askers at once, and one watch that sees it happen.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use symphony_api::client::WatchQuery;
use symphony_api::v1::{Action, CreateVolume, CreateVolumeSpec, Kind, Object, Size, Volume};
use symphony_api::{Client, ClientError};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// How many ask at once.
pub(crate) const ASKERS: usize = 32;
/// After this long a measurement gives up: something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A volume that is asked for.
pub(crate) fn volume(name: &str, size: &str, image: Option<&str>) -> CreateVolume {
    CreateVolume {
        name: name.to_owned(),
        labels: symphony_api::v1::Labels::default(),
        spec: CreateVolumeSpec {
            size: Some(Size::text(size)),
            image: image.map(str::to_owned),
            ..CreateVolumeSpec::default()
        },
    }
}

/// What one of many found.
type Found<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Does something for each of `0..count`, by [`ASKERS`] at once, each going on with what is next; what they found.
pub(crate) async fn by_many<T, F>(count: usize, ask: impl Fn(usize) -> F) -> Result<Vec<T>, Box<dyn Error>>
where
    T: Send + 'static,
    F: Future<Output = Found<T>> + Send + 'static,
{
    let mut running = JoinSet::<Found<T>>::new();
    let mut found = Vec::with_capacity(count);
    for number in 0..count {
        if running.len() == ASKERS
            && let Some(done) = running.join_next().await
        {
            found.push(done?.map_err(|error| error.to_string())?);
        }
        running.spawn(ask(number));
    }
    while let Some(done) = running.join_next().await {
        found.push(done?.map_err(|error| error.to_string())?);
    }
    Ok(found)
}

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Instant>>>>;

/// One watch of all volumes, that tells whoever waits when a volume came to be as it should.
pub(crate) struct Lookout {
    waiting: Waiting,
    task: JoinHandle<()>,
}

impl Lookout {
    /// Starts it; `seen` says whether a volume is as it should be.
    pub(crate) async fn start(client: &Client, seen: fn(&Volume) -> bool) -> Result<Self, ClientError> {
        let query = WatchQuery {
            kinds: vec![Kind::Volume],
            from: None,
        };
        let mut watch = client.watch(&query).await?;
        let waiting = Waiting::default();
        let told = Arc::clone(&waiting);
        let task = tokio::spawn(async move {
            loop {
                let event = match watch.next().await {
                    Ok(event) => event,
                    Err(error) => {
                        eprintln!("the watch ended: {error}");
                        // Whoever waits now waits in vain: that is an error, not a hang.
                        return told.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    }
                };
                if let (Action::Put, Some(Object::Volume(volume))) = (event.action, event.object)
                    && seen(&volume)
                    && let Some(waiter) = told
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&volume.meta.name)
                {
                    let _ = waiter.send(Instant::now());
                }
            }
        });
        Ok(Self { waiting, task })
    }

    /// When this volume came to be as it should; to be asked before the volume is.
    pub(crate) fn expect(&self, name: &str) -> Expected {
        let (told, when) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), told);
        Expected {
            name: name.to_owned(),
            when,
        }
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A volume that is waited for.
pub(crate) struct Expected {
    name: String,
    when: oneshot::Receiver<Instant>,
}

impl Expected {
    /// Waits.
    pub(crate) async fn seen(self) -> Found<Instant> {
        match tokio::time::timeout(PATIENCE, self.when).await {
            Ok(Ok(when)) => Ok(when),
            Ok(Err(_)) => Err(format!("{} was not seen: the watch ended", self.name).into()),
            Err(_) => Err(format!("{} was waited for in vain", self.name).into()),
        }
    }
}
