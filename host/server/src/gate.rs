//! Who is let in. Closed unless opened: a path that is not named here needs the clients' token.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use symphony_api::Code;

use crate::app::App;
use crate::config::Tokens;
use crate::failure::Failure;
use crate::peer::Peer;

/// Paths that anyone may ask.
const OPEN: [&str; 4] = ["/healthz", "/readyz", "/agent/v1/enrol", "/agent/v1/renew"];
/// Paths that agents ask, and nobody else.
const AGENTS: &str = "/agent/";

/// Knows the tokens, by their hashes.
pub(crate) struct Gate {
    client: [u8; 32],
    agent: [u8; 32],
}

impl Gate {
    pub(crate) fn new(tokens: &Tokens) -> Self {
        Self {
            client: hash(&tokens.client),
            agent: hash(&tokens.agent),
        }
    }

    fn admits(&self, path: &str, headers: &HeaderMap) -> Result<(), Failure> {
        if OPEN.contains(&path) {
            return Ok(());
        }
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = value.and_then(bearer) else {
            return Err(Failure::new(
                Code::Unauthorized,
                "send the header `Authorization: Bearer TOKEN`",
            ));
        };
        let wanted = if path.starts_with(AGENTS) {
            &self.agent
        } else {
            &self.client
        };
        if same(&hash(token), wanted) {
            Ok(())
        } else {
            Err(Failure::new(
                Code::Unauthorized,
                "the token is not the right one for this manager",
            ))
        }
    }
}

/// Lets a request through, or answers it.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_node = |peer: &Peer| peer.node().is_some();
    if request.uri().path().starts_with(AGENTS) && request.extensions().get().is_some_and(is_node) {
        // The session itself looks at who it is.
        return next.run(request).await;
    }
    match app.gate.admits(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Compares in a time that does not depend on where they differ; the hashes hide the length as well.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differing = a.iter().zip(b).fold(0_u8, |differing, (x, y)| differing | (x ^ y));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(path: &str, authorization: Option<&str>) -> bool {
        let gate = Gate::new(&Tokens {
            client: "c".into(),
            agent: "a".into(),
        });
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        gate.admits(path, &headers).is_ok()
    }

    #[test]
    fn everything_but_health_needs_the_right_token() {
        assert!(admits("/healthz", None) && admits("/readyz", None));
        for path in [
            "/",
            "/v1/nodes",
            "/metrics",
            "/openapi.json",
            "/healthz/",
            "/healthz/..",
            "/unknown",
        ] {
            assert!(
                !admits(path, None) && !admits(path, Some("Bearer x")) && !admits(path, Some("Bearer a")),
                "{path}"
            );
            assert!(
                admits(path, Some("Bearer c")) && admits(path, Some("bearer  c")),
                "{path}"
            );
        }
        for wrong in ["Basic c", "c", "Bearer", "Bearer ", "Bearer cc"] {
            assert!(!admits("/v1/nodes", Some(wrong)), "{wrong}");
        }
    }

    #[test]
    fn agents_have_their_own() {
        assert!(admits("/agent/v1/session", Some("Bearer a")));
        assert!(!admits("/agent/v1/session", Some("Bearer c")));
    }
}
