//! How the store is: for those who must mend it before it fails.

use axum::Json;
use axum::extract::State;
use symphony_api::Problem;
use symphony_api::v1::{StoreHealth, StoreMember};
use symphony_store::{Alarm, MemberHealth};

use crate::app::App;
use crate::failure::Answer;

/// Says how the store and each of its members are. It is answered also while the store can't be read.
#[utoipa::path(get, path = "/v1/store", tag = "manager", responses(
    (status = 200, description = "The store and its members", body = StoreHealth),
    (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn health(State(app): State<App>) -> Answer<Json<StoreHealth>> {
    let (status, members) = tokio::join!(app.store.status(), app.store.members());
    let (revision, trouble) = match status {
        Ok(status) => (Some(status.revision.0), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(Json(StoreHealth {
        revision,
        trouble,
        members: members?.into_iter().map(member).collect(),
    }))
}

fn member(of: MemberHealth) -> StoreMember {
    let endpoint = of.endpoint;
    match of.answer {
        Err(trouble) => StoreMember {
            endpoint,
            trouble: Some(trouble),
            ..StoreMember::default()
        },
        Ok(state) => StoreMember {
            endpoint,
            trouble: None,
            version: state.version,
            outdated: state.is_old,
            leads: state.leads,
            has_leader: state.has_leader,
            size_bytes: state.size_bytes,
            used_bytes: state.used_bytes,
            alarms: state.alarms.into_iter().map(|alarm| word(alarm).to_owned()).collect(),
        },
    }
}

const fn word(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::NoSpace => "no-space",
        Alarm::Corrupt => "corrupt",
    }
}
