//! Slots: which plugin serves where.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use symphony_api::v1::{Activate, List, Slot};
use symphony_api::{Code, Problem, convert};
use symphony_core::keys;
use symphony_core::plugin::{Activation, Plugin, Slot as Name};
use symphony_store::Store;

use super::{object, plugins};
use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::Input;
use crate::reading::load;

/// Largest configuration of a plugin, in bytes.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// Lists the slots: all there are, whether anything serves in them or not.
#[utoipa::path(get, path = "/v1/slots", tag = "slots", responses(
    (status = 200, description = "All slots", body = List<Slot>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(app): State<App>) -> Answer<Json<List<Slot>>> {
    let revision = app.store.status().await?.revision.0;
    let mut items = Vec::new();
    for slot in Name::ALL {
        items.push(read(&*app.store, slot).await?);
    }
    Ok(Json(List {
        items,
        next_page_token: None,
        revision,
    }))
}

/// Shows a slot.
#[utoipa::path(get, path = "/v1/slots/{role}/{kind}", tag = "slots", params(("role" = String, Path), ("kind" = String, Path)), responses(
    (status = 200, description = "The slot", body = Slot),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(State(app): State<App>, Path((role, kind)): Path<(String, String)>) -> Answer<Response> {
    answer(&app, parse(&role, &kind)?).await
}

/// Lets a plugin serve in a slot. It is loaded and configured before anything changes; work under way ends on the old
/// one, and the answer comes when the new one serves.
#[utoipa::path(post, path = "/v1/slots/{role}/{kind}/activate", tag = "slots",
    params(("role" = String, Path), ("kind" = String, Path)), request_body = Activate,
    responses(
        (status = 200, description = "The slot, changed", body = Slot),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn activate(
    State(app): State<App>,
    Path((role, kind)): Path<(String, String)>,
    Input(body): Input<Activate>,
) -> Answer<Response> {
    let slot = parse(&role, &kind)?;
    let config = match body.config {
        None => "{}".to_owned(),
        Some(config) if config.is_object() => config.to_string(),
        Some(_) => return Err(Failure::field(Code::InvalidArgument, "/config", "it must be an object")),
    };
    if config.len() > CONFIG_BYTES_MAX {
        return Err(Failure::field(
            Code::InvalidArgument,
            "/config",
            format!("it may have {CONFIG_BYTES_MAX} bytes at most"),
        ));
    }
    let plugin = plugins::find(&*app.store, &body.plugin).await?;
    app.decisions()?.activate(slot, plugin.value.digest, &config).await?;
    answer(&app, slot).await
}

/// Lets what served before serve again.
#[utoipa::path(post, path = "/v1/slots/{role}/{kind}/rollback", tag = "slots",
    params(("role" = String, Path), ("kind" = String, Path)),
    responses(
        (status = 200, description = "The slot, changed", body = Slot),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rollback(State(app): State<App>, Path((role, kind)): Path<(String, String)>) -> Answer<Response> {
    let slot = parse(&role, &kind)?;
    app.decisions()?.rollback(slot).await?;
    answer(&app, slot).await
}

fn parse(role: &str, kind: &str) -> Answer<Name> {
    format!("{role}/{kind}")
        .parse()
        .map_err(|error| Failure::new(Code::NotFound, format!("{error}")))
}

async fn answer(app: &App, slot: Name) -> Answer<Response> {
    let slot = read(&*app.store, slot).await?;
    Ok(object(StatusCode::OK, &slot, slot.revision))
}

async fn read(store: &dyn Store, slot: Name) -> Answer<Slot> {
    let Some(activation) = load::<Activation>(store, &keys::activation(slot)).await? else {
        return Ok(convert::slot(slot, None, None, 0));
    };
    let label = label(store, &activation.value).await?;
    Ok(convert::slot(
        slot,
        Some(&activation.value),
        label,
        activation.revision.0,
    ))
}

/// `name@version` of what serves.
pub(super) async fn label(store: &dyn Store, activation: &Activation) -> Answer<Option<String>> {
    let Some(digest) = activation.active else {
        return Ok(None);
    };
    let plugin = load::<Plugin>(store, &keys::plugin(&digest)).await?;
    Ok(plugin.map(|plugin| format!("{}@{}", plugin.value.name, plugin.value.version)))
}
