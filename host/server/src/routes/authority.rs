//! The authority that signs members' certificates: seen, and replaced. Also served on the control socket.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use symphony_api::v1::Authority;
use symphony_api::{Code, Problem};
use symphony_control::members::{AuthorityView, RotationError};
use utoipa::IntoParams;

use super::enrol::problem;
use crate::app::App;
use crate::failure::{Answer, Failure};
use crate::input::Params;

/// How authorities before the present one end.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RetireQuery {
    /// Also when members still have certificates of one, or tokens name one.
    #[serde(default)]
    force: bool,
}

/// Shows the authority, and who still needs one before it.
#[utoipa::path(get, path = "/v1/authority", tag = "members", responses(
    (status = 200, description = "The authority", body = Authority),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(State(app): State<App>) -> Answer<Json<Authority>> {
    let view = app.members.authority_view().await;
    Ok(answer(view.map_err(|error| problem(&error))?))
}

/// Has another authority issue from now on. Members take certificates of it by themselves; the one before is trusted until
/// all have, and tokens that name it go on until it is retired.
#[utoipa::path(post, path = "/v1/authority/rotate", tag = "members", responses(
    (status = 200, description = "The authority that issues now", body = Authority),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn rotate(State(app): State<App>) -> Answer<Json<Authority>> {
    let rotated = app.members.rotate_authority().await;
    Ok(answer(rotated.map_err(|error| refusal(&error))?))
}

/// Ends all that comes of authorities before the present one: who knows only them is a stranger, and tokens that name them
/// are of no use.
#[utoipa::path(post, path = "/v1/authority/retire", tag = "members", params(RetireQuery), responses(
    (status = 200, description = "The authority, alone", body = Authority),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn retire(State(app): State<App>, Params(query): Params<RetireQuery>) -> Answer<Json<Authority>> {
    let retired = app.members.retire_authorities(query.force).await;
    Ok(answer(retired.map_err(|error| refusal(&error))?))
}

fn answer(view: AuthorityView) -> Json<Authority> {
    Json(Authority {
        digest: view.digest,
        since: view.since,
        trusted: view.trusted,
        known: view.known,
        waiting: view.waiting,
        tokens: view.tokens,
        revision: view.revision.0,
    })
}

fn refusal(error: &RotationError) -> Failure {
    match error {
        RotationError::Member(error) => problem(error),
        RotationError::UnderWay { .. } | RotationError::Tokens(_) | RotationError::Nothing => {
            Failure::new(Code::Conflict, error.to_string())
        }
    }
}
