//! What is done to every request and answer: an id, one form for all errors, counts, and a wall before panics.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use symphony_api::{Code, Problem};
use symphony_control::clock;

use crate::app::App;
use crate::audit::Line;
use crate::failure::{Failure, problem_response};
use crate::gate::{Seen, project_of};
use crate::linger::linger;
use crate::peer::Peer;
use crate::rights::Right;

/// Names a request in answers and in the log; taken from the client when it gives one.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Runs the rest, and finishes what it answers.
pub(crate) async fn finish(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let peer = request.extensions().get::<Peer>().cloned();
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", |path| path.as_str())
        .to_owned();
    let begun = Instant::now();
    let answer = AssertUnwindSafe(next.run(linger(request))).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_| {
        tracing::error!(%method, path, request_id = id, "a handler panicked");
        Failure::new(
            Code::Internal,
            "the request met a fault of the manager; its log has more",
        )
        .into_response()
    });
    let seen = response.extensions_mut().remove::<Seen>();
    if response.status().is_client_error() || response.status().is_server_error() {
        response = as_problem(response, &path, &id);
    }
    let status = response.status();
    app.metrics.answered(&method, &route, status.as_u16(), begun.elapsed());
    if is_audited(&method, &route, status, seen.as_ref()) {
        app.audit.write(Line {
            time: clock::now(),
            request_id: id.clone(),
            principal: seen.map_or_else(|| "-".to_owned(), |seen| seen.who),
            remote: peer.map(|peer| peer.address()),
            method: method.to_string(),
            project: project_of(&path).map(str::to_owned),
            path: path.clone(),
            status: status.as_u16(),
            revision: revision(response.headers()),
        });
    }
    tracing::debug!(%method, path, status = status.as_u16(), request_id = id, "answered");
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// What is read there is all secrets of the cluster.
const BACKUP: &str = "/v1/backup";

/// Every write and every refusal, who was at a console, and who took a backup. An agent's session is no write.
fn is_audited(method: &Method, route: &str, status: StatusCode, seen: Option<&Seen>) -> bool {
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    match seen.and_then(|seen| seen.right) {
        _ if refused || route == BACKUP => true,
        Some(Right::Agent) => false,
        Some(Right::Write) => true,
        _ => !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS),
    }
}

fn revision(headers: &HeaderMap) -> Option<u64> {
    let etag = headers.get(header::ETAG)?.to_str().ok()?;
    etag.trim_matches('"').parse().ok()
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let good =
        |id: &&str| !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.chars().all(|c| c.is_ascii_graphic());
    given
        .filter(good)
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

/// Puts path and id into a problem, and makes a problem of an error that is none yet (those of the router).
fn as_problem(mut response: Response, path: &str, id: &str) -> Response {
    let mut problem = match response.extensions_mut().remove::<Failure>() {
        Some(failure) => *failure.0,
        None => foreign(response.status(), path),
    };
    path.clone_into(&mut problem.instance);
    id.clone_into(&mut problem.request_id);
    let mut finished = problem_response(&problem);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        finished.headers_mut().insert(header::ALLOW, allow.clone());
    }
    *response.body_mut() = Body::empty();
    finished
}

fn foreign(status: StatusCode, path: &str) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::new(
            Code::NotFound,
            format!("there is nothing at {path}; /openapi.json names all paths"),
        ),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            Code::MethodNotAllowed,
            format!("{path} does not take this method; see the header `Allow`"),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::TooLarge, "the body is over the limit"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(Code::UnsupportedMediaType, "the content type is not taken here")
        }
        status if status.is_client_error() => {
            Problem::new(Code::InvalidArgument, "the request's path or headers can't be read")
        }
        _ => Problem::new(
            Code::Internal,
            "the request met a fault of the manager; its log has more",
        ),
    }
}
