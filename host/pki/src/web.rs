//! The TLS of clients that have nothing to do with a cluster.

use crate::tls::provider;

/// The TLS of a client that speaks plain HTTP only: it trusts nobody. HTTP clients want one all the same.
///
/// # Panics
/// Never: the provider knows TLS 1.3.
#[must_use]
pub fn trusting_nobody() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider knows TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// Lets HTTP clients of this process reach servers of the web, with the certificates that this server trusts. Only a program
/// for people does so; nothing of the cluster is checked by it.
pub fn allow_the_web() {
    // It fails when it was done before, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
