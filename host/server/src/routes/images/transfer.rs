//! The way of an image's bytes: from the client's request to the data port of a node, a piece at a time. As many pieces
//! are in memory as the sockets hold; a slow image service slows the client down.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use symphony_api::Code;
use symphony_core::digest::Digest;
use symphony_core::id::UploadId;
use symphony_core::name::Name;
use symphony_core::plan::image::Upload;
use symphony_protocol::data::{DataError, UPLOADS_PATH};
use tokio::sync::watch;

use crate::app::App;
use crate::failure::{Answer, Failure, chain};
use crate::input::content_length;

/// How long the image service may take to make a whole upload durable.
const FLUSH_MAX: Duration = Duration::from_secs(600);
/// How long it may take to give one up.
const GIVE_UP_MAX: Duration = Duration::from_secs(10);
/// Longest answer of a data port, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// One upload at one node's data port.
pub(super) struct DataPort {
    app: App,
    node: Name,
    url: String,
    client: reqwest::Client,
    token: String,
    upload: UploadId,
}

impl DataPort {
    pub(super) fn new(app: &App, node: Name, data_url: &str, upload: UploadId) -> Answer<Self> {
        let url = format!("{}{UPLOADS_PATH}{upload}", data_url.trim_end_matches('/'));
        Ok(Self {
            app: app.clone(),
            client: app.data_client(&node)?,
            node,
            url,
            token: app.agent_token.clone(),
            upload,
        })
    }

    pub(super) fn node(&self) -> &Name {
        &self.node
    }

    pub(super) fn upload(&self) -> UploadId {
        self.upload
    }

    /// Streams a request's body in, and answers what came of it.
    pub(super) async fn put(&self, request: Request, sha256: Option<Digest>) -> Answer<Upload> {
        let length = content_length(request.headers());
        let client_fault = Arc::new(OnceLock::new());
        let (sender, turn) = watch::channel(Turn::Service);
        let body = request.into_body().into_data_stream();
        let pieces = pieces(self.app.clone(), body, client_fault.clone(), sender);
        let digest = sha256
            .map(|sha256| format!("?sha256={}", sha256.hex()))
            .unwrap_or_default();
        let put = self
            .client
            .put(format!("{}{digest}", self.url))
            .bearer_auth(&self.token);
        let mut put = put.body(reqwest::Body::wrap_stream(pieces));
        if let Some(length) = length {
            put = put.header(header::CONTENT_LENGTH, length);
        }
        let silence = self.app.limits.upload_silence;
        let answer = tokio::select! {
            answer = put.send() => answer,
            what = stalled(turn, silence) => return Err(self.silent(what)),
        };
        match answer {
            Ok(response) => {
                let read = tokio::time::timeout(silence, self.read(response)).await;
                read.unwrap_or_else(|_| Err(self.silent("did not end its answer in time")))
            }
            Err(_) if client_fault.get().is_some() => Err(Failure::new(
                Code::MalformedBody,
                client_fault.get().copied().unwrap_or_default(),
            )),
            Err(error) => {
                tracing::warn!(node = %self.node, error = %chain(&error), "an image service did not take an upload");
                Err(self.silent("did not take the upload"))
            }
        }
    }

    /// Has the node forget the upload. When it can't be reached it may keep the bytes, and the log says which they are.
    pub(super) async fn give_up(&self) {
        let delete = self
            .client
            .delete(&self.url)
            .bearer_auth(&self.token)
            .timeout(GIVE_UP_MAX);
        if let Err(error) = delete.send().await {
            tracing::warn!(node = %self.node, upload = %self.upload, error = %chain(&error), "an upload could not be given up");
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Answer<Upload> {
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|_| self.silent("broke its answer off"))?
        {
            bytes.extend_from_slice(&piece);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(self.silent("gave an answer that is too long"));
            }
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|_| self.silent("gave an answer that can't be read"));
        }
        let Ok(error) = serde_json::from_slice::<DataError>(&bytes) else {
            return Err(self.silent(&format!("answered with status {status}")));
        };
        Err(match error.code.as_str() {
            "digest-mismatch" => Failure::field(Code::DigestMismatch, "sha256", error.message),
            "no-space" | "too-large" => Failure::new(Code::TooLarge, format!("node {}: {}", self.node, error.message)),
            "bad-request" => Failure::new(Code::ImageRefused, error.message),
            _ => {
                tracing::error!(node = %self.node, code = error.code, error.message, "an image service refused an upload");
                Failure::new(
                    Code::Internal,
                    format!(
                        "the image service of node {} refused the upload: {}",
                        self.node, error.message
                    ),
                )
            }
        })
    }

    fn silent(&self, what: &str) -> Failure {
        Failure::new(
            Code::NoImageService,
            format!("the image service of node {} {what}", self.node),
        )
    }
}

/// Whose turn it is while an upload's bytes go through. Nobody's any more: the transfer let go of the body, at its end
/// or because it broke.
#[derive(Clone, Copy)]
enum Turn {
    /// The client's, to send a piece.
    Client,
    /// The image service's, to take one.
    Service,
}

/// Waits until an image service has held an upload up for too long, and says how. One that is frozen takes no bytes, so
/// that nothing is asked of the client either: only from outside can that be seen.
async fn stalled(mut turn: watch::Receiver<Turn>, silence: Duration) -> &'static str {
    loop {
        let limit = match *turn.borrow_and_update() {
            // The client's own silence ends the body first.
            Turn::Client => silence * 2,
            Turn::Service => silence,
        };
        match tokio::time::timeout(limit, turn.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) => return "took no bytes for too long",
        }
    }
    tokio::time::sleep(FLUSH_MAX).await;
    "did not make the upload durable in time"
}

/// The pieces of a body as they come. One that breaks off, or is silent for too long, ends the transfer with an error,
/// so that the node never takes it for whole.
fn pieces(
    app: App,
    body: BodyDataStream,
    client_fault: Arc<OnceLock<&'static str>>,
    turn: watch::Sender<Turn>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some((body, turn)), move |state| {
        let (app, client_fault) = (app.clone(), client_fault.clone());
        async move {
            let (mut body, turn) = state?;
            turn.send_replace(Turn::Client);
            let fault = match tokio::time::timeout(app.limits.upload_silence, body.next()).await {
                Ok(Some(Ok(piece))) => {
                    app.metrics.uploaded_bytes.inc_by(piece.len() as u64);
                    turn.send_replace(Turn::Service);
                    return Some((Ok(piece), Some((body, turn))));
                }
                Ok(None) => return None,
                Ok(Some(Err(_))) => "the upload broke off",
                Err(_) => "the upload was silent for too long",
            };
            let _ = client_fault.set(fault);
            Some((Err(io::Error::other(fault)), None))
        }
    })
}
