//! Who may ask a data port for what: it stands in their certificates.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rustls::ServerConnection;
use symphony_pki::{Identity, peer_identity};
use symphony_protocol::data::BLOBS_PATH;

use super::refuse;

/// Serial numbers of certificates that are worth nothing, as last heard of the leader. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Revoked(Arc<RwLock<HashSet<String>>>);

impl Revoked {
    /// These and no others.
    pub fn replace(&self, serials: HashSet<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = serials;
    }

    /// Whether a certificate is worth nothing.
    #[must_use]
    pub fn has(&self, serial: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(serial)
    }
}

/// The other side of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer(Option<Arc<(Identity, String)>>);

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Anonymous,
    Revoked,
    Node,
}

impl Peer {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        Self(peer_identity(connection).map(Arc::new))
    }

    /// Whether it may do this. Asked for every request: a connection may live longer than a certificate is welcome.
    pub(super) fn may(&self, method: &Method, path: &str, revoked: &Revoked) -> Result<(), Refusal> {
        let (identity, serial) = self.0.as_deref().ok_or(Refusal::Anonymous)?;
        if revoked.has(serial) {
            return Err(Refusal::Revoked);
        }
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let is_blob = path
            .strip_prefix(BLOBS_PATH)
            .is_some_and(|rest| !rest.contains('/') && !rest.contains(".."));
        if identity.member.is_manager() || (is_read && is_blob) {
            Ok(())
        } else {
            Err(Refusal::Node)
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Anonymous => refuse(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the data port asks for a certificate of the cluster",
            ),
            Self::Revoked => refuse(StatusCode::UNAUTHORIZED, "unauthorized", "the certificate was revoked"),
            Self::Node => refuse(
                StatusCode::FORBIDDEN,
                "forbidden",
                "nodes may read stored images here, and nothing else; the rest is for managers",
            ),
        }
    }
}
