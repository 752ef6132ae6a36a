//! The audit log of this manager, read only.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use symphony_api::v1::{AuditLine, List};
use symphony_api::{Code, PAGE_DEFAULT, PAGE_MAX, Problem};
use utoipa::IntoParams;

use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::Params;

/// How much of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Most lines: 1 to 500, 100 when absent.
    limit: Option<u32>,
}

/// Lists who wrote and who was refused, newest first. It is the log of the manager that answers; its file has all of it.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditQuery), responses(
    (status = 200, description = "The last lines", body = List<AuditLine>),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(app): State<App>, Params(query): Params<AuditQuery>) -> Answer<Json<List<AuditLine>>> {
    let limit = match query.limit.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_MAX => limit as usize,
        _ => {
            let detail = format!("it must be 1 to {PAGE_MAX}");
            return Err(Failure::field(Code::InvalidArgument, "limit", detail));
        }
    };
    let lines = app.audit.last(limit).await;
    let lines = lines.ok_or_else(|| Failure::new(Code::NotFound, "this manager keeps no audit log"))?;
    let revision = app.store.status().await?.revision.0;
    Ok(Json(List {
        // Half a line, as a power cut leaves it, says nothing.
        items: lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect(),
        next_page_token: None,
        revision,
    }))
}
