//! How a node is let into the cluster, and how its certificate is renewed: two requests over TLS, JSON in and out.
//!
//! - `POST /agent/v1/enrol`: [`EnrolRequest`] → [`EnrolAnswer`]. The agent has no certificate; it knows the manager by the
//!   digest of the cluster's authority in its token, which the manager sends behind its own certificate. The key of the
//!   request is who it is: the same key asks for a further role, or again after an answer was lost.
//! - `POST /agent/v1/renew`: [`RenewRequest`] → [`RenewAnswer`]. The certificate to be renewed is in the request, so that
//!   one that expired while the node was off is renewed too; the request for the new one is by the same key. The
//!   connection may be without a certificate.
//!
//! What is refused is a problem (`application/problem+json`); an agent reads a [`Refusal`] from it. Any manager answers
//! both; one that can't says 421 and names the leader, like for a session.

use serde::{Deserialize, Serialize};
use symphony_core::name::Name;
use symphony_core::node::Role;

/// Lets a node in.
pub const ENROL_PATH: &str = "/agent/v1/enrol";
/// Renews a certificate.
pub const RENEW_PATH: &str = "/agent/v1/renew";
/// Longest request and answer, in bytes.
pub const ENROL_BYTES_MAX: usize = 128 << 10;
/// How far the clocks of an agent and a manager may be apart when a certificate is asked for, in seconds.
pub const CLOCK_SKEW_SECONDS_MAX: u64 = 300;
/// Most managers that an agent is told of.
pub const MANAGERS_MAX: usize = 16;

/// A node wants to be let in for a role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The join token: `sym1.ID.SECRET.CA`.
    pub token: String,
    /// The request for a certificate; of it only the key counts.
    pub csr_pem: String,
    /// The node's name.
    pub node: Name,
    /// The role.
    pub role: Role,
    /// Version of the agent.
    pub version: String,
    /// [`crate::PROTOCOL_VERSION`] of the agent.
    #[serde(default)]
    pub protocol: u32,
    /// The agent's clock, in seconds of Unix time; 0 when it does not say. A manager whose clock is further away than
    /// [`CLOCK_SKEW_SECONDS_MAX`] refuses with [`Refusal::CLOCK`], before the token is used up.
    #[serde(default)]
    pub clock: u64,
}

// The token is a secret.
impl std::fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolRequest")
            .field("node", &self.node)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// It is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolAnswer {
    /// The cluster's id.
    pub cluster: String,
    /// The node's certificate, the authority's behind it.
    pub cert_pem: String,
    /// Whom it is to trust.
    pub roots_pem: String,
    /// Where managers are: `ADDRESS:PORT` each, at most [`MANAGERS_MAX`].
    #[serde(default)]
    pub managers: Vec<String>,
}

/// A member wants its certificate renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// The certificate at hand.
    pub cert_pem: String,
    /// A request by the same key.
    pub csr_pem: String,
    /// The member's clock, as in [`EnrolRequest::clock`].
    #[serde(default)]
    pub clock: u64,
}

/// A renewed certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewAnswer {
    /// The new certificate, the authority's behind it.
    pub cert_pem: String,
    /// Whom to trust from now on.
    pub roots_pem: String,
}

/// Why a manager refused: what an agent reads of its problem.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// For a machine.
    pub code: String,
    /// For a person.
    pub detail: String,
    /// With status 421: where the leader is, `ADDRESS:PORT`; nothing when there is none at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}

impl Refusal {
    /// There is no such token.
    pub const UNKNOWN: &'static str = "token_unknown";
    /// It has expired.
    pub const EXPIRED: &'static str = "token_expired";
    /// It was used as often as it may be.
    pub const USED: &'static str = "token_used";
    /// It is for another role.
    pub const WRONG_ROLE: &'static str = "token_wrong_role";
    /// It is of another cluster.
    pub const WRONG_CLUSTER: &'static str = "token_wrong_cluster";
    /// A node with another key has the name.
    pub const ENROLLED: &'static str = "already_enrolled";
    /// The clocks are further apart than [`CLOCK_SKEW_SECONDS_MAX`].
    pub const CLOCK: &'static str = "clock_skew";
    /// The node is no member, or not any more.
    pub const STRANGER: &'static str = "not_a_member";
    /// The agent is newer than the manager, or too old for it.
    pub const VERSION: &'static str = "version_not_served";
    /// This manager does not lead; the session is for the leader.
    pub const NOT_LEADER: &'static str = "not_leader";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_a_refusal_and_secrets_are_not_shown() {
        let problem = r#"{"type":"urn:x","title":"t","status":421,"detail":"m2 leads","code":"not_leader","leader":"[::1]:15760"}"#;
        let refusal: Refusal = serde_json::from_str(problem).unwrap();
        assert_eq!(refusal.leader.as_deref(), Some("[::1]:15760"));
        assert_eq!(refusal.code, Refusal::NOT_LEADER);
        let request: EnrolRequest =
            serde_json::from_str(r#"{"token":"sym1.a.hush.b","csr_pem":"x","node":"n1","role":"block","version":"1"}"#)
                .unwrap();
        assert_eq!((request.protocol, request.clock), (0, 0));
        assert!(!format!("{request:?}").contains("hush"));
    }
}
