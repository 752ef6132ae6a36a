//! The block service: takes calls on volumes apart into steps and probes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use symphony_agent::config::Config;
use symphony_agent::step::blocking;
use symphony_agent::{Executor, Jail, Place, ProgressSink, StepError, Worker, task};
use symphony_core::digest::Digest;
use symphony_core::export::ExportKey;
use symphony_core::id::VolumeId;
use symphony_core::name::Name;
use symphony_core::node;
use symphony_core::plan::export;
use symphony_core::plan::volume::{Fact, Probe, Step, Volumes};
use symphony_pki::Tls;
use symphony_protocol::{Call, Failure, FailureKind, ImageLocation, Outcome, Work};

use crate::command::Programs;
use crate::convert::{self, Source};
use crate::export::Exports;
use crate::fetch::Fetcher;
use crate::pool::{Pool, PoolError};

/// Runs calls on volumes.
#[derive(Debug)]
pub struct StorageExecutor {
    pools: BTreeMap<Name, Arc<Pool>>,
    fetcher: Fetcher,
    jail: Jail,
    programs: Programs,
    exports: Exports,
}

/// A call's work: on one pool, with images from these places.
struct OnPool<'a> {
    executor: &'a StorageExecutor,
    pool: &'a Arc<Pool>,
    images: &'a [ImageLocation],
}

impl StorageExecutor {
    /// Opens all pools of the configuration. Images are fetched from other nodes with this node's TLS.
    ///
    /// # Errors
    /// The first that can't be opened.
    pub fn open(config: &Config, jail: Jail, tls: &Tls) -> Result<Self, PoolError> {
        let mut pools = BTreeMap::new();
        for pool in &config.agent.pools {
            let path = config.path(&pool.path);
            pools.insert(pool.name.clone(), Arc::new(Pool::open(pool, &path)?));
        }
        let fetcher = Fetcher::new(tls).map_err(PoolError::Client)?;
        Ok(Self {
            pools,
            fetcher,
            jail,
            programs: Programs::new(config.agent.programs.clone()),
            exports: Exports::of(config),
        })
    }

    fn pool(&self, name: &Name) -> Result<&Arc<Pool>, Failure> {
        let missing = || Failure::new(FailureKind::Missing, format!("this node has no pool {name}"));
        self.pools.get(name).ok_or_else(missing)
    }
}

#[async_trait]
impl Worker<Volumes> for OnPool<'_> {
    async fn step(&self, step: &Step, place: &Place<'_>) -> Result<(), StepError> {
        let Self { executor, pool, images } = *self;
        let on_disk = |work: fn(&Pool, VolumeId, u64) -> Result<(), StepError>, object: &str, bytes: u64| {
            let (pool, object) = (Arc::clone(pool), volume(object));
            blocking(move || work(&pool, object?, bytes))
        };
        match step {
            Step::Allocate { object, size_bytes } => on_disk(Pool::allocate, object, *size_bytes).await,
            Step::Resize { object, size_bytes } => {
                executor.exports.refuse_if_served(volume(object)?)?;
                on_disk(Pool::resize, object, *size_bytes).await
            }
            Step::Publish { object } => on_disk(|pool, object, _| pool.publish(object), object, 0).await,
            Step::Remove { object } => {
                executor.exports.refuse_if_served(volume(object)?)?;
                on_disk(|pool, object, _| pool.remove(object), object, 0).await
            }
            Step::FetchImage { digest } => {
                let report = |done, total| place.report(done, total);
                executor.fetcher.fetch(pool, image(digest)?, images, report).await
            }
            Step::UnpackImage {
                digest,
                format,
                virtual_bytes,
            } => {
                let source = Source {
                    digest: image(digest)?,
                    format: *format,
                    virtual_bytes: *virtual_bytes,
                };
                let report = |done| place.report(done, *virtual_bytes);
                convert::unpack_image(pool, &executor.jail, source, report).await
            }
            Step::WriteImage {
                object,
                digest,
                format,
                virtual_bytes,
            } => {
                let source = Source {
                    digest: image(digest)?,
                    format: *format,
                    virtual_bytes: *virtual_bytes,
                };
                let report = |done| place.report(done, *virtual_bytes);
                convert::write_image(pool, &executor.jail, volume(object)?, source, report).await
            }
            Step::CloneImage { object, digest } => {
                let (pool, object, digest) = (Arc::clone(pool), volume(object)?, image(digest)?);
                blocking(move || convert::clone_image(&pool, object, digest)).await
            }
            Step::Command(command) => executor.programs.run(command).await,
        }
    }

    async fn facts(&self, probes: &[Probe]) -> Result<Vec<Fact>, StepError> {
        let (pool, probes) = (Arc::clone(self.pool), probes.to_vec());
        blocking(move || probes.iter().map(|probe| read(&pool, probe)).collect()).await
    }
}

/// A call's work on an export, with what opens it.
struct Serving<'a> {
    exports: &'a Exports,
    key: &'a ExportKey,
}

#[async_trait]
impl Worker<export::Exports> for Serving<'_> {
    async fn step(&self, step: &export::Step, _: &Place<'_>) -> Result<(), StepError> {
        self.exports.run(step, self.key).await
    }

    async fn facts(&self, probes: &[export::Probe]) -> Result<Vec<export::Fact>, StepError> {
        self.exports.facts(probes)
    }
}

#[async_trait]
impl Executor for StorageExecutor {
    fn handles(&self, work: &Work) -> bool {
        matches!(work, Work::Volume { .. } | Work::Export { .. })
    }

    async fn run(&self, call: Call, progress: ProgressSink) -> Result<Outcome, Failure> {
        let (pool, images, task) = match &call.work {
            Work::Volume { pool, images, task } => (pool, images, task),
            Work::Export { key, task } => {
                let serving = Serving {
                    exports: &self.exports,
                    key,
                };
                return task::run(&serving, task, &progress).await.map(Outcome::Export);
            }
            _ => return Err(Failure::new(FailureKind::Missing, "the block service has only volumes")),
        };
        let on_pool = OnPool {
            executor: self,
            pool: self.pool(pool)?,
            images,
        };
        task::run(&on_pool, task, &progress).await.map(Outcome::Volume)
    }

    fn pools(&self) -> Vec<node::Pool> {
        let pools = self.pools.values().map(|pool| node::Pool {
            name: pool.name.clone(),
            capacity_bytes: pool.capacity_bytes,
            reflink: pool.reflink,
        });
        pools.collect()
    }
}

fn read(pool: &Pool, probe: &Probe) -> Result<Fact, StepError> {
    match probe {
        Probe::Object(object) => pool.object_fact(volume(object)?),
        Probe::Image(digest) => pool.image_fact(image(digest)?),
        Probe::Pool => pool.fact(),
    }
}

pub(crate) fn volume(object: &str) -> Result<VolumeId, StepError> {
    let id = object.parse::<VolumeId>().ok().filter(|id| id.to_string() == object);
    id.ok_or_else(|| StepError::Other("a volume's object is not an id".to_owned()))
}

fn image(digest: &str) -> Result<Digest, StepError> {
    digest
        .parse()
        .map_err(|_| StepError::Other("an image is not named by its digest".to_owned()))
}
