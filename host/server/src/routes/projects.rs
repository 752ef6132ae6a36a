//! Projects: tenants and their quotas.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use symphony_api::v1::{CreateProject, List, PatchProject, Project};
use symphony_api::{Code, Problem, convert};
use symphony_control::clock;
use symphony_core::event::{Event, Subject};
use symphony_core::name::Name;
use symphony_core::project::{DEFAULT, PROJECTS_MAX, Project as Record, QUOTA_MAX, Quota, Resource};
use symphony_core::token::{Token, TokenId, TokenKind};
use symphony_core::{keys, record};
use symphony_store::{Compare, Range, Revision, Store, Txn, read_all};

use super::{TRIES, again, crowded, object};
use crate::app::App;
use crate::event::{Records as _, event};
use crate::failure::{Answer, Failure};
use crate::input::{Check, IfMatch, Input, Params};
use crate::principal::By;
use crate::quota;
use crate::reading::{Order, PageQuery, Stored, map_list, page, project};

/// Most tokens that are revoked with a project.
const TOKENS_REVOKED_MAX: usize = 100;
/// Tokens that are read at once.
const PAGE: usize = 500;

/// Lists the projects; who is confined to one sees that one.
#[utoipa::path(get, path = "/v1/projects", tag = "projects", params(PageQuery), responses(
    (status = 200, description = "A page; `default` is on the first, wherever its name would be", body = List<Project>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(app): State<App>,
    By(principal): By,
    Params(query): Params<PageQuery>,
) -> Answer<Json<List<Project>>> {
    if query.labels.is_some() {
        let detail = "projects have no labels";
        return Err(Failure::field(Code::InvalidArgument, "labels", detail));
    }
    let visible = |name: &Name| principal.confined_to().is_none_or(|own| own == name);
    let wanted = |project: &Record| visible(&project.name);
    let list = page(&*app.store, keys::PROJECTS, &query, Order::Rising, wanted).await?;
    let mut list = map_list(list, |project| {
        convert::project(&project.value, None, project.revision.0)
    });
    if let (None, Ok(default)) = (&query.page_token, DEFAULT.parse::<Name>())
        && visible(&default)
        && let Some(implicit) = quota::find(&*app.store, &default).await?
        && implicit.revision == Revision::NONE
    {
        list.items.insert(0, convert::project(&implicit.value, None, 0));
    }
    Ok(Json(list))
}

