//! Plugins: uploads and what is known of them.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use symphony_api::v1::{List, Plugin};
use symphony_api::{Code, Problem, convert};
use symphony_core::digest::Digest;
use symphony_core::plugin::{Activation, COMPONENT_BYTES_MAX, Plugin as Record, Slot};
use symphony_core::{keys, record};
use symphony_store::{Range, Store, read_all};

use super::object;
use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::{Params, collect, content_type};
use crate::reading::{Order, PageQuery, Stored, load, map_list, page};

/// Fewest digits of a digest that name a plugin.
const DIGITS_MIN: usize = 8;

/// Lists the plugins, in the order of their digests.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins", params(PageQuery), responses(
    (status = 200, description = "A page", body = List<Plugin>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(app): State<App>, Params(query): Params<PageQuery>) -> Answer<Json<List<Plugin>>> {
    if query.labels.is_some() {
        return Err(Failure::field(
            Code::InvalidArgument,
            "labels",
            "plugins have no labels",
        ));
    }
    let list = page::<Record>(&*app.store, keys::PLUGINS, &query, Order::Rising, |_| true).await?;
    let active = active_in(&*app.store).await?;
    Ok(Json(map_list(list, |plugin| wire(&plugin, &active))))
}

/// Uploads a component of at most 32 MiB. It is checked, compiled and tried; it serves once it is activated. The same
/// bytes again are the same plugin.
#[utoipa::path(post, path = "/v1/plugins", tag = "plugins",
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses(
        (status = 201, description = "Taken in", body = Plugin),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn push(State(app): State<App>, request: Request) -> Answer<Response> {
    content_type(request.headers(), &["application/wasm"])?;
    let busy = |_| {
        Failure::new(
            Code::TooManyRequests,
            "as many plugins as may be are being uploaded; try again",
        )
    };
    let seat = app.seats.plugin_uploads.clone().try_acquire_owned().map_err(busy)?;
    let bytes = collect(request, COMPONENT_BYTES_MAX, app.limits.upload_silence).await?;
    // Goes on to its end when the client goes away, so that nothing is left half taken in.
    let decisions = app.decisions()?;
    let taking = app.tasks.spawn(async move {
        let plugin = decisions.upload_plugin(bytes.into()).await;
        drop(seat);
        plugin
    });
    let failed = |_| {
        Failure::new(
            Code::Internal,
            "the upload met a fault of the manager; its log has more",
        )
    };
    let plugin = taking.await.map_err(failed)??;
    let stored = load::<Record>(&*app.store, &keys::plugin(&plugin.digest)).await?;
    let stored = stored.unwrap_or(Stored {
        value: plugin,
        revision: symphony_store::Revision::NONE,
    });
    let plugin = wire(&stored, &active_in(&*app.store).await?);
    Ok(object(StatusCode::CREATED, &plugin, plugin.revision))
}

/// Shows a plugin: by name (its newest upload), `name@version`, or digest (at least 8 digits of it).
#[utoipa::path(get, path = "/v1/plugins/{plugin}", tag = "plugins",
    params(("plugin" = String, Path, description = "Name, name@version or digest")),
    responses(
        (status = 200, description = "The plugin", body = Plugin),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(State(app): State<App>, Path(reference): Path<String>) -> Answer<Response> {
    let stored = find(&*app.store, &reference).await?;
    let plugin = wire(&stored, &active_in(&*app.store).await?);
    Ok(object(StatusCode::OK, &plugin, plugin.revision))
}

pub(super) fn wire(stored: &Stored<Record>, active: &HashMap<Digest, Vec<String>>) -> Plugin {
    let active_in = active.get(&stored.value.digest).cloned().unwrap_or_default();
    convert::plugin(&stored.value, active_in, stored.revision.0)
}

/// In which slots each plugin serves.
pub(super) async fn active_in(store: &dyn Store) -> Answer<HashMap<Digest, Vec<String>>> {
    let mut active: HashMap<Digest, Vec<String>> = HashMap::new();
    for slot in Slot::ALL {
        let activation = load::<Activation>(store, &keys::activation(slot)).await?;
        if let Some(digest) = activation.and_then(|activation| activation.value.active) {
            active.entry(digest).or_default().push(slot.to_string());
        }
    }
    Ok(active)
}

/// The plugin that a reference names.
pub(super) async fn find(store: &dyn Store, reference: &str) -> Answer<Stored<Record>> {
    if let Ok(digest) = reference.parse::<Digest>() {
        let found = load(store, &keys::plugin(&digest)).await?;
        return found.ok_or_else(|| Failure::missing("plugin", reference));
    }
    let mut fitting = Vec::new();
    for kv in read_all(store, Range::prefix(keys::PLUGINS), 500).await?.kvs {
        let plugin: Record = record::decode(&kv.value)?;
        if is_named(&plugin, reference) {
            fitting.push(Stored {
                value: plugin,
                revision: kv.mod_revision,
            });
        }
    }
    // Names and versions may be uploaded again with other bytes: the newest upload is meant. A digest is never guessed.
    let by_name = fitting.iter().filter(|plugin| !has_digits(&plugin.value, reference));
    if let Some(newest) = by_name.max_by_key(|plugin| (plugin.value.uploaded_at, plugin.value.id)) {
        return Ok(newest.clone());
    }
    match fitting.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::missing("plugin", reference)),
        several => {
            let names = several
                .iter()
                .map(|plugin| plugin.value.digest.short())
                .collect::<Vec<_>>()
                .join(", ");
            Err(Failure::new(
                Code::Conflict,
                format!("{reference:?} may be any of {names}: write more digits"),
            ))
        }
    }
}

fn is_named(plugin: &Record, reference: &str) -> bool {
    let by_name = match reference.split_once('@') {
        Some((name, version)) => plugin.name.as_str() == name && plugin.version == version,
        None => plugin.name.as_str() == reference,
    };
    by_name || has_digits(plugin, reference)
}

fn has_digits(plugin: &Record, reference: &str) -> bool {
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    digits.len() >= DIGITS_MIN && plugin.digest.hex().starts_with(&digits.to_ascii_lowercase())
}
