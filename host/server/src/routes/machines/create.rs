//! Making a machine: one transaction with its volumes and addresses, or none.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use symphony_api::v1::{self, CreateMachine};
use symphony_api::{Code, Problem, convert};
use symphony_core::keys;
use symphony_core::machine::Machine;
use symphony_core::name::Name;
use symphony_core::project::Usage;
use symphony_core::volume::Volume;
use symphony_store::{Store, Txn};

use super::draft::Draft;
use super::wanted::{Wanted, in_words};
use super::{parts, room};
use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::quota::{self, Room};
use crate::reading::{Stored, load};
use crate::routes::idempotency::{Replay, Ticket, answered};
use crate::routes::{TRIES, crowded, object};

/// Says where a machine would go with all that belongs to it, and what would be done there first.
pub(super) async fn preview(app: &App, project: &Name, body: &CreateMachine) -> Answer<Response> {
    let wanted = Wanted::read(body)?;
    quota::expect(&*app.store, project).await?;
    if is_taken(&*app.store, project, &wanted.name).await? {
        return Err(taken(&wanted.name, project));
    }
    let draft = wanted.draft(&*app.store, project, 0).await?;
    quota::for_new(&*app.store, project, &usage(&draft)).await?;
    let new: Vec<Volume> = draft.new.iter().map(|new| new.volume.clone()).collect();
    let answer = app.decisions()?.preview_machine(&draft.machine, &new).await?;
    let preview = answer.preview;
    let verdicts = convert::verdicts(&preview.verdicts);
    let Some(chosen) = preview.chosen else {
        // What would be refused is refused here too.
        room::refuse_if_too_large(&*app.store, wanted.size).await?;
        let size = in_words(wanted.size);
        let detail = format!(
            "none of {} candidates takes a machine of {size}; it would wait",
            verdicts.len()
        );
        return Err(Problem::new(Code::Unplaceable, detail).with_verdicts(verdicts).into());
    };
    let step = |step: symphony_control::PlannedStep| v1::PlannedStep {
        kind: step.kind,
        name: step.name,
        action: step.action,
    };
    Ok(Json(v1::MachinePreview {
        placement: v1::Preview {
            node: chosen.node,
            pool: chosen.pool,
            score: chosen.score,
            decided_by: convert::decider(&preview.decided_by),
            verdicts,
            revision: preview.revision.0,
        },
        parts: parts::of_draft(&draft),
        steps: answer.steps.into_iter().map(step).collect(),
    })
    .into_response())
}

/// Stores a machine. The same key with the same body stores it once.
pub(super) async fn create(app: &App, project: &Name, body: &CreateMachine, key: Option<&str>) -> Answer<Response> {
    let wanted = Wanted::read(body)?;
    quota::expect(&*app.store, project).await?;
    let ticket = Ticket::new("machine", project, key, body)?;
    for attempt in 0..TRIES {
        let kept = match &ticket {
            Some(ticket) => match ticket.look(&*app.store).await? {
                Replay::Known(stored) => return Ok(created(&stored)),
                Replay::New(unanswered) => Some((ticket, unanswered)),
            },
            None => None,
        };
        if is_taken(&*app.store, project, &wanted.name).await? {
            match answered(ticket.as_ref(), &*app.store).await? {
                Some(stored) => return Ok(created(&stored)),
                None => return Err(taken(&wanted.name, project)),
            }
        }
        let (draft, room) = match with_room(app, project, &wanted, attempt).await {
            Ok(drafted) => drafted,
            // The same request, sent twice at once, may have taken what this one does not find any more.
            Err(failure) => match answered(ticket.as_ref(), &*app.store).await? {
                Some(stored) => return Ok(created(&stored)),
                None => return Err(failure),
            },
        };
        // All nodes are looked at for that, so only once.
        if attempt == 0 {
            room::refuse_if_too_large(&*app.store, wanted.size).await?;
        }
        let mut txn = draft.store(room.hold(Txn::new()))?;
        if let Some((ticket, unanswered)) = kept {
            txn = ticket.keep(txn, unanswered, &draft.machine)?;
        }
        symphony_crash::point("api.machine.create.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.machine.create.after_commit");
        if result.succeeded {
            return Ok(created(&Stored {
                value: draft.machine,
                revision: result.revision,
            }));
        }
        // Something that it rests on changed: an address, a volume, an image, a network. All of it is looked at again.
    }
    Err(crowded())
}

async fn with_room(app: &App, project: &Name, wanted: &Wanted<'_>, attempt: u32) -> Answer<(Draft, Room)> {
    let draft = wanted.draft(&*app.store, project, attempt).await?;
    let room = quota::for_new(&*app.store, project, &usage(&draft)).await?;
    Ok((draft, room))
}

/// What it and its new volumes use.
fn usage(draft: &Draft) -> Usage {
    let new = draft.new.iter().map(|new| Usage::of_volume(&new.volume));
    new.fold(Usage::of_machine(&draft.machine), |sum, volume| sum.and(&volume))
}

async fn is_taken(store: &dyn Store, project: &Name, name: &Name) -> Answer<bool> {
    Ok(load::<Machine>(store, &keys::machine(project, name)).await?.is_some())
}

fn created(stored: &Stored<Machine>) -> Response {
    let mut response = object(StatusCode::CREATED, &super::wire(stored), stored.revision.0);
    let meta = &stored.value.meta;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/projects/{}/machines/{}", meta.project, meta.name)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn taken(name: &Name, project: &Name) -> Failure {
    Failure::field(
        Code::AlreadyExists,
        "/name",
        format!("there is a machine {name} in project {project} already"),
    )
}
