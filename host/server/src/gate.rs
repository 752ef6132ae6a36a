//! Who is let in, and to what. Closed unless opened: what is not in the table of rights is served to nobody.
//!
//! ```text
//!   request ─► the operation's right (matched path) ─► who asks (token, or what the connection says) ─► has it the right?
//! ```

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use symphony_api::Code;
use symphony_control::clock;
use symphony_core::digest::Digest;
use symphony_core::token::{TokenFault, TokenText};

use crate::app::App;
use crate::config::Tokens;
use crate::failure::{Answer, Failure};
use crate::peer::Peer;
use crate::principal::{Principal, Rights};
use crate::rights::{self, Right};
use crate::routes::enrol::problem;
use crate::token_book::{TokenBook, Unread};

/// Knows the tokens that are no records: those of the manager's own folder, by their hashes.
pub(crate) struct Gate {
    client: Digest,
    agent: Option<Digest>,
}

/// What the gate found out, for what is done after the answer.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Who asked, as far as it is known.
    pub(crate) who: String,
    /// What was needed.
    pub(crate) right: Option<Right>,
}

/// Why nobody is let in, and what is known of who asked.
struct Refusal {
    failure: Failure,
    who: String,
}

impl Refusal {
    fn unknown(detail: impl Into<String>) -> Self {
        Self::of("-", detail)
    }

    fn of(who: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            failure: Failure::new(Code::Unauthorized, detail),
            who: who.into(),
        }
    }
}

impl Gate {
    pub(crate) fn new(tokens: &Tokens) -> Self {
        Self {
            client: hash(&tokens.client),
            agent: tokens.agent.as_deref().map(hash),
        }
    }

    /// Who a request is from. A token that is sent wins over what the connection says: who sends one means it.
    async fn who(
        &self,
        book: &TokenBook,
        headers: &HeaderMap,
        known: Option<Arc<Principal>>,
    ) -> Result<Arc<Principal>, Refusal> {
        if let Some(sent) = bearer(headers)? {
            return self.holder(book, sent).await.map(Arc::new);
        }
        known.ok_or_else(|| Refusal::unknown("send the header `Authorization: Bearer TOKEN`"))
    }

    async fn holder(&self, book: &TokenBook, sent: &str) -> Result<Principal, Refusal> {
        let sha256 = hash(sent);
        if self.client.same(&sha256) {
            return Ok(Principal::admin("client.toml"));
        }
        if self.agent.as_ref().is_some_and(|agent| agent.same(&sha256)) {
            return Ok(Principal::agent("agent"));
        }
        let text: TokenText = sent
            .parse()
            .map_err(|error| Refusal::unknown(format!("the token is not one of this manager: {error}")))?;
        let id = text.id();
        let attempt = format!("token {id}");
        let found = book.find(id).await.map_err(|Unread| Refusal {
            failure: Failure::new(Code::StoreUnavailable, "the tokens could not be read yet"),
            who: attempt.clone(),
        })?;
        // One that was revoked, one of another cluster and one with a wrong secret look the same from outside.
        let secret = hash(&text.secret_hex());
        let Some(token) = found.filter(|token| token.is_secret(&secret)) else {
            let detail = "the token is not known here: it was revoked, or it is of another cluster";
            return Err(Refusal::of(attempt, detail));
        };
        let who = if token.name.is_empty() {
            attempt
        } else {
            format!("token {} ({id})", token.name)
        };
        match token.api(clock::now()) {
            Ok((role, project)) => Ok(Principal {
                who,
                rights: Rights::Api {
                    role,
                    project: project.cloned(),
                },
                token: Some(id),
            }),
            Err(fault @ TokenFault::NotForApi(_)) => Err(Refusal {
                failure: Failure::new(Code::Forbidden, fault.to_string()),
                who,
            }),
            Err(fault) => Err(Refusal::of(who, fault.to_string())),
        }
    }
}

