//! Who is on the other side of a connection, as far as the connection itself says.

use std::net::SocketAddr;

use symphony_pki::{Identity, Member};

use crate::principal::Principal;

/// Put into every request's extensions when its connection is accepted.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// Somebody without a certificate; over TLS or not.
    Anyone(SocketAddr),
    /// A member of the cluster by its certificate. Whether it is still enrolled is not known by that.
    Member {
        /// From where.
        from: SocketAddr,
        /// Who.
        identity: Identity,
        /// Which of its certificates.
        serial: String,
    },
    /// A process of root or of the manager's own user, on the control socket.
    Local {
        /// Which user.
        uid: u32,
    },
}

impl Peer {
    /// Who it is to the API: an agent by its certificate. A manager is nobody there, and sends the token of whom it asks for.
    pub(crate) fn principal(&self) -> Option<Principal> {
        self.node().map(|node| Principal::agent(format!("node {node}")))
    }

    /// The name of the node that it is.
    pub(crate) fn node(&self) -> Option<&str> {
        match self {
            Self::Member { identity, .. } => match &identity.member {
                Member::Node(name) => Some(name),
                Member::Manager(_) => None,
            },
            Self::Anyone(_) | Self::Local { .. } => None,
        }
    }

    /// The IP address that it comes from, for its certificate.
    pub(crate) fn ip(&self) -> Option<String> {
        match self {
            Self::Anyone(address) | Self::Member { from: address, .. } => Some(address.ip().to_string()),
            Self::Local { .. } => None,
        }
    }

    /// Where it is, for the audit log.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Anyone(address) | Self::Member { from: address, .. } => address.to_string(),
            Self::Local { uid } => format!("control socket, user {uid}"),
        }
    }
}
