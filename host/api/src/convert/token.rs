//! Tokens and projects.

use symphony_core::Timestamp;
use symphony_core::project::{Exceeded, Project, Resource, Usage};
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

/// A project, with what it has when that was counted.
#[must_use]
pub fn project(project: &Project, used: Option<&Usage>, revision: u64) -> v1::Project {
    let amounts = |used: &Usage| {
        let all = Resource::ALL.into_iter();
        all.map(|resource| (resource.as_str().to_owned(), used.get(resource)))
            .collect()
    };
    v1::Project {
        kind: v1::Kind::Project,
        name: project.name.to_string(),
        quota: project
            .quota
            .iter()
            .map(|(resource, limit)| (resource.as_str().to_owned(), limit))
            .collect(),
        used: used.map(amounts),
        // The one that nobody made.
        created_at: (revision > 0).then_some(project.created_at),
        revision,
    }
}

/// A quota that would be passed.
#[must_use]
pub fn exceeded(exceeded: &Exceeded) -> v1::ExceededQuota {
    v1::ExceededQuota {
        resource: exceeded.resource.as_str().to_owned(),
        used: exceeded.used,
        limit: exceeded.limit,
        asked: exceeded.asked,
    }
}
