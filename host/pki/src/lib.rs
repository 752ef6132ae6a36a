//! Who is who in a cluster: its authority, the certificates of its managers and nodes, and the TLS between them.
//!
//! - [`Authority`]: signs certificates. Only managers have it.
//! - [`Identity`]: which member of which cluster, as it stands in a certificate.
//! - [`MemberKey`], [`Credentials`]: a member's key, certificate and trusted roots, in a folder of their own.
//! - [`Tls`]: configurations for servers and clients, which follow new credentials without a restart.
//! - [`pinned_client_config`]: for who is not a member yet and knows the authority's digest only.
//! - [`Trouble`]: why a connection came to nothing, in words.
//!
//! It never decides who may do what, never keeps a list of members or of revoked certificates, and reads the clock only
//! where a TLS handshake asks for the time.

#![warn(missing_docs)]

mod authority;
mod credentials;
mod files;
mod identity;
mod pem;
mod tls;
mod trouble;
mod web;

pub use authority::{Authority, AuthorityError, CLOCK_GRACE_SECONDS, Issued, LIFE, random, request_key, sha256};
pub use credentials::{Credentials, CredentialsError, MemberKey};
pub use files::write_private;
pub use identity::{CertificateInfo, Identity, IdentityError, Member, inspect};
pub use pem::{PEM_BYTES_MAX, certificate_digest};
pub use tls::pinned::pinned_client_config;
pub use tls::{ALPN, Expect, Tls, TlsError, identity_of, peer_identity};
pub use trouble::{Trouble, trouble};
pub use web::{allow_the_web, trusting_nobody};
