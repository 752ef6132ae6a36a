//! Where a manager lets nodes in: what the real one checks, with the real one's words, and no store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use symphony_core::node::Role;
use symphony_pki::{LIFE, request_key};
use symphony_protocol::control::{AgentStatus, INIT_PATH, InitRequest, STATUS_PATH};
use symphony_protocol::enrol::{
    CLOCK_SKEW_SECONDS_MAX, ENROL_PATH, EnrolAnswer, EnrolRequest, RENEW_PATH, Refusal, RenewAnswer, RenewRequest,
};

use crate::cluster;

/// A desk, and what it has done.
#[derive(Clone, Default)]
pub(crate) struct Desk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// For which role each token is, and how often it can be used; by its text.
    tokens: BTreeMap<String, (Role, u32)>,
    /// The key of each node that is in, and its roles.
    nodes: BTreeMap<String, (String, Vec<Role>)>,
    /// What answers name.
    managers: Vec<String>,
    /// How far this manager's clock is ahead, in seconds.
    ahead: i64,
    renewed: u32,
    forgotten: bool,
}

impl Desk {
    /// A token of this cluster. As many uses as there can be: it has expired.
    pub(crate) fn token(&self, role: Role, uses: u32) -> String {
        let mut inner = self.0.lock().unwrap();
        let number = inner.tokens.len() + 1;
        let text = token_of(&cluster::authority().digest(), number);
        inner.tokens.insert(text.clone(), (role, uses));
        text
    }

    pub(crate) fn set_managers(&self, managers: &[&str]) {
        self.0.lock().unwrap().managers = managers.iter().map(ToString::to_string).collect();
    }

    pub(crate) fn set_ahead(&self, seconds: i64) {
        self.0.lock().unwrap().ahead = seconds;
    }

    /// How many certificates were renewed.
    pub(crate) fn renewed(&self) -> u32 {
        self.0.lock().unwrap().renewed
    }

    /// The node was removed.
    pub(crate) fn forget(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.nodes.clear();
        inner.forgotten = true;
    }

    pub(crate) fn routes(&self) -> Router {
        Router::new()
            .route(ENROL_PATH, post(enrol))
            .route(RENEW_PATH, post(renew))
            .with_state(self.clone())
    }
}

/// A token of the cluster whose authority has this digest.
pub(crate) fn token_of(digest: &str, number: usize) -> String {
    format!("sym1.{number:016x}.{:032x}.{}", number * 7, &digest[..32])
}

fn refuse(status: StatusCode, code: &str, detail: &str) -> Response {
    let refusal = Refusal {
        code: code.to_owned(),
        detail: detail.to_owned(),
        leader: None,
    };
    (status, Json(refusal)).into_response()
}

async fn enrol(State(desk): State<Desk>, Json(asked): Json<EnrolRequest>) -> Response {
    let mut inner = desk.0.lock().unwrap();
    let now = cluster::now().saturating_add_signed(inner.ahead);
    if asked.clock.abs_diff(now) > CLOCK_SKEW_SECONDS_MAX {
        let detail = format!(
            "the clocks are {} s apart; set them first (timedatectl)",
            asked.clock.abs_diff(now)
        );
        return refuse(StatusCode::CONFLICT, Refusal::CLOCK, &detail);
    }
    let key = request_key(&asked.csr_pem).unwrap();
    let known = inner.nodes.get(asked.node.as_str()).cloned();
    if known.as_ref().is_some_and(|(other, _)| *other != key) {
        let detail = format!("node {} is a member already, with another key", asked.node);
        return refuse(StatusCode::CONFLICT, Refusal::ENROLLED, &detail);
    }
    let mut roles = known.map_or_else(Vec::new, |(_, roles)| roles);
    if !roles.contains(&asked.role) {
        match inner.tokens.get_mut(&asked.token) {
            None => return refuse(StatusCode::FORBIDDEN, Refusal::UNKNOWN, "there is no such token"),
            Some((role, _)) if *role != asked.role => {
                let detail = format!(
                    "the token is for the role {}, not for {}",
                    role.as_str(),
                    asked.role.as_str()
                );
                return refuse(StatusCode::FORBIDDEN, Refusal::WRONG_ROLE, &detail);
            }
            Some((_, u32::MAX)) => {
                return refuse(
                    StatusCode::FORBIDDEN,
                    Refusal::EXPIRED,
                    "the token expired at 2026-11-23T10:00:00Z",
                );
            }
            Some((_, 0)) => return refuse(StatusCode::FORBIDDEN, Refusal::USED, "the token was used already"),
            Some((_, uses)) => *uses -= 1,
        }
        roles.push(asked.role);
    }
    inner.nodes.insert(asked.node.to_string(), (key, roles));
    let identity = cluster::node(asked.node.as_str());
    let issued = cluster::authority().issue(&asked.csr_pem, &identity, &[], now, LIFE);
    Json(EnrolAnswer {
        cluster: cluster::authority().cluster().to_string(),
        cert_pem: issued.unwrap().cert_pem,
        roots_pem: cluster::authority().roots_pem(),
        managers: inner.managers.clone(),
    })
    .into_response()
}

async fn renew(State(desk): State<Desk>, Json(asked): Json<RenewRequest>) -> Response {
    let mut inner = desk.0.lock().unwrap();
    let checked = cluster::authority().check_renewal(&asked.cert_pem, &asked.csr_pem);
    let (identity, _) = checked.unwrap();
    if inner.forgotten {
        let detail = "node n1 is no member of this cluster: it was never let in, or was removed";
        return refuse(StatusCode::FORBIDDEN, Refusal::STRANGER, detail);
    }
    inner.renewed += 1;
    let issued = cluster::authority().issue(&asked.csr_pem, &identity, &[], cluster::now(), LIFE);
    Json(RenewAnswer {
        cert_pem: issued.unwrap().cert_pem,
        roots_pem: cluster::authority().roots_pem(),
    })
    .into_response()
}

fn operator(folder: &Path) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(symphony_pki::trusting_nobody())
        .unix_socket(folder.join("control.sock"))
        .build()
        .unwrap()
}

/// What `symphony --socket … ROLE init` asks for.
pub(crate) async fn init(folder: &Path, role: Role, manager: &str, token: &str) -> Result<AgentStatus, Refusal> {
    let request = InitRequest {
        role,
        manager: manager.to_owned(),
        token: token.to_owned(),
    };
    let request = operator(folder).post(format!("http://x{INIT_PATH}")).json(&request);
    let answer = request.send().await.unwrap();
    if answer.status().is_success() {
        Ok(answer.json().await.unwrap())
    } else {
        Err(answer.json().await.unwrap())
    }
}

pub(crate) async fn status(folder: &Path) -> AgentStatus {
    let request = operator(folder).get(format!("http://x{STATUS_PATH}"));
    request.send().await.unwrap().json().await.unwrap()
}
