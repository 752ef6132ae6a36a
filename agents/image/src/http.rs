//! The image service on the data port: bytes in, bytes out.

mod range;

use std::io::{self, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use futures_util::StreamExt as _;
use serde::Deserialize;
use symphony_agent::StepError;
use symphony_agent::data::{drain, refuse};
use symphony_agent::intake::{Intake, Received};
use symphony_agent::step::blocking;
use symphony_core::digest::Digest;
use symphony_core::id::UploadId;
use symphony_core::plan::image::Upload;
use symphony_protocol::FailureKind;
use symphony_protocol::data::{BLOBS_PATH, UPLOADS_PATH};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;

use crate::store::{Store, partial};
use range::Range;

/// Uploads at once.
const UPLOADS_MAX: usize = 8;
/// Longest time without a byte.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Left free on the file system, in bytes: notes and renames must go on.
const RESERVE_BYTES: u64 = 16 << 20;
/// Read from the disk at once.
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Debug)]
struct Service {
    store: Arc<Store>,
    places: Semaphore,
}

/// The routes of the data port that are the image service's.
pub(crate) fn routes(store: Arc<Store>) -> Router {
    let service = Arc::new(Service {
        store,
        places: Semaphore::new(UPLOADS_MAX),
    });
    Router::new()
        .route(&format!("{UPLOADS_PATH}{{upload}}"), put(take).delete(give_up))
        .route(&format!("{BLOBS_PATH}{{digest}}"), get(hand_out))
        // Streamed: the disk is the limit, not the memory.
        .layer(DefaultBodyLimit::disable())
        .with_state(service)
}

#[derive(Debug, Deserialize)]
struct TakeQuery {
    sha256: Option<String>,
}

/// Removes a partial file when its upload is dropped or fails.
struct Unfinished<'a> {
    store: &'a Store,
    upload: UploadId,
    kept: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.store.incoming.remove(&partial(self.upload))
        {
            tracing::warn!(%error, upload = %self.upload, "an upload that failed can't be removed before the next start");
        }
    }
}

async fn take(
    State(service): State<Arc<Service>>,
    Path(upload): Path<String>,
    Query(query): Query<TakeQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut body = body.into_data_stream();
    match receive(&service, &upload, query.sha256.as_deref(), length, &mut body).await {
        Ok(upload) => (StatusCode::CREATED, axum::Json(upload)).into_response(),
        Err(refusal) => {
            drain(&mut body).await;
            refusal
        }
    }
}

async fn receive(
    service: &Service,
    upload: &str,
    wanted: Option<&str>,
    length: Option<u64>,
    body: &mut BodyDataStream,
) -> Result<Upload, Response> {
    let bad = |text: String| refuse(StatusCode::BAD_REQUEST, "bad-request", text);
    let upload: UploadId = upload
        .parse()
        .map_err(|_| bad("an upload is named by its id, a UUID".to_owned()))?;
    let wanted = wanted
        .map(str::parse::<Digest>)
        .transpose()
        .map_err(|error| bad(format!("sha256: {error}")))?;
    let _place = service.places.try_acquire().map_err(|_| {
        refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            format!("{UPLOADS_MAX} uploads are under way"),
        )
    })?;
    let store = &service.store;
    if store.upload(upload).map_err(|error| internal(&error))?.is_some() {
        return Err(refuse(
            StatusCode::CONFLICT,
            "bad-request",
            "there is an upload with this id",
        ));
    }
    let free_bytes = free_bytes(store).map_err(|error| internal(&error))?;
    if length.is_some_and(|length| length.saturating_add(RESERVE_BYTES) > free_bytes) {
        let text = format!("the image service has {free_bytes} bytes left");
        return Err(refuse(StatusCode::INSUFFICIENT_STORAGE, "no-space", text));
    }
    let created = store
        .incoming
        .create(&partial(upload))
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => refuse(StatusCode::CONFLICT, "bad-request", "this upload is under way"),
            _ => internal(&StepError::io("make the upload")(error)),
        });
    let intake = Intake::start(created?, 0);
    let mut unfinished = Unfinished {
        store,
        upload,
        kept: false,
    };
    symphony_crash::point("image.upload.before_transfer");
    let received = transfer(intake, body).await?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != received.digest) {
        let text = format!(
            "the {} bytes have digest {}, and {wanted} was promised",
            received.bytes, received.digest
        );
        return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, "digest-mismatch", text));
    }
    let accepted = blocking({
        let store = Arc::clone(store);
        move || store.accept(upload, received.file, received.digest)
    });
    let accepted = accepted.await.map_err(|error| internal(&error))?;
    unfinished.kept = true;
    Ok(accepted)
}

