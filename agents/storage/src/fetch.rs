//! Step `fetch-image`: from an image service into the node's cache, resumed where it was cut, verified before it counts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Response, StatusCode, header};
use symphony_agent::intake::Intake;
use symphony_agent::step::blocking;
use symphony_agent::{StepError, chain};
use symphony_core::digest::Digest;
use symphony_pki::{Expect, Tls};
use symphony_protocol::ImageLocation;
use symphony_protocol::data::BLOBS_PATH;
use tokio::sync::Semaphore;

use crate::pool::{self, Pool};

/// Fetches at once.
const FETCHES_MAX: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time without a byte.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Connections that may bring nothing, in a row, before a fetch gives up.
const ATTEMPTS_MAX: u32 = 4;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(200);

/// Fetches images.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    client: reqwest::Client,
    places: Arc<Semaphore>,
}

/// What one connection came to.
enum Attempt {
    /// Every byte is here.
    Whole,
    /// It ended before; what came is kept.
    Cut(String),
}

impl Fetcher {
    /// As a node of the cluster: any other that has the image may be asked, and its bytes are checked.
    pub(crate) fn new(tls: &Tls) -> Result<Self, reqwest::Error> {
        let mut config = tls.client_config(Expect::AnyMember);
        // One stream of bytes needs no second window around it.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(STALL_MAX)
            .build()?;
        Ok(Self {
            client,
            places: Arc::new(Semaphore::new(FETCHES_MAX)),
        })
    }

    /// Fetches an image, unless it is here. Whoever asks for the same one meanwhile waits for this one.
    pub(crate) async fn fetch(
        &self,
        pool: &Arc<Pool>,
        digest: Digest,
        locations: &[ImageLocation],
        progress: impl FnMut(u64, u64),
    ) -> Result<(), StepError> {
        let what = "fetch the image";
        let _only = pool.lock_image(digest).await;
        let (target, partial) = (pool::fetched(digest), pool::partial(&pool::fetched(digest)));
        if pool.cache.length(&target).map_err(StepError::io(what))?.is_some() {
            return Ok(());
        }
        let Some(location) = locations.iter().find(|location| location.digest == digest) else {
            return Err(StepError::Missing(format!(
                "no image service is known to have {digest}"
            )));
        };
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let found = pool.cache.length(&partial).map_err(StepError::io(what))?.unwrap_or(0);
        // More than there can be is not the beginning of it.
        let kept = if found > location.stored_bytes { 0 } else { found };
        let opened = if kept > 0 {
            pool.cache.open_write(&partial)
        } else {
            pool.cache.recreate(&partial)
        };
        let mut intake = Intake::start(opened.map_err(StepError::io(what))?, kept);
        symphony_crash::point("storage.fetch.before_transfer");
        let transferred = self.transfer(location, &mut intake, progress).await;
        let received = intake
            .finish()
            .await
            .map_err(StepError::io("write the fetched image"))?;
        match transferred {
            Err(StepError::Corrupt(why)) => {
                pool.cache.remove(&partial).map_err(StepError::io(what))?;
                return Err(StepError::Corrupt(why));
            }
            other => other?,
        }
        if received.digest != digest || received.bytes != location.stored_bytes {
            // Not one byte of it can be trusted: the next fetch starts anew.
            pool.cache.remove(&partial).map_err(StepError::io(what))?;
            let text = format!(
                "{} bytes came with digest {}, and {digest} was wanted",
                received.bytes, received.digest
            );
            return Err(StepError::Corrupt(text));
        }
        let pool = Arc::clone(pool);
        blocking(move || {
            symphony_crash::point("storage.fetch.before_sync");
            received.file.sync_all().map_err(StepError::io(what))?;
            symphony_crash::point("storage.fetch.before_rename");
            pool.cache
                .rename(&partial, &pool.cache, &target)
                .map_err(StepError::io(what))?;
            symphony_crash::point("storage.fetch.after_rename");
            pool.cache.sync().map_err(StepError::io(what))
        })
        .await
    }

    /// Connects, again after each cut, as long as each connection brings something.
    async fn transfer(
        &self,
        location: &ImageLocation,
        intake: &mut Intake,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(), StepError> {
        let mut fruitless = 0;
        while intake.bytes() < location.stored_bytes {
            let before = intake.bytes();
            let why = match self.attempt(location, intake, &mut progress).await? {
                Attempt::Whole => return Ok(()),
                Attempt::Cut(why) => why,
            };
            fruitless = if intake.bytes() > before { 0 } else { fruitless + 1 };
            if fruitless >= ATTEMPTS_MAX {
                let text = format!("{} of {} bytes came: {why}", intake.bytes(), location.stored_bytes);
                return Err(StepError::Unreachable(text));
            }
            tracing::debug!(digest = %location.digest, bytes = intake.bytes(), why, "a transfer was cut; resuming");
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        Ok(())
    }

    async fn attempt(
        &self,
        location: &ImageLocation,
        intake: &mut Intake,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Attempt, StepError> {
        let from = intake.bytes();
        let url = format!(
            "{}{BLOBS_PATH}{}",
            location.data_url.trim_end_matches('/'),
            location.digest.hex()
        );
        let request = self.client.get(url).header(header::RANGE, format!("bytes={from}-"));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Attempt::Cut(chain(&error))),
        };
        let mut skip_bytes = match checked(&answer, from)? {
            Some(skip_bytes) => skip_bytes,
            None => return Ok(Attempt::Cut(format!("the image service answered {}", answer.status()))),
        };
        let mut stream = answer.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let mut chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return Ok(Attempt::Cut(chain(&error))),
            };
            let skipped = chunk.len().min(usize::try_from(skip_bytes).unwrap_or(usize::MAX));
            skip_bytes -= skipped as u64;
            let chunk = chunk.split_off(skipped);
            if intake.bytes() + chunk.len() as u64 > location.stored_bytes {
                let text = format!("more came than the {} bytes of the image", location.stored_bytes);
                return Err(StepError::Corrupt(text));
            }
            if intake.write(chunk).await.is_err() {
                // The writer says why when it is asked to finish.
                return Ok(Attempt::Whole);
            }
            progress(intake.bytes(), location.stored_bytes);
        }
        if intake.bytes() == location.stored_bytes {
            return Ok(Attempt::Whole);
        }
        Ok(Attempt::Cut("the connection ended early".to_owned()))
    }
}

/// How many bytes to skip of an answer: none of a part that starts at the right place, those that are here of a whole
/// one. Nothing: worth another attempt.
fn checked(answer: &Response, from: u64) -> Result<Option<u64>, StepError> {
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range = answer
                .headers()
                .get(header::CONTENT_RANGE)
                .and_then(|value| value.to_str().ok());
            let start = range
                .and_then(|range| range.strip_prefix("bytes "))
                .and_then(|range| range.split('-').next());
            if start.and_then(|start| start.parse::<u64>().ok()) == Some(from) {
                Ok(Some(0))
            } else {
                Err(StepError::Corrupt(format!(
                    "the image service sent another part than from byte {from}"
                )))
            }
        }
        StatusCode::OK => Ok(Some(from)),
        StatusCode::NOT_FOUND => Err(StepError::Missing(
            "the image service does not have the image".to_owned(),
        )),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(StepError::Other(
            "the image service does not take this node's certificate".to_owned(),
        )),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(StepError::Corrupt(format!(
            "the image service has no byte {from} of the image"
        ))),
        _ => Ok(None),
    }
}
