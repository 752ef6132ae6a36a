//! Tokens: made, listed, revoked. The text of one is in one answer, and nowhere else.

mod wanted;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use symphony_api::v1::{CreateToken, CreatedToken, List, Token};
use symphony_api::{Code, Problem, convert};
use symphony_control::clock;
use symphony_control::members::MemberError;
use symphony_core::digest::Digest;
use symphony_core::event::{Event, Subject};
use symphony_core::keys;
use symphony_core::name::Name;
use symphony_core::token::{CA_BYTES, SECRET_BYTES, TOKENS_MAX, Token as Record, TokenId, TokenKind, TokenText};
use symphony_store::{Compare, Range, Txn, read_all};

use super::enrol::problem;
use super::{TRIES, crowded};
use crate::app::App;
use crate::event::{Records as _, event};
use crate::failure::{Answer, Failure};
use crate::input::{Input, Params};
use crate::principal::By;
use crate::quota;
use crate::reading::{Order, PageQuery, Stored, load, map_list, page};
use wanted::Wanted;

/// How long a token is kept that is of no use any more, in hours: long enough to see why somebody is not let in.
const KEPT_HOURS: i64 = 24;
/// Most of those that go with one new token.
const SWEPT_MAX: usize = 50;
/// Tokens that are read at once.
const PAGE: usize = 500;

/// Lists the tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(PageQuery), responses(
    (status = 200, description = "A page", body = List<Token>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(app): State<App>, Params(query): Params<PageQuery>) -> Answer<Json<List<Token>>> {
    if query.labels.is_some() {
        return Err(Failure::field(Code::InvalidArgument, "labels", "tokens have no labels"));
    }
    let list = page::<Record>(&*app.store, keys::TOKENS, &query, Order::Rising, |_| true).await?;
    let now = clock::now();
    Ok(Json(map_list(list, |token| {
        convert::token(&token.value, token.revision.0, now)
    })))
}

/// Makes a token: for a process that joins (`block`, `image`, `compute`, `network`), used once and within 15 minutes when
/// nothing else is said; or for the API (`viewer`, `member`, `operator`, `admin`). Only this answer has its text.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens",
    request_body = CreateToken,
    responses(
        (status = 201, description = "The token, with its text", body = CreatedToken),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    By(principal): By,
    Input(body): Input<CreateToken>,
) -> Answer<Response> {
    let wanted = Wanted::read(&body)?;
    let text = new_text(&app).await?;
    let now = clock::now();
    let token = Record {
        id: text.id(),
        kind: wanted.kind,
        name: wanted.name,
        secret_sha256: Digest::new(Sha256::digest(text.secret_hex().as_bytes()).into()),
        expires_at: wanted
            .lasts
            .map(|lasts| now.saturating_add(lasts))
            .transpose()
            .map_err(|_| too_long())?,
        uses_left: wanted.uses,
        created_by: principal.who.clone(),
        created_at: now,
    };
    let key = keys::token(token.id);
    for _ in 0..TRIES {
        let mut txn = Txn::new().when(Compare::absent(&key)).record(key.clone(), &token)?;
        if let TokenKind::Api {
            project: Some(name), ..
        } = &token.kind
        {
            txn = of_project(&app, name, txn).await?;
        }
        for old in useless(&app).await? {
            txn = txn.delete(keys::token(old));
        }
        let txn = txn.tell(&told(
            "token-created",
            &token,
            format!("a token for the role {} was made", token.kind.role_str()),
        ))?;
        symphony_crash::point("api.token.create.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.token.create.after_commit");
        if result.succeeded {
            app.tokens.made(token.clone(), result.revision);
            let created = CreatedToken {
                token: convert::token(&token, result.revision.0, now),
                text: text.to_string(),
            };
            // Nothing on the way may keep it.
            let headers = [(header::CACHE_CONTROL, "no-store")];
            return Ok((StatusCode::CREATED, headers, Json(created)).into_response());
        }
    }
    Err(crowded())
}

