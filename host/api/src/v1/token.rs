//! Tokens, and what is sent to make them. A token's text is answered once, when it is made.

use serde::{Deserialize, Serialize};
use symphony_core::Timestamp;
use utoipa::ToSchema;

use super::Kind;

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// `token`.
    pub kind: Kind,
    /// The part of its text that is no secret: 16 hexadecimal digits.
    pub id: String,
    /// For people; empty when none was given.
    #[serde(default)]
    pub name: String,
    /// What it lets its holder be: `block`, `image`, `compute`, `network` (a process that joins), or `viewer`, `member`,
    /// `operator`, `admin` (the API).
    pub role: String,
    /// The one project that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Whether it is of use now.
    pub state: TokenState,
    /// From when on it is of no use; absent: it lasts until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// How often it can be used yet; absent: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// Who made it.
    pub created_by: String,
    /// For display.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The store's counter at the last change.
    pub revision: u64,
}

/// Whether a token is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was used as often as it may be.
    Used,
}

impl TokenState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Used => "used",
        }
    }
}

/// Asks for a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// `block`, `image`, `compute`, `network`, `viewer`, `member`, `operator` or `admin`.
    pub role: String,
    /// The one project that it is for: a member needs one, a viewer may have one, the others have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// For people, at most 63 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long it lasts; 15 minutes for a process that joins and without end for the API when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
    /// How often it can be used: only for a process that joins, once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// A new token, with its text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// What it is.
    #[serde(flatten)]
    pub token: Token,
    /// The secret. It is not kept: whoever needs it keeps it now.
    pub text: String,
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedToken")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
