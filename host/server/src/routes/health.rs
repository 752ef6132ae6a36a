//! How the manager is, in numbers too, and what its API is.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use symphony_api::{Code, Problem};

use crate::app::App;
use crate::decisions::Standing;
use crate::failure::{Answer, Failure};

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "manager", responses((status = 200, description = "It lives", body = String)))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether requests can be served.
#[utoipa::path(get, path = "/readyz", tag = "manager", responses(
    (status = 200, description = "It serves", body = String),
    (status = 503, description = "It does not, and why", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn ready(State(app): State<App>) -> Answer<&'static str> {
    // A manager that follows, and one of a cluster without a leader, can still be read.
    if let Standing::Leading(decisions) = app.standing() {
        decisions.readiness().map_err(|why| Failure::new(Code::NotReady, why))?;
    }
    app.store.status().await?;
    Ok("ok\n")
}

/// All metrics, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "manager", responses(
    (status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let mut text = String::new();
    if let Standing::Leading(decisions) = app.standing() {
        decisions.encode_metrics(&mut text);
    }
    app.metrics.encode(&mut text);
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "manager", responses(
    (status = 200, description = "The OpenAPI document", body = Object),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(super::openapi())
}
