//! The way into the cluster: nodes that come with a token, and members that renew their certificates.
//!
//! Both are open to whoever can connect: the token, or the certificate in the body, says who may. Nothing is given away but
//! certificates for keys that the asker has.

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use symphony_api::{Code, Problem};
use symphony_control::members::{Applicant, MemberError};
use symphony_core::member::Manager;
use symphony_core::token::{TokenFault, TokenText};
use symphony_core::{keys, record};
use symphony_protocol::PROTOCOL_VERSION;
use symphony_protocol::enrol::{
    CLOCK_SKEW_SECONDS_MAX, EnrolAnswer, EnrolRequest, MANAGERS_MAX, RenewAnswer, RenewRequest,
};
use symphony_store::{Range, read_all};

use crate::app::App;
use crate::failure::{Answer, Failure, chain};
use crate::gate::Seen;
use crate::input::Input;
use crate::peer::Peer;
use crate::rights::Right;

/// Lets a node in for a role, by a join token; or gives a node that is in another role.
#[utoipa::path(post, path = "/agent/v1/enrol", tag = "members",
    request_body(content = Object, description = "Token, certificate request, node and role"),
    responses(
        (status = 200, description = "The certificate, and whom to trust", body = Object),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn enrol(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    Input(asked): Input<EnrolRequest>,
) -> Response {
    // The gate knows nobody here: the token is in the body.
    let who = match asked.token.parse::<TokenText>() {
        Ok(token) => format!("token {} for node {}", token.id(), asked.node),
        Err(_) => "-".to_owned(),
    };
    let mut response = let_in(&app, peer, &asked).await.into_response();
    let right = Some(Right::Open);
    response.extensions_mut().insert(Seen { who, right });
    response
}

async fn let_in(app: &App, peer: Option<Extension<Peer>>, asked: &EnrolRequest) -> Answer<Json<EnrolAnswer>> {
    same_time(asked.clock)?;
    if let Some(why) = symphony_protocol::version_refusal(asked.protocol).filter(|_| asked.protocol > PROTOCOL_VERSION)
    {
        return Err(Failure::new(Code::VersionNotServed, why));
    }
    let token: TokenText = asked
        .token
        .parse()
        .map_err(|error| Failure::field(Code::InvalidArgument, "/token", format!("{error}")))?;
    let alt_names: Vec<String> = peer.iter().filter_map(|peer| peer.0.ip()).collect();
    let applicant = Applicant {
        node: &asked.node,
        role: asked.role,
        token: &token,
        csr_pem: &asked.csr_pem,
        alt_names: &alt_names,
    };
    let admission = app.members.enrol(applicant).await.map_err(|error| problem(&error))?;
    tracing::info!(node = %asked.node, role = asked.role.as_str(), "a node was let in");
    Ok(Json(EnrolAnswer {
        cluster: admission.cluster.id.to_string(),
        cert_pem: admission.cert_pem,
        roots_pem: admission.roots_pem,
        managers: managers(app).await?,
    }))
}

/// Renews a member's certificate.
#[utoipa::path(post, path = "/agent/v1/renew", tag = "members",
    request_body(content = Object, description = "The certificate at hand, and a request by the same key"),
    responses(
        (status = 200, description = "The new certificate, and whom to trust", body = Object),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn renew(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    Input(asked): Input<RenewRequest>,
) -> Answer<Json<RenewAnswer>> {
    same_time(asked.clock)?;
    let alt_names: Vec<String> = peer.iter().filter_map(|peer| peer.0.ip()).collect();
    let renewed = app.members.renew(&asked.cert_pem, &asked.csr_pem, &alt_names).await;
    let admission = renewed.map_err(|error| problem(&error))?;
    Ok(Json(RenewAnswer {
        cert_pem: admission.cert_pem,
        roots_pem: admission.roots_pem,
    }))
}

/// Refuses a clock that is far from this manager's: a certificate would be worth nothing there, and the token be gone.
fn same_time(clock: u64) -> Answer<()> {
    let now = u64::try_from(symphony_control::clock::now().as_second()).unwrap_or(0);
    if clock == 0 || clock.abs_diff(now) <= CLOCK_SKEW_SECONDS_MAX {
        return Ok(());
    }
    let detail = format!(
        "the clocks are {} s apart: here it is {now}, there {clock} (seconds of Unix time); set them first (timedatectl)",
        clock.abs_diff(now)
    );
    Err(Failure::new(Code::ClockSkew, detail))
}

/// Where all managers are.
pub(in crate::routes) async fn managers(app: &App) -> Answer<Vec<String>> {
    let mut addresses = Vec::new();
    for kv in read_all(&*app.store, Range::prefix(keys::MANAGERS), MANAGERS_MAX)
        .await?
        .kvs
    {
        let manager: Manager = record::decode(&kv.value)?;
        if !manager.address.is_empty() {
            addresses.push(manager.address);
        }
    }
    addresses.truncate(MANAGERS_MAX);
    Ok(addresses)
}

/// Why somebody is not let in, for them.
pub(crate) fn problem(error: &MemberError) -> Failure {
    let code = match error {
        MemberError::Store(error) => return error.clone().into(),
        MemberError::Record(_) | MemberError::Kept(_) => Code::Internal,
        MemberError::Authority(_) => Code::InvalidArgument,
        MemberError::NoCluster => Code::NotReady,
        MemberError::Taken(_) => Code::AlreadyEnrolled,
        MemberError::TokenUnknown(_) => Code::TokenUnknown,
        MemberError::TokenForeign => Code::TokenWrongCluster,
        MemberError::Token(TokenFault::Expired(_)) => Code::TokenExpired,
        MemberError::Token(TokenFault::Used) => Code::TokenUsed,
        MemberError::Token(_) => Code::TokenWrongRole,
        MemberError::Stranger(_) => Code::NotAMember,
        MemberError::Crowded | MemberError::Restoring => Code::Conflict,
    };
    Failure::new(code, chain(error))
}
