//! Images: uploads that stream through, and the records of what was uploaded.

mod delete;
mod transfer;
mod upload;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use symphony_api::v1::{Image, List};
use symphony_api::{Problem, convert};
use symphony_core::image::Image as Record;
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_store::Store;
use utoipa::IntoParams;

use super::object;
use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::{IfMatch, Params, content_type};
use crate::reading::{Order, PageQuery, Reference, Stored, load, load_by_id, map_list, page, project};

/// What is said of an image before its bytes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// Its name in the project.
    name: String,
    /// The digest that the bytes must have: 64 hexadecimal digits.
    sha256: Option<String>,
}

/// Lists the images of a project.
#[utoipa::path(get, path = "/v1/projects/{project}/images", tag = "images", params(("project" = String, Path), PageQuery), responses(
    (status = 200, description = "A page", body = List<Image>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(app): State<App>,
    Path(project_text): Path<String>,
    Params(query): Params<PageQuery>,
) -> Answer<Json<List<Image>>> {
    let (project, selector) = (project(&project_text)?, query.selector()?);
    let wanted = |image: &Record| image.meta.labels.covers(&selector).is_ok();
    let list = page(&*app.store, &keys::images_of(&project), &query, Order::Rising, wanted).await?;
    Ok(Json(map_list(list, |stored| wire(&stored))))
}

/// Uploads an image of any size: raw, or qcow2 that refers to no other file. The bytes stream through to an image
/// service; the same bytes are stored once.
#[utoipa::path(post, path = "/v1/projects/{project}/images", tag = "images",
    params(("project" = String, Path), UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Taken in; `status.phase` tells when volumes can be made from it", body = Image),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    Path(project_text): Path<String>,
    Params(query): Params<UploadQuery>,
    request: Request,
) -> Answer<Response> {
    let project = project(&project_text)?;
    content_type(
        request.headers(),
        &["application/octet-stream", "application/x-qemu-disk"],
    )?;
    upload::upload(&app, project, &query.name, query.sha256.as_deref(), request).await
}

/// Shows an image, by name or id.
#[utoipa::path(get, path = "/v1/projects/{project}/images/{image}", tag = "images",
    params(("project" = String, Path), ("image" = String, Path, description = "Name or id")),
    responses(
        (status = 200, description = "The image", body = Image),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
) -> Answer<Response> {
    let found = look_up(&*app.store, &project(&project_text)?, &name).await?;
    let stored = found.ok_or_else(|| Failure::missing("image", &name))?;
    Ok(object(StatusCode::OK, &wire(&stored), stored.revision.0))
}

/// Asks for an image's end. Refused while volumes need its bytes.
#[utoipa::path(delete, path = "/v1/projects/{project}/images/{image}", tag = "images",
    params(
        ("project" = String, Path), ("image" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    responses(
        (status = 202, description = "The image, on its way out", body = Image),
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

fn wire(stored: &Stored<Record>) -> Image {
    convert::image(&stored.value, stored.revision.0)
}

/// An image of a project, by name or id.
pub(super) async fn look_up(store: &dyn Store, project: &Name, name: &str) -> Answer<Option<Stored<Record>>> {
    let found = match Reference::parse(name) {
        Some(Reference::Name(name)) => load(store, &keys::image(project, &name)).await?,
        Some(Reference::Id(id)) => load_by_id(store, &keys::image_id(symphony_core::id::ImageId::new(id))).await?,
        None => None,
    };
    Ok(found.filter(|found: &Stored<Record>| found.value.meta.project == *project))
}
