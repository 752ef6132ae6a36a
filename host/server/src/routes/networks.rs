//! Networks.

mod create;
mod delete;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use symphony_api::v1::{CreateNetwork, List, Network};
use symphony_api::{Problem, convert};
use symphony_core::id::NetworkId;
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::network::Network as Record;
use symphony_store::Store;

use super::object;
use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::{IdempotencyKey, IfMatch, Input, Params};
use crate::reading::{Order, PageQuery, Reference, Stored, load, load_by_id, map_list, page, project};

/// Lists the networks of a project.
#[utoipa::path(get, path = "/v1/projects/{project}/networks", tag = "networks", params(("project" = String, Path), PageQuery), responses(
    (status = 200, description = "A page", body = List<Network>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(app): State<App>,
    Path(project_text): Path<String>,
    Params(query): Params<PageQuery>,
) -> Answer<Json<List<Network>>> {
    let (project, selector) = (project(&project_text)?, query.selector()?);
    let wanted = |network: &Record| network.meta.labels.covers(&selector).is_ok();
    let list = page(&*app.store, &keys::networks_of(&project), &query, Order::Rising, wanted).await?;
    Ok(Json(map_list(list, |stored| wire(&stored))))
}

/// Asks for a network. A node makes its part of it when the first machine there is connected.
#[utoipa::path(
    post, path = "/v1/projects/{project}/networks", tag = "networks",
    params(
        ("project" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request one, for 24 hours"),
    ),
    request_body = CreateNetwork,
    responses(
        (status = 201, description = "Stored", body = Network),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    Path(project_text): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Input(body): Input<CreateNetwork>,
) -> Answer<Response> {
    create::create(&app, &project(&project_text)?, &body, key.as_deref()).await
}

/// Shows a network, by name or id.
#[utoipa::path(get, path = "/v1/projects/{project}/networks/{network}", tag = "networks",
    params(("project" = String, Path), ("network" = String, Path, description = "Name or id")),
    responses(
        (status = 200, description = "The network", body = Network),
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

/// Asks for a network's end. Refused while machines are connected to it. It is gone when it is not found any more.
#[utoipa::path(delete, path = "/v1/projects/{project}/networks/{network}", tag = "networks",
    params(
        ("project" = String, Path), ("network" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    responses(
        (status = 202, description = "The network, on its way out", body = Network),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    precondition: IfMatch,
) -> Answer<Response> {
    let stored = delete::delete(&app, &project(&project_text)?, &name, precondition).await?;
    Ok(object(StatusCode::ACCEPTED, &wire(&stored), stored.revision.0))
}

fn wire(stored: &Stored<Record>) -> Network {
    convert::network(&stored.value, stored.revision.0)
}

/// A network of a project, by name or id.
async fn find(store: &dyn Store, project: &Name, name: &str) -> Answer<Stored<Record>> {
    let found = look_up(store, project, name).await?;
    found.ok_or_else(|| Failure::missing("network", name))
}

/// A network of a project, by name or id, if there is one.
pub(super) async fn look_up(store: &dyn Store, project: &Name, name: &str) -> Answer<Option<Stored<Record>>> {
    let found = match Reference::parse(name) {
        Some(Reference::Name(name)) => load(store, &keys::network(project, &name)).await?,
        Some(Reference::Id(id)) => load_by_id(store, &keys::network_id(NetworkId::new(id))).await?,
        None => None,
    };
    Ok(found.filter(|found: &Stored<Record>| found.value.meta.project == *project))
}
