//! Events: read only, newest first.

use axum::Json;
use axum::extract::State;
use symphony_api::v1::{Event, List};
use symphony_api::{Code, Problem, convert};
use symphony_core::event::Event as Record;
use symphony_core::keys;

use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::Params;
use crate::principal::By;
use crate::reading::{Order, PageQuery, map_list, page};

/// Lists what happened, newest first. The last 2,000 events are kept. Who is confined to a project sees what happened there.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(PageQuery), responses(
    (status = 200, description = "A page", body = List<Event>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(app): State<App>,
    By(principal): By,
    Params(query): Params<PageQuery>,
) -> Answer<Json<List<Event>>> {
    if query.labels.is_some() {
        return Err(Failure::field(Code::InvalidArgument, "labels", "events have no labels"));
    }
    let wanted = |event: &Record| {
        let own = principal.confined_to();
        own.is_none() || event.subject.project.as_ref() == own
    };
    let list = page(&*app.store, keys::EVENTS, &query, Order::Falling, wanted).await?;
    Ok(Json(map_list(list, |event| {
        convert::event(&event.value, event.revision.0)
    })))
}