async fn transfer(mut intake: Intake, body: &mut BodyDataStream) -> Result<Received, Response> {
    loop {
        match tokio::time::timeout(STALL_MAX, body.next()).await {
            Ok(Some(Ok(chunk))) => {
                if intake.write(chunk).await.is_err() {
                    // Finishing says why.
                    break;
                }
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(refuse(
                    StatusCode::BAD_REQUEST,
                    "bad-request",
                    format!("the bytes were cut: {error}"),
                ));
            }
            Err(_) => {
                return Err(refuse(
                    StatusCode::REQUEST_TIMEOUT,
                    "bad-request",
                    "no byte came for a minute",
                ));
            }
        }
    }
    intake
        .finish()
        .await
        .map_err(|error| internal(&StepError::io("write the upload")(error)))
}

async fn give_up(State(service): State<Arc<Service>>, Path(upload): Path<String>) -> Response {
    let Ok(upload) = upload.parse::<UploadId>() else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "an upload is named by its id, a UUID",
        );
    };
    let store = Arc::clone(&service.store);
    match blocking(move || store.discard(upload)).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => internal(&error),
    }
}

async fn hand_out(State(service): State<Arc<Service>>, Path(hex): Path<String>, headers: HeaderMap) -> Response {
    let Ok(digest) = hex.parse::<Digest>() else {
        return refuse(StatusCode::BAD_REQUEST, "bad-request", "a blob is named by its SHA-256");
    };
    let store = Arc::clone(&service.store);
    let opened = blocking(move || {
        if !store.has_blob(digest)? {
            return Ok(None);
        }
        let file = store
            .blobs
            .open_read(&digest.hex())
            .map_err(StepError::io("open the blob"))?;
        let length = file.metadata().map_err(StepError::io("open the blob"))?.len();
        Ok(Some((file, length)))
    });
    let (file, length) = match opened.await {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            return refuse(
                StatusCode::NOT_FOUND,
                "not-found",
                format!("there is no image {digest}"),
            );
        }
        Err(error) => return internal(&error),
    };
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (status, from, count) = match Range::read(range, length) {
        Range::All => (StatusCode::OK, 0, length),
        Range::Part { from, count } => (StatusCode::PARTIAL_CONTENT, from, count),
        Range::Outside => {
            let refusal = refuse(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "bad-request",
                format!("it has {length} bytes"),
            );
            return ([(header::CONTENT_RANGE, format!("bytes */{length}"))], refusal).into_response();
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(CHUNK_BYTES);
    if let Err(error) = file.seek(SeekFrom::Start(from)).await {
        return internal(&StepError::io("read the blob")(error));
    }
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(count), CHUNK_BYTES));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, count.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, format!("\"{}\"", digest.hex())),
    ];
    let mut answer = (status, headers, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {from}-{}/{length}", from + count - 1);
        if let Ok(value) = part.parse() {
            answer.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    answer
}

fn free_bytes(store: &Store) -> Result<u64, StepError> {
    let stat = rustix::fs::fstatvfs(&store.dir);
    let stat = stat.map_err(|error| StepError::io("look at the file system")(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn internal(error: &StepError) -> Response {
    let failure = error.failure();
    tracing::warn!(%failure, "the data port failed");
    match failure.kind {
        FailureKind::NoSpace => refuse(
            StatusCode::INSUFFICIENT_STORAGE,
            "no-space",
            "the image service is full",
        ),
        _ => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the image service failed; its log says more",
        ),
    }
}