/// Makes a project.
#[utoipa::path(post, path = "/v1/projects", tag = "projects",
    request_body = CreateProject,
    responses(
        (status = 201, description = "The project", body = Project),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(State(app): State<App>, Input(body): Input<CreateProject>) -> Answer<Response> {
    let mut check = Check::default();
    let name = check.take("/name", body.name.parse::<Name>());
    let limits = body
        .quota
        .into_iter()
        .map(|(name, limit)| (name, Some(limit)))
        .collect();
    let quota = changed(&mut check, Quota::default(), &limits);
    check.end()?;
    let name = name.ok_or_else(|| Failure::new(Code::InvalidArgument, "a value is not acceptable"))?;
    let taken = || {
        Failure::field(
            Code::AlreadyExists,
            "/name",
            format!("there is a project {name} already"),
        )
    };
    if name.as_str() == DEFAULT {
        return Err(taken());
    }
    let counted = app.store.range(Range::prefix(keys::PROJECTS).count_only()).await?;
    if counted.count.unwrap_or_default() >= PROJECTS_MAX {
        return Err(Failure::new(
            Code::Conflict,
            format!("there are at most {PROJECTS_MAX} projects"),
        ));
    }
    let project = Record {
        name: name.clone(),
        quota,
        created_at: clock::now(),
    };
    let key = keys::project(&name);
    let txn = Txn::new()
        .when(Compare::absent(&key))
        .record(key, &project)?
        .tell(&told("created", &name, "it was made"))?;
    symphony_crash::point("api.project.create.before_commit");
    let result = app.store.txn(txn).await?;
    symphony_crash::point("api.project.create.after_commit");
    if !result.succeeded {
        return Err(taken());
    }
    answer(
        &app,
        StatusCode::CREATED,
        &Stored {
            value: project,
            revision: result.revision,
        },
    )
    .await
}

/// Shows a project, with what it has.
#[utoipa::path(get, path = "/v1/projects/{project}", tag = "projects", params(("project" = String, Path)), responses(
    (status = 200, description = "The project", body = Project),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(State(app): State<App>, Path(name): Path<String>) -> Answer<Response> {
    let stored = find(&*app.store, &project(&name)?).await?;
    answer(&app, StatusCode::OK, &stored).await
}

/// Changes a project's quotas. What it has already stays, also when it is more than that.
#[utoipa::path(patch, path = "/v1/projects/{project}", tag = "projects",
    params(
        ("project" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    request_body = PatchProject,
    responses(
        (status = 200, description = "The project, changed", body = Project),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn patch(
    State(app): State<App>,
    Path(name): Path<String>,
    precondition: IfMatch,
    Input(body): Input<PatchProject>,
) -> Answer<Response> {
    let name = project(&name)?;
    for _ in 0..TRIES {
        let stored = find(&*app.store, &name).await?;
        precondition.check(stored.revision)?;
        let mut check = Check::default();
        let quota = changed(&mut check, stored.value.quota.clone(), &body.quota);
        check.end()?;
        if quota == stored.value.quota {
            return answer(&app, StatusCode::OK, &stored).await;
        }
        let mut next = Record { quota, ..stored.value };
        if stored.revision == Revision::NONE {
            next.created_at = clock::now();
        }
        let key = keys::project(&name);
        let txn = Txn::new()
            .when(Compare::mod_revision(&key, stored.revision))
            .record(key, &next)?
            .tell(&told("quota-changed", &name, "its quotas were changed"))?;
        symphony_crash::point("api.project.patch.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.project.patch.after_commit");
        if result.succeeded {
            let revision = result.revision;
            return answer(&app, StatusCode::OK, &Stored { value: next, revision }).await;
        }
        again(precondition)?;
    }
    Err(crowded())
}

/// Deletes a project that has nothing any more. Its tokens are revoked.
#[utoipa::path(delete, path = "/v1/projects/{project}", tag = "projects",
    params(
        ("project" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    responses(
        (status = 200, description = "What it was", body = Project),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
    precondition: IfMatch,
) -> Answer<Json<Project>> {
    let name = project(&name)?;
    if name.as_str() == DEFAULT {
        let detail = "the project default is always there; its quotas can be taken away";
        return Err(Failure::new(Code::Conflict, detail));
    }
    for _ in 0..TRIES {
        let stored = find(&*app.store, &name).await?;
        precondition.check(stored.revision)?;
        // Before its tokens are read: one that is made after that changes it.
        let (unchanged, mark) = quota::mark(&*app.store, &name).await?;
        let used = quota::count(&*app.store, &name, |_| true).await?;
        let words = used.in_words();
        if !words.is_empty() {
            let detail = format!("the project {name} still has {words}; delete them first");
            return Err(Failure::new(Code::HasResources, detail));
        }
        let tokens = tokens_of(&*app.store, &name).await?;
        let key = keys::project(&name);
        let mut txn = Txn::new()
            .when(Compare::mod_revision(&key, stored.revision))
            .when(unchanged)
            .delete(key)
            .delete(mark)
            .delete(keys::subnets(&name))
            .tell(&told("deleted", &name, "it was deleted"))?;
        for empty in [keys::machines_of, keys::volumes_of, keys::networks_of, keys::images_of] {
            txn = txn.when(Compare::none_under(empty(&name)));
        }
        for token in &tokens {
            txn = txn.delete(keys::token(*token));
        }
        symphony_crash::point("api.project.delete.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.project.delete.after_commit");
        if result.succeeded {
            for token in tokens {
                app.tokens.revoked(token, result.revision);
            }
            return Ok(Json(convert::project(&stored.value, Some(&used), stored.revision.0)));
        }
        again(precondition)?;
    }
    Err(crowded())
}

async fn find(store: &dyn Store, name: &Name) -> Answer<Stored<Record>> {
    quota::find(store, name).await?.ok_or_else(|| quota::missing(name))
}

async fn answer(app: &App, status: StatusCode, stored: &Stored<Record>) -> Answer<Response> {
    let used = quota::count(&*app.store, &stored.value.name, |_| true).await?;
    let revision = stored.revision.0;
    Ok(object(
        status,
        &convert::project(&stored.value, Some(&used), revision),
        revision,
    ))
}

/// A quota with some limits changed.
fn changed(check: &mut Check, mut quota: Quota, limits: &BTreeMap<String, Option<u64>>) -> Quota {
    for (name, limit) in limits {
        let pointer = format!("/quota/{name}");
        let Some(resource) = Resource::ALL.into_iter().find(|resource| resource.as_str() == name) else {
            let known = Resource::ALL.map(Resource::as_str).join(", ");
            check.wrong(&pointer, format!("there is no such quota; there are {known}"));
            continue;
        };
        if limit.is_some_and(|limit| limit > QUOTA_MAX) {
            check.wrong(&pointer, format!("it must be {QUOTA_MAX} at most; null takes it away"));
        }
        quota.set(resource, *limit);
    }
    quota
}

async fn tokens_of(store: &dyn Store, name: &Name) -> Answer<Vec<TokenId>> {
    let mut own = Vec::new();
    for kv in read_all(store, Range::prefix(keys::TOKENS), PAGE).await?.kvs {
        let token: Token = record::decode(&kv.value)?;
        if matches!(&token.kind, TokenKind::Api { project: Some(project), .. } if project == name) {
            own.push(token.id);
        }
    }
    if own.len() > TOKENS_REVOKED_MAX {
        let detail = format!("the project {name} still has {} tokens; revoke them first", own.len());
        return Err(Failure::new(Code::HasResources, detail));
    }
    Ok(own)
}

fn told(reason: &str, name: &Name, message: &str) -> Event {
    let subject = Subject {
        kind: "project".to_owned(),
        project: Some(name.clone()),
        name: name.to_string(),
        id: String::new(),
    };
    event(reason, subject, message)
}
