//! Volumes.

mod change;
mod create;
mod draft;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use symphony_api::v1::{CreateVolume, Explanation, List, PatchVolume, Preview, Volume};
use symphony_api::{Problem, convert, v1};
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::volume::Volume as Record;
use symphony_store::Store;

use super::object;
use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::{IdempotencyKey, IfMatch, Input, Params};
use crate::reading::{Order, PageQuery, Reference, Stored, load, load_by_id, map_list, page, project};

pub(super) use create::{CreateQuery, put_new};
pub(super) use draft::{Draft, Wanted};

/// Lists the volumes of a project.
#[utoipa::path(get, path = "/v1/projects/{project}/volumes", tag = "volumes", params(("project" = String, Path), PageQuery), responses(
    (status = 200, description = "A page", body = List<Volume>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(app): State<App>,
    Path(project_text): Path<String>,
    Params(query): Params<PageQuery>,
) -> Answer<Json<List<Volume>>> {
    let (project, selector) = (project(&project_text)?, query.selector()?);
    let wanted = |volume: &Record| volume.meta.labels.covers(&selector).is_ok();
    let list = page(&*app.store, &keys::volumes_of(&project), &query, Order::Rising, wanted).await?;
    Ok(Json(map_list(list, |stored| wire(&stored))))
}

/// Asks for a volume. It is stored, then placed, then made: `status.phase` tells how far it is. With `dry_run` nothing
/// is stored, and the answer says where it would go.
#[utoipa::path(
    post, path = "/v1/projects/{project}/volumes", tag = "volumes",
    params(
        ("project" = String, Path),
        CreateQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request one, for 24 hours"),
    ),
    request_body = CreateVolume,
    responses(
        (status = 201, description = "Stored", body = Volume),
        (status = 200, description = "With `dry_run`: where it would go", body = Preview),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    Path(project_text): Path<String>,
    Params(query): Params<CreateQuery>,
    IdempotencyKey(key): IdempotencyKey,
    Input(body): Input<CreateVolume>,
) -> Answer<Response> {
    let project = project(&project_text)?;
    if query.dry_run {
        create::preview(&app, &project, &body).await
    } else {
        create::create(&app, &project, &body, key).await
    }
}

/// Shows a volume, by name or id.
#[utoipa::path(get, path = "/v1/projects/{project}/volumes/{volume}", tag = "volumes",
    params(("project" = String, Path), ("volume" = String, Path, description = "Name or id")),
    responses(
        (status = 200, description = "The volume", body = Volume),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
) -> Answer<Response> {
    let stored = find(&*app.store, &project(&project_text)?, &name).await?;
    Ok(object(StatusCode::OK, &wire(&stored), stored.revision.0))
}

/// Changes a volume: its labels, or its size, which only ever grows.
#[utoipa::path(patch, path = "/v1/projects/{project}/volumes/{volume}", tag = "volumes",
    params(
        ("project" = String, Path), ("volume" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    request_body = PatchVolume,
    responses(
        (status = 200, description = "The volume, changed", body = Volume),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn patch(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    precondition: IfMatch,
    Input(body): Input<PatchVolume>,
) -> Answer<Response> {
    let stored = change::patch(&app, &project(&project_text)?, &name, precondition, &body).await?;
    Ok(object(StatusCode::OK, &wire(&stored), stored.revision.0))
}

/// Asks for a volume's end, in whatever phase it is. It is gone when it is not found any more.
#[utoipa::path(delete, path = "/v1/projects/{project}/volumes/{volume}", tag = "volumes",
    params(
        ("project" = String, Path), ("volume" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    responses(
        (status = 202, description = "The volume, on its way out", body = Volume),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    precondition: IfMatch,
) -> Answer<Response> {
    let stored = change::delete(&app, &project(&project_text)?, &name, precondition).await?;
    Ok(object(StatusCode::ACCEPTED, &wire(&stored), stored.revision.0))
}

/// Says why a volume is where it is, or nowhere: every node by name.
#[utoipa::path(get, path = "/v1/projects/{project}/volumes/{volume}/explanation", tag = "volumes",
    params(("project" = String, Path), ("volume" = String, Path, description = "Name or id")),
    responses(
        (status = 200, description = "The explanation", body = Explanation),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn explanation(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
) -> Answer<Json<Explanation>> {
    let stored = find(&*app.store, &project(&project_text)?, &name).await?;
    let explained = app.decisions()?.explain(&stored.value).await?;
    let preview = explained.preview;
    let (node, pool, score) = match preview.chosen {
        Some(chosen) => (Some(chosen.node), Some(chosen.pool), Some(chosen.score)),
        None => (None, None, None),
    };
    Ok(Json(Explanation {
        volume: stored.value.meta.name.to_string(),
        volume_id: stored.value.meta.id.uuid(),
        as_of: match explained.as_of {
            symphony_control::AsOf::Decision => v1::AsOf::Decision,
            symphony_control::AsOf::Now => v1::AsOf::Now,
        },
        decided_by: convert::decider(&preview.decided_by),
        node,
        pool,
        score,
        verdicts: convert::verdicts(&preview.verdicts),
        revision: preview.revision.0,
    }))
}

fn wire(stored: &Stored<Record>) -> Volume {
    convert::volume(&stored.value, stored.revision.0)
}

/// A volume of a project, by name or id.
async fn find(store: &dyn Store, project: &Name, name: &str) -> Answer<Stored<Record>> {
    let found = match Reference::parse(name) {
        Some(Reference::Name(name)) => load(store, &keys::volume(project, &name)).await?,
        Some(Reference::Id(id)) => load_by_id(store, &keys::volume_id(symphony_core::id::VolumeId::new(id))).await?,
        None => None,
    };
    let own = found.filter(|found: &Stored<Record>| found.value.meta.project == *project);
    own.ok_or_else(|| Failure::missing("volume", name))
}
