//! Why a node is not let in, in words for whoever asked.

use std::collections::BTreeSet;
use std::io;

use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_core::token::TokenTextError;
use symphony_pki::{CredentialsError, TlsError};
use symphony_protocol::enrol::Refusal;
use uuid::Uuid;

use super::address::{AddressError, ManagerAddress};
use super::ask::AskError;
use crate::config::ConfigError;
use crate::step::chain;

/// Why the membership that is kept can't be used.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Key, certificate or roots.
    #[error("the node's identity can't be used")]
    Credentials(#[from] CredentialsError),
    /// TLS with them.
    #[error("the node's identity can't be used")]
    Tls(#[from] TlsError),
    /// `enrolled.json`.
    #[error("enrolled.json can't be read")]
    Record(#[source] io::Error),
    /// Certificate and record are of different nodes.
    #[error(
        "the node's certificate and enrolled.json don't belong together; restore both, or remove both and let the node in again"
    )]
    Mixed,
    /// The configuration has another name than the cluster.
    #[error("this node was let in as {enrolled}, and its configuration says name = {:?}; a node keeps its name", .configured.as_str())]
    Name {
        /// Its name in the cluster.
        enrolled: Name,
        /// That in the configuration.
        configured: Name,
    },
    /// There is no name.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why a node is not let in for a role.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Not a token.
    #[error(transparent)]
    Token(#[from] TokenTextError),
    /// A token without a CA's digest.
    #[error("the token names no cluster, so no manager can be trusted with it; make one with `symphony token create --role {}`", .0.as_str())]
    TokenNamesNobody(Role),
    /// Not an address.
    #[error("that is no address of a manager")]
    Address(#[from] AddressError),
    /// It has the role.
    #[error("node {node} has the role {} already, in cluster {cluster}", .role.as_str())]
    Already {
        /// This node.
        node: Name,
        /// The role.
        role: Role,
        /// The cluster.
        cluster: Uuid,
    },
    /// The configuration does not allow the role.
    #[error("agent.toml says roles = {allowed:?}, and {} is not among them; add it there and start the agent again, or leave roles out", .role.as_str())]
    NotAllowed {
        /// The role.
        role: Role,
        /// What is allowed.
        allowed: BTreeSet<&'static str>,
    },
    /// It is in a cluster, and the token is of another.
    #[error("the token is of another cluster than the one that this node is in ({0}); a node is in one cluster only")]
    InAnother(Uuid),
    /// The manager is of another cluster than the token.
    #[error("the token is of another cluster than the manager at {address}; make one there with `symphony token create --role {}`", .role.as_str())]
    Foreign {
        /// The manager.
        address: ManagerAddress,
        /// The role.
        role: Role,
    },
    /// The manager.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The manager gave something else than was asked for.
    #[error("the manager at {address} answered with a certificate that is of no use here: {why}")]
    Useless {
        /// The manager.
        address: ManagerAddress,
        /// Why.
        why: String,
    },
    /// The node's own folder.
    #[error("the node's identity can't be kept")]
    Keep(#[source] CredentialsError),
    /// The node's own folder.
    #[error("enrolled.json can't be written")]
    Record(#[source] io::Error),
}

impl InitError {
    /// As it is said over the control socket.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Token(_) => "token_malformed",
            Self::TokenNamesNobody(_) => Refusal::UNKNOWN,
            Self::Address(_) => "bad_address",
            Self::Already { .. } => Refusal::ENROLLED,
            Self::NotAllowed { .. } => "role_not_configured",
            Self::InAnother(_) | Self::Foreign { .. } => Refusal::WRONG_CLUSTER,
            Self::Ask(AskError::Refused { refusal, .. }) => &refusal.code,
            Self::Ask(AskError::NoLeader) => "no_leader",
            Self::Ask(_) => "manager_unreachable",
            Self::Useless { .. } => "bad_answer",
            Self::Keep(_) | Self::Record(_) => "internal",
        };
        Refusal {
            code: code.to_owned(),
            detail: chain(self),
            leader: None,
        }
    }

    /// Whether the same may work later, without anybody doing anything here.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Ask(AskError::Refused { refusal, .. }) => !matches!(
                refusal.code.as_str(),
                Refusal::UNKNOWN
                    | Refusal::EXPIRED
                    | Refusal::USED
                    | Refusal::WRONG_ROLE
                    | Refusal::WRONG_CLUSTER
                    | Refusal::ENROLLED
                    | Refusal::VERSION
            ),
            Self::Ask(_) | Self::Foreign { .. } | Self::Useless { .. } | Self::Keep(_) | Self::Record(_) => true,
            _ => false,
        }
    }
}
