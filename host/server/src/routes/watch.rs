//! Watches: what is there, and then what happens to it, as server-sent events.
//!
//! One store watch feeds each; a task pushes into a short queue, so a reader that does not read holds up its own watch
//! and nothing else. What it missed meanwhile is found in the store's history, or the watch ends with an `error` event.

mod feed;
mod select;
mod sse;

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use symphony_api::v1::Object as WatchedObject;
use symphony_api::{Code, Problem, WATCH_HEARTBEAT_SECONDS};
use symphony_store::{Revision, Watch};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::Params;
use crate::principal::By;
use feed::Feed;
use select::Selection;

/// Events on their way to the socket.
const QUEUE: usize = 16;

/// What to watch.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchParams {
    /// `volumes,images,nodes,plugins,slots,events`; all of them when absent.
    kinds: Option<String>,
    /// Only what belongs to this project, and what belongs to none; all projects when absent.
    project: Option<String>,
    /// What came after this revision. Without one: first all that is there, as `put`, then what comes.
    from: Option<u64>,
}

/// Watches objects: events `put` and `delete` with `{kind, object}` as data, and `bookmark` when all up to its id was
/// told. The id is the store's revision; a watch resumes from it, by `Last-Event-ID` or `from`. A deleted object is
/// told as it last was. A node's claims change without an event of their own. Who is confined to a project watches that
/// project. A watch ends when its token does.
#[utoipa::path(get, path = "/v1/watch", tag = "events",
    params(WatchParams, ("Last-Event-ID" = Option<String>, Header, description = "Goes on after this; wins over `from`")),
    responses(
        (status = 200, description = "Events, as long as it lasts", body = WatchedObject, content_type = "text/event-stream"),
        (status = 410, description = "The revision is too old: list again", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn watch(
    State(app): State<App>,
    By(principal): By,
    headers: HeaderMap,
    Params(params): Params<WatchParams>,
) -> Answer<Response> {
    let selection = Selection::parse(params.kinds.as_deref(), params.project.as_deref())?;
    let selection = selection.confined_to(principal.confined_to())?;
    let from = resume_from(&headers, params.from)?;
    let busy = |_| {
        Failure::new(
            Code::TooManyRequests,
            "as many watches as may be are open; close one or try again",
        )
    };
    let seat = app.seats.watches.clone().try_acquire_owned().map_err(busy)?;
    let newest = app.store.status().await?.revision;
    if let Some(from) = from.filter(|from| *from > newest) {
        let detail = format!("revision {from} has not been written, the newest is {newest}; is it another manager's?");
        return Err(Failure::field(Code::InvalidArgument, "from", detail));
    }
    let changes = app
        .store
        .watch(Watch::prefix("v1/", from.unwrap_or(newest).next()).with_prev_kv())
        .await?;
    let (events, answer) = mpsc::channel(QUEUE);
    let state_at = if from.is_none() { Some(newest) } else { None };
    let feed = Feed::new(
        app.clone(),
        selection,
        principal.token,
        events,
        Duration::from_secs(WATCH_HEARTBEAT_SECONDS),
    );
    app.tasks.spawn(async move {
        feed.run(state_at, changes).await;
        drop(seat);
    });
    let body = Body::from_stream(ReceiverStream::new(answer).map(Ok::<_, std::convert::Infallible>));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, body).into_response())
}

fn resume_from(headers: &HeaderMap, from: Option<u64>) -> Answer<Option<Revision>> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(from.map(Revision));
    };
    let text = value.to_str().unwrap_or_default().trim();
    let wrong = |_| {
        Failure::field(
            Code::InvalidArgument,
            "Last-Event-ID",
            "it must be the id of an event of a watch",
        )
    };
    text.parse().map(|revision| Some(Revision(revision))).map_err(wrong)
}
