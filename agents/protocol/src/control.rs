//! What is said over an agent's control socket (`DIR/control.sock`, for root and the agent's own user): HTTP/1.1 and JSON.
//!
//! - `POST /v1/init`: [`InitRequest`] → [`AgentStatus`]. Lets the node in for a role; returns when it is in.
//! - `GET /v1/status`: [`AgentStatus`].
//!
//! What is refused is a [`crate::enrol::Refusal`], the manager's own when it was the manager that refused.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use symphony_core::name::Name;
use symphony_core::node::Role;

/// The file's name in the agent's folder.
pub const CONTROL_SOCKET_FILE: &str = "control.sock";
/// Lets the node in.
pub const INIT_PATH: &str = "/v1/init";
/// How the agent is.
pub const STATUS_PATH: &str = "/v1/status";

/// The node is to be let in for a role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitRequest {
    /// The role.
    pub role: Role,
    /// Any manager: `ADDRESS[:PORT]`.
    pub manager: String,
    /// A join token for the role.
    pub token: String,
}

// The token is a secret.
impl std::fmt::Debug for InitRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InitRequest")
            .field("role", &self.role)
            .field("manager", &self.manager)
            .finish_non_exhaustive()
    }
}

/// How an agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The node's name.
    pub node: Name,
    /// The cluster's id; nothing when it is in none.
    pub cluster: Option<String>,
    /// What it was let in for.
    pub roles: BTreeSet<Role>,
    /// Where managers are.
    pub managers: Vec<String>,
    /// The manager that it has a session with; nothing when it has none.
    pub session: Option<String>,
    /// Why it has none, when it tried.
    pub trouble: Option<String>,
    /// Until when its certificate is good, in seconds of Unix time.
    pub cert_expires: Option<u64>,
    /// Version of the agent.
    pub version: String,
}
