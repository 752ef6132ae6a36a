//! TLS for who is no member yet: it knows nothing but a digest of the cluster's authority, from its join token.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::client_config;
use super::verify::{member, only_tls13, refused, schemes, verify_chain, verify_signature};
use crate::pem;
use crate::trouble::Trouble;

/// Fewest digits of a digest that pin anything: 128 bits.
const DIGITS_MIN: usize = 32;

/// For a client without a certificate that accepts any manager whose authority has this digest: SHA-256 of its
/// certificate in hexadecimal, or at least the first 32 digits of that. The server must send the authority's certificate
/// behind its own.
#[must_use]
pub fn pinned_client_config(ca_digest: &str) -> ClientConfig {
    client_config(Arc::new(Pinned {
        digest: ca_digest.to_ascii_lowercase(),
    }))
}

#[derive(Debug)]
struct Pinned {
    digest: String,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_pinned = |certificate: &&CertificateDer<'_>| {
            self.digest.len() >= DIGITS_MIN && pem::digest(certificate).starts_with(&self.digest)
        };
        let pinned = intermediates.iter().take(pem::CERTIFICATES_MAX).find(is_pinned);
        let pinned = pinned.ok_or_else(|| refused(Trouble::OtherCluster))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        verify_chain(end_entity, intermediates, &roots, now)?;
        let found = member(end_entity)?;
        if !found.member.is_manager() {
            return Err(refused(Trouble::OtherMember {
                wanted: "a manager".to_owned(),
                found: found.member.to_string(),
            }));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
