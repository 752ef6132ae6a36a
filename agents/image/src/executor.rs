//! The image service: takes calls on images apart into steps and probes.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use symphony_agent::config::Config;
use symphony_agent::step::blocking;
use symphony_agent::{Executor, Jail, Place, ProgressSink, StepError, Worker, task};
use symphony_core::digest::Digest;
use symphony_core::id::UploadId;
use symphony_core::plan::image::{Fact, Images, Integrity, Probe, Step};
use symphony_protocol::{Call, Failure, FailureKind, Outcome, Work};

use crate::check::check;
use crate::http;
use crate::store::{Store, StoreError};

/// Runs calls on images, and serves their bytes.
#[derive(Debug)]
pub struct ImageExecutor {
    store: Arc<Store>,
    jail: Jail,
}

impl ImageExecutor {
    /// Opens the folder of images.
    ///
    /// # Errors
    /// It can't be made or opened, or another process has it.
    pub fn open(config: &Config, jail: Jail) -> Result<Self, StoreError> {
        let store = Store::open(&config.path(&config.agent.images))?;
        Ok(Self {
            store: Arc::new(store),
            jail,
        })
    }

    async fn check(&self, upload: UploadId) -> Result<(), StepError> {
        let store = Arc::clone(&self.store);
        let found = blocking(move || store.upload(upload)).await?;
        let found = found.ok_or_else(|| StepError::Missing(format!("there is no upload {upload}")))?;
        if found.integrity != Integrity::Unchecked {
            return Ok(());
        }
        symphony_crash::point("image.check.before_check");
        let integrity = check(&self.store, &self.jail, upload, &found).await?;
        let store = Arc::clone(&self.store);
        blocking(move || store.note_integrity(upload, integrity)).await
    }
}

#[async_trait]
impl Worker<Images> for ImageExecutor {
    async fn step(&self, step: &Step, _: &Place<'_>) -> Result<(), StepError> {
        let store = Arc::clone(&self.store);
        match step {
            Step::Check { upload } => self.check(id(upload)?).await,
            Step::Publish { upload, digest } => {
                let (upload, digest) = (id(upload)?, name(digest)?);
                blocking(move || store.publish(upload, digest)).await
            }
            Step::Discard { upload } => {
                let upload = id(upload)?;
                blocking(move || store.discard(upload)).await
            }
            Step::Remove { digest } => {
                let digest = name(digest)?;
                blocking(move || store.remove(digest)).await
            }
        }
    }

    async fn facts(&self, probes: &[Probe]) -> Result<Vec<Fact>, StepError> {
        let (store, probes) = (Arc::clone(&self.store), probes.to_vec());
        blocking(move || probes.iter().map(|probe| read(&store, probe)).collect()).await
    }
}

#[async_trait]
impl Executor for ImageExecutor {
    fn handles(&self, work: &Work) -> bool {
        matches!(work, Work::Image { .. })
    }

    async fn run(&self, call: Call, progress: ProgressSink) -> Result<Outcome, Failure> {
        let Work::Image { task } = &call.work else {
            return Err(Failure::new(FailureKind::Missing, "the image service has only images"));
        };
        task::run(self, task, &progress).await.map(Outcome::Image)
    }

    fn routes(&self) -> Router {
        http::routes(Arc::clone(&self.store))
    }
}

fn read(store: &Store, probe: &Probe) -> Result<Fact, StepError> {
    match probe {
        Probe::Upload(upload) => {
            let found = store.upload(id(upload)?)?;
            Ok(Fact::Upload {
                upload: upload.clone(),
                found,
            })
        }
        Probe::Blob(digest) => {
            let present = store.has_blob(name(digest)?)?;
            Ok(Fact::Blob {
                digest: digest.clone(),
                present,
            })
        }
    }
}

fn id(upload: &str) -> Result<UploadId, StepError> {
    let id = upload.parse::<UploadId>().ok().filter(|id| id.to_string() == upload);
    id.ok_or_else(|| StepError::Other("an upload is not named by its id".to_owned()))
}

fn name(digest: &str) -> Result<Digest, StepError> {
    digest
        .parse()
        .map_err(|_| StepError::Other("an image is not named by its digest".to_owned()))
}
