//! Who a request is from, and what they may do. A principal is found once, at the gate; routes only ask what it may see.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use symphony_api::Code;
use symphony_core::name::Name;
use symphony_core::token::{ApiRole, TokenId};

use crate::failure::Failure;

/// Who a request is from. What makes a connection known (a certificate, the control socket) puts one into the requests'
/// extensions, as `Arc<Principal>`; the gate makes one of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Principal {
    /// For the audit log and for people: never a secret.
    pub(crate) who: String,
    pub(crate) rights: Rights,
    /// Its token; when that is revoked, what it has open ends.
    pub(crate) token: Option<TokenId>,
}

/// What a principal may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rights {
    /// Uses the API.
    Api {
        role: ApiRole,
        /// Its one project; none: all of them.
        project: Option<Name>,
    },
    /// Is an agent, and nothing else.
    Agent,
}

impl Principal {
    /// May do everything.
    pub(crate) fn admin(who: impl Into<String>) -> Self {
        Self {
            who: who.into(),
            rights: Rights::Api {
                role: ApiRole::Admin,
                project: None,
            },
            token: None,
        }
    }

    /// An agent.
    pub(crate) fn agent(who: impl Into<String>) -> Self {
        Self {
            who: who.into(),
            rights: Rights::Agent,
            token: None,
        }
    }

    /// The one project whose things it may see; none: all.
    pub(crate) fn confined_to(&self) -> Option<&Name> {
        match &self.rights {
            Rights::Api { project, .. } => project.as_ref(),
            Rights::Agent => None,
        }
    }
}

/// What a manager says of a request that it hands on: who asked it. From anybody else it says nothing.
pub(crate) const VOUCHED: HeaderName = HeaderName::from_static("x-symphony-principal");

impl Principal {
    /// Says in a request's headers who asks, in place of what the asker may have put there.
    pub(crate) fn vouch(known: Option<&Arc<Self>>, headers: &mut HeaderMap) {
        headers.remove(VOUCHED);
        let written = known.and_then(|principal| serde_json::to_vec(&**principal).ok());
        if let Some(value) = written.and_then(|text| HeaderValue::from_bytes(&text).ok()) {
            headers.insert(VOUCHED, value);
        }
    }

    /// Who a manager says is asking.
    pub(crate) fn vouched(headers: &HeaderMap) -> Option<Self> {
        serde_json::from_slice(headers.get(VOUCHED)?.as_bytes()).ok()
    }
}

/// What it is, for the one who is refused: `a viewer of project web`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("an agent"),
            Self::Api { role, project } => {
                let article = match role {
                    ApiRole::Operator | ApiRole::Admin => "an",
                    ApiRole::Viewer | ApiRole::Member => "a",
                };
                write!(f, "{article} {role}")?;
                match project {
                    Some(project) => write!(f, " of project {project}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The principal of a request, for a route.
pub(crate) struct By(pub(crate) Arc<Principal>);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // Only a route that is served past the gate has none.
        let found = parts.extensions.get::<Arc<Principal>>().cloned();
        found
            .map(Self)
            .ok_or_else(|| Failure::new(Code::Unauthorized, "nobody knows who asks"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_manager_says_the_other_reads() {
        let member = Arc::new(Principal {
            who: "token für 'web' (0a)".into(),
            rights: Rights::Api {
                role: ApiRole::Member,
                project: Some("web".parse().unwrap()),
            },
            token: Some(TokenId::new([1; 8])),
        });
        let mut headers = HeaderMap::new();
        headers.insert(VOUCHED, HeaderValue::from_static("made up"));
        assert_eq!(Principal::vouched(&headers), None);
        Principal::vouch(Some(&member), &mut headers);
        assert_eq!(Principal::vouched(&headers).as_ref(), Some(&*member));
        Principal::vouch(None, &mut headers);
        assert!(headers.is_empty(), "what the asker says of itself is not handed on");
    }
}
