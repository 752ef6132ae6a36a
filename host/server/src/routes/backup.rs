//! A backup of all that managers keep, as a stream: pages of one revision, read as fast as they are taken.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use symphony_api::backup::{FORMAT, Header, MEDIA_TYPE, Writer};
use symphony_api::{Code, Problem};
use symphony_control::clock;
use symphony_core::member::Cluster;
use symphony_core::{keys, record};
use symphony_store::{KeyValue, Keys, Range, Revision};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::failure::{Answer, Failure};

/// Keys that are read at once. As many of the largest values fit into one answer of the store.
const PAGE: usize = 48;

/// All that managers keep, at one revision, in the form `symphony-backup/1`: a line of JSON that says what it is, one for
/// each key (key and value in base64), and one with their number and the SHA-256 of all lines before it. What goes with a
/// lease (who leads, who is there) is left out. The key of the cluster's authority is in it.
#[utoipa::path(get, path = "/v1/backup", tag = "backup", responses(
    (status = 200, description = "The lines; whole only with the last of them", body = Vec<u8>, content_type = "application/x-ndjson"),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn take(State(app): State<App>) -> Answer<Response> {
    let busy = |_| {
        let detail = "as many backups as may be are under way; try again later";
        Failure::new(Code::TooManyRequests, detail)
    };
    let seat = app.seats.backups.clone().try_acquire_owned().map_err(busy)?;
    let cluster = app.store.range(Range::key(keys::CLUSTER)).await?;
    let at = cluster.revision;
    let cluster: Option<Cluster> = cluster.kvs.first().map(|kv| record::decode(&kv.value)).transpose()?;
    let header = Header {
        format: FORMAT.to_owned(),
        cluster: cluster.map(|cluster| cluster.id),
        revision: at.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at: clock::now(),
    };
    let begun = Writer::begin(&header);
    let (writer, first) = begun.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    let mut pages = Pages {
        app,
        at,
        spans: keys::ROOTS.iter().rev().map(|root| Keys::prefix(*root)).collect(),
        writer: Some(writer),
        lines: first,
        _seat: seat,
    };
    // What can be known to go wrong is answered as a problem.
    pages.read().await?;
    let lines = stream::try_unfold(pages, |mut pages| async move {
        let lines = pages.next().await?;
        Ok::<_, std::io::Error>(lines.map(|lines| (lines, pages)))
    });
    let headers = [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// What is left to be told.
struct Pages {
    app: App,
    at: Revision,
    /// What is left of each root, the first last.
    spans: Vec<Keys>,
    /// Gone when the last line was written.
    writer: Option<Writer>,
    /// Read, and not yet told.
    lines: Vec<u8>,
    _seat: OwnedSemaphorePermit,
}

impl Pages {
    async fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let shutdown = self.app.shutdown.clone();
        while self.lines.is_empty() && self.writer.is_some() {
            let read = tokio::select! {
                read = self.read() => read,
                () = shutdown.cancelled() => return Err(std::io::Error::other("the manager ends")),
            };
            // The answer has begun: all that can be done is to break it off.
            read.map_err(|error| {
                tracing::warn!(%error, "a backup was broken off");
                std::io::Error::other(error)
            })?;
        }
        let lines = std::mem::take(&mut self.lines);
        Ok((!lines.is_empty()).then_some(lines))
    }

    /// Reads one more page, or writes the end.
    async fn read(&mut self) -> Result<(), symphony_store::Error> {
        let Some(span) = self.spans.last() else {
            if let Some(writer) = self.writer.take() {
                self.lines.extend(writer.end());
            }
            return Ok(());
        };
        let page = self
            .app
            .store
            .range(Range::new(span.clone()).at(self.at).limit(PAGE))
            .await?;
        let rest = page.kvs.last().map(|last| span.after(&last.key));
        self.spans.pop();
        if page.more {
            self.spans.extend(rest);
        }
        if let Some(writer) = &mut self.writer {
            for kv in page.kvs.iter().filter(|kv| is_kept(kv)) {
                writer.entry(&mut self.lines, kv.key.as_bytes(), &kv.value);
            }
        }
        Ok(())
    }
}

/// Whether a key outlives the processes that wrote it. With a store of one manager the leader's record has no lease, and
/// says as little once it is another store.
fn is_kept(kv: &KeyValue) -> bool {
    let of_a_life = |prefix: &&str| kv.key.strip_prefix(prefix).is_some();
    kv.lease.is_none() && ![keys::LEADER, keys::MANAGERS_ALIVE].iter().any(of_a_life)
}
