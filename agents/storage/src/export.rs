//! Volumes that are served to machines on other nodes: the facts and steps of `wit/export-driver.wit`, by one
//! qemu-storage-daemon for each volume ([`server`]).
//!
//! What counts is the floor ([`state`]): before anything newer is served, and when something is ended, it is durable that
//! nothing older is served any more. Then what is served of the older is ended, and only then comes the newer.
//!
//! ```text
//!   serve g:  floor = g, durable ─► end all servers of the volume ─► port, key ─► start one
//!   stop g:   floor = g + 1, durable ─► end all servers up to g ─► forget the key
//! ```
//!
//! Servers outlive the agent; the next one finds them by their command line.

mod server;
mod state;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};

use symphony_agent::config::Config;
use symphony_agent::step::blocking;
use symphony_agent::{StepError, daemon};
use symphony_core::counter::Generation;
use symphony_core::export::{self, ExportKey};
use symphony_core::id::VolumeId;
use symphony_core::name::Name;
use symphony_core::plan::export::{Fact, Probe, Served, ServingFact, Settings, Step};

use crate::pool::volume_file;
use state::{Serving, State};

/// Where exports have their files, in the agent's folder: one folder for each volume.
const FOLDER: &str = "exports";
/// Most volumes that are looked at when all are ended.
const EXPORTS_MAX: usize = 1 << 16;

/// The exports of a node.
#[derive(Debug)]
pub struct Exports {
    folder: PathBuf,
    pools: BTreeMap<Name, PathBuf>,
}

/// Whether a volume is served to another node now. No machine of its own node may have it then.
///
/// # Errors
/// When the processes can't be looked at.
pub fn is_served(config: &Config, volume: VolumeId) -> io::Result<bool> {
    let folder = config.folder.join(FOLDER).join(volume.to_string());
    Ok(!daemon::find(server::PROGRAM, &server::mark(&folder))?.is_empty())
}

/// Ends all that an agent serves, while that agent does not run. It is served again when that is asked for again. Gives how
/// many there were.
///
/// # Errors
/// When one does not end.
pub async fn down(config: &Config) -> Result<usize, StepError> {
    let exports = match std::fs::read_dir(config.folder.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(StepError::io("list the exports"))?,
    };
    let mut ended = 0;
    for entry in exports.take(EXPORTS_MAX) {
        let folder = entry.map_err(StepError::io("list the exports"))?.path();
        let mark = server::mark(&folder);
        let found = daemon::find(server::PROGRAM, &mark).map_err(StepError::io("look at the servers"))?;
        if !found.is_empty() {
            daemon::end(server::PROGRAM, &mark).await?;
            ended += 1;
        }
    }
    Ok(ended)
}

impl Exports {
    pub(crate) fn of(config: &Config) -> Self {
        let pools = config.agent.pools.iter();
        let pools = pools.map(|pool| (pool.name.clone(), config.path(&pool.path)));
        Self::new(config.folder.join(FOLDER), pools.collect())
    }

    /// Those that have their files in a folder, of volumes in these pools (with their paths).
    #[must_use]
    pub const fn new(folder: PathBuf, pools: BTreeMap<Name, PathBuf>) -> Self {
        Self { folder, pools }
    }

    /// Does a step; `key` opens what it serves.
    ///
    /// # Errors
    /// Why it was not done; the facts say what is.
    pub async fn run(&self, step: &Step, key: &ExportKey) -> Result<(), StepError> {
        let volume = crate::executor::volume(step.object())?;
        match step {
            Step::Serve { settings, .. } => self.serve(volume, settings, key).await,
            Step::Stop { generation, .. } => self.stop(volume, *generation).await,
        }
    }

    /// Answers probes, in their order.
    ///
    /// # Errors
    /// When something can't be looked at: then nothing is known.
    pub fn facts(&self, probes: &[Probe]) -> Result<Vec<Fact>, StepError> {
        let fact = |Probe::Serving(object): &Probe| self.fact(crate::executor::volume(object)?);
        probes.iter().map(fact).collect()
    }

    /// Refuses what would change the file under the hands of another node's machine.
    pub(crate) fn refuse_if_served(&self, volume: VolumeId) -> Result<(), StepError> {
        if self.servers(volume)?.is_empty() {
            Ok(())
        } else {
            Err(StepError::Other(format!("volume {volume} is served to another node")))
        }
    }

