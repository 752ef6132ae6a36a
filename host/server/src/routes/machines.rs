//! Machines.

mod addresses;
mod change;
mod create;
mod disks;
mod draft;
pub(super) mod orders;
mod parts;
pub(super) mod ports;
mod room;
pub(super) mod volumes;
mod wanted;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use symphony_api::v1::{CreateMachine, List, Machine, MachineExplanation, MachinePreview, PatchMachine};
use symphony_api::{Problem, convert, v1};
use symphony_core::id::MachineId;
use symphony_core::keys;
use symphony_core::machine::Machine as Record;
use symphony_core::name::Name;
use symphony_store::Store;

use super::object;
use super::volumes::CreateQuery;
use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::{IdempotencyKey, IfMatch, Input, Params};
use crate::reading::{Order, PageQuery, Reference, Stored, load, load_by_id, map_list, page, project};

use change::DeleteQuery;

/// Lists the machines of a project.
#[utoipa::path(get, path = "/v1/projects/{project}/machines", tag = "machines", params(("project" = String, Path), PageQuery), responses(
    (status = 200, description = "A page", body = List<Machine>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(app): State<App>,
    Path(project_text): Path<String>,
    Params(query): Params<PageQuery>,
) -> Answer<Json<List<Machine>>> {
    let (project, selector) = (project(&project_text)?, query.selector()?);
    let wanted = |machine: &Record| machine.meta.labels.covers(&selector).is_ok();
    let list = page(&*app.store, &keys::machines_of(&project), &query, Order::Rising, wanted).await?;
    Ok(Json(map_list(list, |stored| wire(&stored))))
}

/// Asks for a machine, with its new volumes and its addresses. It is stored, then placed, then made: `status.phase` tells
/// how far it is. With `dry_run` nothing is stored, and the answer says where it would go and what would be done there.
#[utoipa::path(
    post, path = "/v1/projects/{project}/machines", tag = "machines",
    params(
        ("project" = String, Path),
        CreateQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request one, for 24 hours"),
    ),
    request_body = CreateMachine,
    responses(
        (status = 201, description = "Stored", body = Machine),
        (status = 200, description = "With `dry_run`: where it would go", body = MachinePreview),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    Path(project_text): Path<String>,
    Params(query): Params<CreateQuery>,
    IdempotencyKey(key): IdempotencyKey,
    Input(body): Input<CreateMachine>,
) -> Answer<Response> {
    let project = project(&project_text)?;
    if query.dry_run {
        create::preview(&app, &project, &body).await
    } else {
        create::create(&app, &project, &body, key.as_deref()).await
    }
}

/// Shows a machine, by name or id.
#[utoipa::path(get, path = "/v1/projects/{project}/machines/{machine}", tag = "machines",
    params(("project" = String, Path), ("machine" = String, Path, description = "Name or id")),
    responses(
        (status = 200, description = "The machine", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
) -> Answer<Response> {
    Ok(changed(&find(&*app.store, &project(&project_text)?, &name).await?))
}

/// Changes a machine: its labels, whether it runs, what happens when it dies, and, while it is off, its size.
#[utoipa::path(patch, path = "/v1/projects/{project}/machines/{machine}", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    request_body = PatchMachine,
    responses(
        (status = 200, description = "The machine, changed", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn patch(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    precondition: IfMatch,
    Input(body): Input<PatchMachine>,
) -> Answer<Response> {
    let patch = change::Patch::read(&body)?;
    let stored = change::change(&app, &project(&project_text)?, &name, precondition, &patch).await?;
    Ok(changed(&stored))
}

/// Asks for a machine's end, in whatever phase it is. It is gone when it is not found any more.
#[utoipa::path(delete, path = "/v1/projects/{project}/machines/{machine}", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        DeleteQuery,
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    responses(
        (status = 202, description = "The machine, on its way out", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    Params(query): Params<DeleteQuery>,
    precondition: IfMatch,
) -> Answer<Response> {
    let delete = change::Delete { volumes: query.volumes };
    let stored = change::change(&app, &project(&project_text)?, &name, precondition, &delete).await?;
    Ok(object(StatusCode::ACCEPTED, &wire(&stored), stored.revision.0))
}

/// Says why a machine is where it is, or nowhere: every node by name, and how each of its parts is.
#[utoipa::path(get, path = "/v1/projects/{project}/machines/{machine}/explanation", tag = "machines",
    params(("project" = String, Path), ("machine" = String, Path, description = "Name or id")),
    responses(
        (status = 200, description = "The explanation", body = MachineExplanation),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn explanation(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
) -> Answer<Json<MachineExplanation>> {
    let machine = find(&*app.store, &project(&project_text)?, &name).await?.value;
    let explained = app.decisions()?.explain_machine(&machine).await?;
    let preview = explained.preview;
    let (node, score) = match preview.chosen {
        Some(chosen) => (Some(chosen.node), Some(chosen.score)),
        None => (None, None),
    };
    Ok(Json(MachineExplanation {
        machine: machine.meta.name.to_string(),
        machine_id: machine.meta.id.uuid(),
        as_of: match explained.as_of {
            symphony_control::AsOf::Decision => v1::AsOf::Decision,
            symphony_control::AsOf::Now => v1::AsOf::Now,
        },
        decided_by: convert::decider(&preview.decided_by),
        node,
        score,
        verdicts: convert::verdicts(&preview.verdicts),
        parts: parts::of_machine(&*app.store, &machine).await?,
        revision: preview.revision.0,
    }))
}

fn wire(stored: &Stored<Record>) -> Machine {
    convert::machine(&stored.value, stored.revision.0)
}

/// A machine as it is now.
fn changed(stored: &Stored<Record>) -> Response {
    object(StatusCode::OK, &wire(stored), stored.revision.0)
}

/// A machine of a project, by name or id.
pub(super) async fn find(store: &dyn Store, project: &Name, name: &str) -> Answer<Stored<Record>> {
    let found = match Reference::parse(name) {
        Some(Reference::Name(name)) => load(store, &keys::machine(project, &name)).await?,
        Some(Reference::Id(id)) => load_by_id(store, &keys::machine_id(MachineId::new(id))).await?,
        None => None,
    };
    let own = found.filter(|found: &Stored<Record>| found.value.meta.project == *project);
    own.ok_or_else(|| Failure::missing("machine", name))
}
