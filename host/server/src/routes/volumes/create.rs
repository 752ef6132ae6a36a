//! Making a volume: one transaction, or none.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use symphony_api::v1::{CreateVolume, Preview};
use symphony_api::{Code, Problem, convert};
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::place::Request;
use symphony_core::project::Usage;
use symphony_core::volume::Volume;
use symphony_store::{Compare, Txn};
use utoipa::IntoParams;

use super::draft::{Draft, Wanted};
use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::quota;
use crate::reading::{Stored, load};
use crate::routes::idempotency::{Replay, Ticket, answered};
use crate::routes::{TRIES, crowded, object};

/// How a volume is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CreateQuery {
    /// Checks and schedules, and stores nothing.
    #[serde(default)]
    pub(in crate::routes) dry_run: bool,
}

/// Says where a volume would go.
pub(super) async fn preview(app: &App, project: &Name, body: &CreateVolume) -> Answer<Response> {
    let wanted = Wanted::read(body)?;
    quota::expect(&*app.store, project).await?;
    let draft = wanted.draft(&*app.store, project).await?;
    quota::for_new(&*app.store, project, &Usage::of_volume(&draft.volume)).await?;
    if load::<Volume>(&*app.store, &keys::volume(project, &wanted.name))
        .await?
        .is_some()
    {
        return Err(taken(&wanted.name, project));
    }
    let preview = app.decisions()?.preview(Request::of(&draft.volume)).await?;
    let verdicts = convert::verdicts(&preview.verdicts);
    let Some(chosen) = preview.chosen else {
        let detail = format!(
            "none of {} candidates takes a volume of {}; it would wait",
            verdicts.len(),
            draft.volume.spec.size
        );
        return Err(Problem::new(Code::Unplaceable, detail).with_verdicts(verdicts).into());
    };
    let preview = Preview {
        node: chosen.node,
        pool: chosen.pool,
        score: chosen.score,
        decided_by: convert::decider(&preview.decided_by),
        verdicts,
        revision: preview.revision.0,
    };
    Ok(Json(preview).into_response())
}

/// Stores a volume. The same key with the same body stores it once.
pub(super) async fn create(app: &App, project: &Name, body: &CreateVolume, key: Option<String>) -> Answer<Response> {
    let wanted = Wanted::read(body)?;
    quota::expect(&*app.store, project).await?;
    let ticket = Ticket::new("volume", project, key.as_deref(), body)?;
    let volume_key = keys::volume(project, &wanted.name);
    for _ in 0..TRIES {
        let kept = match &ticket {
            Some(ticket) => match ticket.look(&*app.store).await? {
                Replay::Known(stored) => return Ok(created(&stored)),
                Replay::New(unanswered) => Some((ticket, unanswered)),
            },
            None => None,
        };
        let draft = wanted.draft(&*app.store, project).await?;
        let room = match quota::for_new(&*app.store, project, &Usage::of_volume(&draft.volume)).await {
            Ok(room) => room,
            // The same request, sent twice at once, may be what has taken the last of it.
            Err(failure) => match answered(ticket.as_ref(), &*app.store).await? {
                Some(stored) => return Ok(created(&stored)),
                None => return Err(failure),
            },
        };
        let mut txn = put_new(room.hold(Txn::new()), &draft)?;
        if let Some((ticket, unanswered)) = kept {
            txn = ticket.keep(txn, unanswered, &draft.volume)?;
        }
        symphony_crash::point("api.volume.create.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.volume.create.after_commit");
        if result.succeeded {
            return Ok(created(&Stored {
                value: draft.volume,
                revision: result.revision,
            }));
        }
        // Either the name is taken, or the image or the key changed under it: those are looked at again.
        let same_name = load::<Volume>(&*app.store, &volume_key).await?;
        if same_name.is_some() && answered::<Volume>(ticket.as_ref(), &*app.store).await?.is_none() {
            return Err(taken(&wanted.name, project));
        }
    }
    Err(crowded())
}

/// Adds a new volume to a transaction, with all that is written for it.
pub(in crate::routes) fn put_new(txn: Txn, draft: &Draft) -> Answer<Txn> {
    let volume = &draft.volume;
    let (key, id) = (keys::volume(&volume.meta.project, &volume.meta.name), volume.meta.id);
    let mut txn = txn.when(Compare::absent(&key)).record(key.clone(), volume)?;
    txn = txn.put(keys::volume_id(id), key.as_bytes().to_vec());
    if let (Some(source), Some((image, revision))) = (&volume.spec.source, &draft.image) {
        txn = txn.when(Compare::mod_revision(image, *revision));
        txn = txn.put(keys::image_use(&source.digest, id), key.into_bytes());
    }
    let message = match &volume.spec.source {
        Some(source) => format!("{} from image {} was asked for", volume.spec.size, source.image),
        None => format!("{} was asked for", volume.spec.size),
    };
    Ok(txn.tell(&event("created", about("volume", &volume.meta), message))?)
}

fn created(stored: &Stored<Volume>) -> Response {
    let mut response = object(StatusCode::CREATED, &super::wire(stored), stored.revision.0);
    let meta = &stored.value.meta;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/projects/{}/volumes/{}", meta.project, meta.name)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn taken(name: &Name, project: &Name) -> Failure {
    Failure::field(
        Code::AlreadyExists,
        "/name",
        format!("there is a volume {name} in project {project} already"),
    )
}
