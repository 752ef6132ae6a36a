//! Requests that need the loops, on a manager that does not lead: handed on to the leader over mutual TLS, with the token
//! that they came with. Everything else is reads and transactions of the store, which any manager does.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use symphony_api::{Code, Problem};
use symphony_pki::Expect;

use crate::app::App;
use crate::decisions::Standing;
use crate::failure::{Answer, Failure};
use crate::principal::Principal;

/// What a request was handed on by; one that has it is never handed on again.
const FORWARDED_BY: HeaderName = HeaderName::from_static("x-symphony-forwarded-by");
/// How long the leader may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the leader may take to answer: its own limits end first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Paths that need the loops, whatever the method: their last segment.
const EXPLAINED: &str = "/explanation";
/// Headers of one connection, and not of the request.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];

/// Whether a request can be answered by the leader alone.
fn needs_loops(method: &Method, route: &str, query: Option<&str>) -> bool {
    let writes = !matches!(*method, Method::GET | Method::HEAD);
    let is_dry = || query.is_some_and(|query| query.split('&').any(|part| part == "dry_run=true"));
    route.ends_with(EXPLAINED)
        || (writes && (route.starts_with("/v1/plugins") || route.starts_with("/v1/slots")))
        // Fences and drains; a patch is a transaction like others.
        || (*method == Method::POST && route.starts_with("/v1/nodes/{node}/"))
        || (writes && is_dry())
}

/// Hands a request on when the leader must answer it and is another.
pub(crate) async fn to_leader(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    if !needs_loops(request.method(), route, request.uri().query()) {
        return next.run(request).await;
    }
    match app.standing() {
        Standing::Leading(_) => next.run(request).await,
        Standing::Following { manager, address } => {
            let handed = hand_on(&app, request, &manager, &address).await;
            handed.unwrap_or_else(axum::response::IntoResponse::into_response)
        }
        Standing::Vacant => no_leader().into_response(),
    }
}

/// What is answered while nobody leads.
pub(crate) fn no_leader() -> Failure {
    Failure::new(
        Code::NoLeader,
        "no manager leads now; one will within seconds, so try again",
    )
}

async fn hand_on(app: &App, request: Request, manager: &str, address: &str) -> Answer<Response> {
    let Some(tls) = &app.tls else {
        return Err(no_leader());
    };
    if request.headers().contains_key(FORWARDED_BY) {
        // Two managers that each believe the other leads: it passes with the election.
        return Err(no_leader());
    }
    let unreached = |error: reqwest::Error| {
        tracing::warn!(
            manager,
            address,
            error = &error as &dyn std::error::Error,
            "the leader was not reached"
        );
        Failure::new(
            Code::NoLeader,
            format!("manager {manager} leads and can't be reached at {address}; try again"),
        )
    };
    let mut config = tls.client_config(Expect::Manager);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(unreached)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut headers = carried(request.headers());
    if let Ok(own) = app.manager.as_str().parse() {
        headers.insert(FORWARDED_BY, own);
    }
    // The gate was passed here: a token of this manager's own folder is none of the leader's.
    Principal::vouch(request.extensions().get::<Arc<Principal>>(), &mut headers);
    let answer = client
        .request(request.method().clone(), format!("https://{address}{path}"))
        .headers(headers)
        .body(reqwest::Body::wrap_stream(request.into_body().into_data_stream()))
        .timeout(ANSWER_TIMEOUT)
        .send()
        .await
        .map_err(unreached)?;
    let status = answer.status();
    if status.is_client_error() || status.is_server_error() {
        return Err(refusal(answer).await);
    }
    let headers = carried(answer.headers());
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The leader's refusal, as it was.
async fn refusal(answer: reqwest::Response) -> Failure {
    let status = answer.status();
    let problem = answer.bytes().await.ok();
    let problem = problem.and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
    problem.map_or_else(
        || match status {
            StatusCode::SERVICE_UNAVAILABLE => no_leader(),
            _ => Failure::new(Code::Internal, format!("the leader answered {status}")),
        },
        Into::into,
    )
}

fn carried(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_the_loops_goes_to_the_leader() {
        let needs = |method: &str, route, query| needs_loops(&method.parse().unwrap(), route, query);
        assert!(needs(
            "GET",
            "/v1/projects/{project}/volumes/{volume}/explanation",
            None
        ));
        assert!(needs("POST", "/v1/plugins", None));
        assert!(needs("POST", "/v1/slots/{role}/{kind}/rollback", None));
        assert!(needs(
            "POST",
            "/v1/projects/{project}/machines",
            Some("a=b&dry_run=true")
        ));
        assert!(!needs("POST", "/v1/projects/{project}/machines", Some("dry_run=false")));
        assert!(needs("POST", "/v1/nodes/{node}/fence", None));
        assert!(!needs("PATCH", "/v1/nodes/{node}", None));
        assert!(!needs("GET", "/v1/plugins", None));
        assert!(!needs("GET", "/v1/watch", None));
        assert!(!needs("DELETE", "/v1/projects/{project}/volumes/{volume}", None));
    }
}
