//! Tokens and projects.

use symphony_core::Timestamp;
use symphony_core::token::{Token, TokenFault, TokenKind};

use crate::v1;

/// A token as it is at this time.
#[must_use]
pub fn token(token: &Token, revision: u64, now: Timestamp) -> v1::Token {
    let project = match &token.kind {
        TokenKind::Api { project, .. } => project.as_ref().map(ToString::to_string),
        TokenKind::Join { .. } => None,
    };
    v1::Token {
        kind: v1::Kind::Token,
        id: token.id.to_string(),
        name: token.name.clone(),
        role: token.kind.role_str().to_owned(),
        project,
        state: match token.usable(now) {
            Ok(()) => v1::TokenState::Active,
            Err(TokenFault::Expired(_)) => v1::TokenState::Expired,
            Err(_) => v1::TokenState::Used,
        },
        expires_at: token.expires_at,
        uses_left: token.uses_left,
        created_by: token.created_by.clone(),
        created_at: token.created_at,
        revision,
    }
}