/// Revokes a token: whoever has it is not let in any more, and what they have open ends. A member that joined with it stays.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "What it was", body = Token),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Token>> {
    let missing = || Failure::missing("token", &id);
    let known: TokenId = id.parse().map_err(|_| missing())?;
    let key = keys::token(known);
    for _ in 0..TRIES {
        let stored: Stored<Record> = load(&*app.store, &key).await?.ok_or_else(missing)?;
        let message = format!("the token for the role {} was revoked", stored.value.kind.role_str());
        let txn = Txn::new()
            .when(Compare::mod_revision(&key, stored.revision))
            .delete(key.clone())
            .tell(&told("token-revoked", &stored.value, message))?;
        symphony_crash::point("api.token.revoke.before_commit");
        let result = app.store.txn(txn).await?;
        symphony_crash::point("api.token.revoke.after_commit");
        if result.succeeded {
            app.tokens.revoked(known, result.revision);
            return Ok(Json(convert::token(&stored.value, stored.revision.0, clock::now())));
        }
    }
    Err(crowded())
}

/// A token for a project rests on it: the project's end takes all its tokens with it.
async fn of_project(app: &App, name: &Name, txn: Txn) -> Answer<Txn> {
    let found = quota::find(&*app.store, name).await?;
    let project = found.ok_or_else(|| quota::missing(name))?;
    let (unchanged, mark) = quota::mark(&*app.store, name).await?;
    let txn = txn.when(Compare::mod_revision(keys::project(name), project.revision));
    Ok(txn.when(unchanged).put(mark, Vec::new()))
}

async fn new_text(app: &App) -> Answer<TokenText> {
    let no_random = |_| Failure::new(Code::Internal, "this server gives no random numbers");
    let id = symphony_pki::random().map_err(no_random)?;
    let secret = symphony_pki::random::<SECRET_BYTES>().map_err(no_random)?;
    // That of now: another one may issue since this manager started.
    let ca = match app.members.authority_sha256().await {
        Ok(sha256) => Some(sha256),
        Err(MemberError::NoCluster) => None,
        Err(error) => return Err(problem(&error)),
    };
    let ca = ca.map(|sha256| {
        let mut half = [0; CA_BYTES];
        half.copy_from_slice(&sha256[..CA_BYTES]);
        half
    });
    Ok(TokenText::new(TokenId::new(id), secret, ca))
}

/// Tokens that have been of no use for a while; refuses when there are too many that are.
async fn useless(app: &App) -> Answer<Vec<TokenId>> {
    let all = read_all(&*app.store, Range::prefix(keys::TOKENS), PAGE).await?.kvs;
    let now = clock::now();
    let mut old = Vec::new();
    for kv in &all {
        let token: Record = symphony_core::record::decode(&kv.value)?;
        // When a token was used is not kept, so a used one goes by when it would have expired or was made.
        let end = token.expires_at.unwrap_or(token.created_at);
        let is_old = token.usable(now).is_err() && now.duration_since(end).as_hours() >= KEPT_HOURS;
        if is_old && old.len() < SWEPT_MAX {
            old.push(token.id);
        }
    }
    if all.len() - old.len() >= TOKENS_MAX {
        let detail = format!("there are at most {TOKENS_MAX} tokens; revoke some");
        return Err(Failure::new(Code::Conflict, detail));
    }
    Ok(old)
}

fn too_long() -> Failure {
    Failure::field(
        Code::InvalidArgument,
        "/expires_in_seconds",
        "it ends after the end of the calendar",
    )
}

fn told(reason: &str, token: &Record, message: String) -> Event {
    let project = match &token.kind {
        TokenKind::Api { project, .. } => project.clone(),
        TokenKind::Join { .. } => None,
    };
    let name = if token.name.is_empty() {
        token.id.to_string()
    } else {
        token.name.clone()
    };
    let subject = Subject {
        kind: "token".to_owned(),
        project,
        name,
        id: token.id.to_string(),
    };
    event(reason, subject, message)
}