/// Lets a request through, or answers it.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let right = matched
        .as_ref()
        .and_then(|path| rights::of(request.method(), path.as_str()));
    if right == Some(Right::Open) {
        return next.run(request).await;
    }
    let known = request.extensions().get::<Arc<Principal>>().cloned();
    let peer = request.extensions().get::<Peer>().cloned();
    let found = match vouched(&app, peer.as_ref(), request.headers()).await {
        Ok(None) => app.gate.who(&app.tokens, request.headers(), known).await,
        Ok(Some(principal)) => Ok(Arc::new(principal)),
        Err(refusal) => Err(refusal),
    };
    let (who, passed) = match found {
        Ok(principal) => (
            principal.who.clone(),
            may(&principal, right, &request).map(|()| principal),
        ),
        Err(refusal) => (refusal.who, Err(refusal.failure)),
    };
    let mut response = match (passed, matched) {
        (Err(failure), _) => failure.into_response(),
        // There is such a path, and it does not take this method.
        (Ok(_), Some(path)) if right.is_none() => wrong_method(path.as_str()),
        (Ok(principal), _) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
    };
    response.extensions_mut().insert(Seen { who, right });
    response
}

/// Who asks, when another manager hands a request on: it has let them in itself. Only a member by its certificate that is
/// still enrolled, as a manager, can say so.
async fn vouched(app: &App, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Option<Principal>, Refusal> {
    let (Some(principal), Some(Peer::Member { identity, serial, .. })) = (Principal::vouched(headers), peer) else {
        return Ok(None);
    };
    if !identity.member.is_manager() {
        return Ok(None);
    }
    let who = format!("manager {}", identity.member.name());
    match app.members.enrolment(identity, serial).await {
        Ok(Some(_)) => Ok(Some(principal)),
        Ok(None) => Err(Refusal::of(who, "the manager was removed from the cluster")),
        Err(error) => Err(Refusal {
            failure: problem(&error),
            who,
        }),
    }
}

fn may(principal: &Principal, right: Option<Right>, request: &Request) -> Answer<()> {
    // Nothing is behind what has no right: that it is not there, everybody may know who is known.
    let Some(right) = right else { return Ok(()) };
    let project = project_of(request.uri().path());
    if right.is_of(principal, project) {
        return Ok(());
    }
    let needed = right.in_words(project);
    let detail = format!("this needs {needed}, and {} is {}", principal.who, principal.rights);
    Err(Failure::new(Code::Forbidden, detail))
}

/// The project of a path. What is not written as names are (`%61`) is no project that anybody is confined to.
pub(crate) fn project_of(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/projects/")?.split('/').next()
}

fn wrong_method(path: &str) -> Response {
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    if let Ok(allowed) = HeaderValue::from_str(&rights::allowed(path)) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// The token that a request brings; none when it brings none at all.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match token {
        Some(token) if !token.is_empty() => Ok(Some(token)),
        _ => Err(Refusal::unknown("the header must be `Authorization: Bearer TOKEN`")),
    }
}

fn hash(text: &str) -> Digest {
    Digest::new(Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &str) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        bearer(&headers)
            .map(|token| token.map(str::to_owned))
            .map_err(|refusal| refusal.failure.0.detail)
    }

    #[test]
    fn only_a_bearer_token_is_one() {
        assert_eq!(sent("Bearer c"), Ok(Some("c".to_owned())));
        assert_eq!(sent("bearer  c"), Ok(Some("c".to_owned())));
        for wrong in ["Basic c", "c", "Bearer", "Bearer ", ""] {
            assert!(sent(wrong).is_err(), "{wrong:?}");
        }
        assert!(bearer(&HeaderMap::new()).is_ok_and(|token| token.is_none()));
    }

    #[test]
    fn a_path_has_one_project() {
        assert_eq!(project_of("/v1/projects/web/volumes/a"), Some("web"));
        assert_eq!(project_of("/v1/projects/web"), Some("web"));
        assert_eq!(project_of("/v1/nodes"), None);
    }
}
