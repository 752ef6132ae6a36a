//! TLS between members: version 1.3, both sides with a certificate. Who the other side is stands in its certificate; its
//! address says nothing.

pub(crate) mod pinned;
mod verify;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};

use crate::credentials::Credentials;
use crate::identity::{CertificateInfo, Identity, Member, inspect};
use crate::pem;
use verify::{Clients, Own, Servers};

/// What is spoken inside, the best first.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Key, certificate or roots can't be used for TLS.
    #[error("the certificate or its key can't be used for TLS")]
    Unusable(#[source] rustls::Error),
    /// The roots can't be used.
    #[error("the roots can't be used for TLS")]
    Roots,
    /// New credentials must be of the same member.
    #[error("the new certificate is of {new}, not of {old}")]
    OtherMember {
        /// Whose they were.
        old: Identity,
        /// Whose the new ones are.
        new: Identity,
    },
}

/// Who the other side must be; always of the same cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Any manager.
    Manager,
    /// This node.
    Node(String),
    /// Whoever is in the cluster.
    AnyMember,
}

/// A member's TLS. Copies share the credentials: after [`Tls::replace`] every configuration that was ever made here uses
/// the new ones for new connections.
#[derive(Debug, Clone)]
pub struct Tls {
    shared: Arc<Shared>,
    server: Arc<ServerConfig>,
}

/// What changes with the credentials.
#[derive(Debug)]
pub(crate) struct State {
    info: CertificateInfo,
    certified: Arc<CertifiedKey>,
    roots: RootCertStore,
    clients: Arc<dyn ClientCertVerifier>,
}

#[derive(Debug)]
pub(crate) struct Shared(RwLock<Arc<State>>);

impl Shared {
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(credentials.key_pem().as_bytes());
        let key = key.map_err(|error| TlsError::Unusable(rustls::Error::General(error.to_string())))?;
        let certified = CertifiedKey::from_der(credentials.chain(), key, &provider()).map_err(TlsError::Unusable)?;
        let mut roots = RootCertStore::empty();
        let all = pem::certificates(credentials.roots_pem()).ok_or(TlsError::Roots)?;
        for root in all {
            roots.add(root).map_err(|_| TlsError::Roots)?;
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider()).build();
        Ok(Self {
            info: credentials.info().clone(),
            certified: Arc::new(certified),
            roots,
            clients: clients.map_err(|_| TlsError::Roots)?,
        })
    }
}

impl Tls {
    /// With a member's credentials.
    ///
    /// # Errors
    /// They can't be used.
    pub fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        let shared = Arc::new(Shared(RwLock::new(Arc::new(State::new(credentials)?))));
        let server = server_config(&shared).map_err(TlsError::Unusable)?;
        Ok(Self {
            shared,
            server: Arc::new(server),
        })
    }

    /// Uses new credentials of the same member from the next connection on.
    ///
    /// # Errors
    /// They can't be used, or are somebody else's; the old ones stay.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), TlsError> {
        let old = self.identity();
        if old != *credentials.identity() {
            return Err(TlsError::OtherMember {
                old,
                new: credentials.identity().clone(),
            });
        }
        let state = Arc::new(State::new(credentials)?);
        *self.shared.0.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    /// Whose it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.shared.state().info.identity.clone()
    }

    /// The serial number of the certificate in use, in hexadecimal.
    #[must_use]
    pub fn serial(&self) -> String {
        self.shared.state().info.serial.clone()
    }

    /// For a server. A client may come without a certificate; one that is given must be a member's and in time.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For a client that shows its certificate.
    #[must_use]
    pub fn client_config(&self, expect: Expect) -> ClientConfig {
        let mut config = self.anonymous_client_config(expect);
        config.client_auth_cert_resolver = Arc::new(Own(Arc::clone(&self.shared)));
        config
    }

    /// For a client that checks the server and shows no certificate: its own has expired.
    #[must_use]
    pub fn anonymous_client_config(&self, expect: Expect) -> ClientConfig {
        let servers = Servers {
            shared: Arc::clone(&self.shared),
            expect,
        };
        client_config(Arc::new(servers))
    }
}

/// Who is on the other side of a connection, and the serial number of its certificate; nothing when it showed none. To be
/// asked after the handshake.
#[must_use]
pub fn peer_identity(connection: &ServerConnection) -> Option<(Identity, String)> {
    identity_of(connection.peer_certificates()?)
}

/// The member and the serial number in the first of these certificates, which were verified before.
#[must_use]
pub fn identity_of(certificates: &[CertificateDer<'_>]) -> Option<(Identity, String)> {
    let info = inspect(certificates.first()?).ok()?;
    Some((info.identity, info.serial))
}

impl Expect {
    fn allows(&self, member: &Member) -> bool {
        match (self, member) {
            (Self::AnyMember, _) | (Self::Manager, Member::Manager(_)) => true,
            (Self::Node(wanted), Member::Node(name)) => wanted == name,
            _ => false,
        }
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Manager => f.write_str("a manager"),
            Self::Node(name) => write!(f, "node {name}"),
            Self::AnyMember => f.write_str("a member"),
        }
    }
}

/// The one provider of cryptography, never the process's default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

fn server_config(shared: &Arc<Shared>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Clients(Arc::clone(shared))))
        .with_cert_resolver(Arc::new(Own(Arc::clone(shared))));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    // A resumed session would go on with a certificate that nobody looked at again.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

pub(crate) fn client_config(verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    #[expect(clippy::expect_used, reason = "ring has TLS 1.3: only a build without it fails here")]
    let mut config = builder
        .expect("the provider has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    config.resumption = Resumption::disabled();
    // Members are known by their certificates: an address in the greeting helps nobody.
    config.enable_sni = false;
    config
}