    async fn serve(&self, volume: VolumeId, settings: &Settings, key: &ExportKey) -> Result<(), StepError> {
        let (listen, file) = self.check(volume, settings)?;
        let folder = self.folder_of(volume);
        let state = State::load(&folder)?;
        if settings.generation < state.floor {
            let (own, floor) = (settings.generation, state.floor);
            return Err(StepError::Other(format!(
                "generation {own} of volume {volume} is over; nothing below {floor} is served any more"
            )));
        }
        if self
            .served(volume, &state)?
            .is_some_and(|served| served.settings == *settings)
        {
            return Ok(());
        }
        let mut next = State {
            floor: settings.generation,
            serving: None,
            ..state
        };
        keep(&folder, &next).await?;
        symphony_crash::point("export.serve.after_floor");
        daemon::end(server::PROGRAM, &server::mark(&folder)).await?;
        symphony_crash::point("export.serve.after_end");
        let listener = bind(listen, state.port)?;
        let port = listener.local_addr().map_err(StepError::io("take a port"))?.port();
        next.port = port;
        next.serving = Some(Serving {
            settings: settings.clone(),
            direct: server::is_direct(&file)?,
        });
        keep(&folder, &next).await?;
        symphony_crash::point("export.serve.after_port");
        server::write_key(&folder, &settings.client, key)?;
        symphony_crash::point("export.serve.after_key");
        let words = next.words(&folder, &file).unwrap_or_default();
        daemon::start(&words, Some(listener.into()), server::UP).await?;
        symphony_crash::point("export.serve.after_start");
        tracing::info!(%volume, generation = settings.generation, client = settings.client, port, "served");
        Ok(())
    }

    async fn stop(&self, volume: VolumeId, generation: u64) -> Result<(), StepError> {
        let folder = self.folder_of(volume);
        let mut state = State::load(&folder)?;
        let is_newer = |serving: &Serving| serving.settings.generation > generation;
        if state.serving.as_ref().is_some_and(is_newer) {
            // It ended what was before it.
            return Ok(());
        }
        state.floor = state.floor.max(generation.saturating_add(1));
        state.serving = None;
        keep(&folder, &state).await?;
        symphony_crash::point("export.stop.after_floor");
        daemon::end(server::PROGRAM, &server::mark(&folder)).await?;
        symphony_crash::point("export.stop.after_end");
        server::forget_key(&folder)
    }

    /// What the agent itself sees to, whoever asks: the name is that of this volume and generation, the address is one, the
    /// volume is whole and in the pool.
    fn check(&self, volume: VolumeId, settings: &Settings) -> Result<(IpAddr, PathBuf), StepError> {
        let wrong = |what: &str| StepError::Other(format!("an export with a wrong {what}"));
        if settings.generation == 0 || settings.name != export::name(volume, Generation(settings.generation)) {
            return Err(wrong("name"));
        }
        let listen: IpAddr = settings.listen.parse().map_err(|_| wrong("address"))?;
        settings.client.parse::<Name>().map_err(|_| wrong("client"))?;
        let file = self.file(volume, &settings.pool)?;
        let whole = file.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if whole {
            Ok((listen, file))
        } else {
            Err(StepError::Missing(format!("there is no volume {volume} to serve")))
        }
    }

    fn file(&self, volume: VolumeId, pool: &str) -> Result<PathBuf, StepError> {
        let path = self.pools.iter().find(|(name, _)| name.as_str() == pool);
        let (_, path) = path.ok_or_else(|| StepError::Missing(format!("this node has no pool {pool}")))?;
        Ok(volume_file(path, volume))
    }

    fn fact(&self, volume: VolumeId) -> Result<Fact, StepError> {
        let state = State::load(&self.folder_of(volume))?;
        Ok(Fact::Serving(ServingFact {
            object: volume.to_string(),
            floor: state.floor,
            served: self.served(volume, &state)?,
        }))
    }

    /// What is served, when exactly that runs which was started last.
    fn served(&self, volume: VolumeId, state: &State) -> Result<Option<Served>, StepError> {
        let Some(serving) = &state.serving else { return Ok(None) };
        let folder = self.folder_of(volume);
        let file = self.file(volume, &serving.settings.pool)?;
        let words = state.words(&folder, &file);
        let running = self.servers(volume)?;
        let is_it = !running.is_empty() && running.iter().all(|running| Some(&running.words) == words.as_ref());
        if !is_it {
            return Ok(None);
        }
        Ok(Some(Served {
            settings: serving.settings.clone(),
            port: state.port,
            connected: server::is_connected(state.port).map_err(StepError::io("look at the connections"))?,
        }))
    }

    fn servers(&self, volume: VolumeId) -> Result<Vec<daemon::Running>, StepError> {
        let mark = server::mark(&self.folder_of(volume));
        daemon::find(server::PROGRAM, &mark).map_err(StepError::io("look at the servers"))
    }

    fn folder_of(&self, volume: VolumeId) -> PathBuf {
        self.folder.join(volume.to_string())
    }
}

async fn keep(folder: &Path, state: &State) -> Result<(), StepError> {
    let (folder, state) = (folder.to_owned(), state.clone());
    blocking(move || state.save(&folder)).await
}

/// The port that it had before, when that is free: clients that are there already come back to it.
fn bind(listen: IpAddr, before: u16) -> Result<TcpListener, StepError> {
    let bound = match TcpListener::bind((listen, before)) {
        Err(_) if before != 0 => TcpListener::bind((listen, 0)),
        other => other,
    };
    bound.map_err(StepError::io(format!("listen on {listen}")))
}
