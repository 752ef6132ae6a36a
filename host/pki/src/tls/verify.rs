//! Verifies certificates with the roots of the moment, and shows the certificate of the moment.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::{Expect, Shared, provider};
use crate::identity::{Identity, inspect};
use crate::trouble::Trouble;

/// Shows this member's certificate.
#[derive(Debug)]
pub(super) struct Own(pub(super) Arc<Shared>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.state().certified))
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.state().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Verifies servers.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) shared: Arc<Shared>,
    pub(super) expect: Expect,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let state = self.shared.state();
        verify_chain(end_entity, intermediates, &state.roots, now)?;
        let found = member(end_entity)?;
        let cluster = state.info.identity.cluster;
        if found.cluster != cluster {
            return Err(refused(Trouble::OtherCluster));
        }
        if !self.expect.allows(&found.member) {
            return Err(refused(Trouble::OtherMember {
                wanted: self.expect.to_string(),
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

/// Verifies clients; they may come without a certificate.
#[derive(Debug)]
pub(super) struct Clients(pub(super) Arc<Shared>);

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    // No hints: the roots change while this lives, and members have one certificate only.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let state = self.0.state();
        let verified = state.clients.verify_client_cert(end_entity, intermediates, now)?;
        if member(end_entity)?.cluster != state.info.identity.cluster {
            return Err(refused(Trouble::OtherCluster));
        }
        Ok(verified)
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

/// That a server's certificate is by one of the roots and in time.
pub(super) fn verify_chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
) -> Result<(), Error> {
    let algorithms = provider().signature_verification_algorithms.all;
    let parsed = ParsedCertificate::try_from(end_entity)?;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)
}

/// The member that a certificate names.
pub(super) fn member(certificate: &CertificateDer<'_>) -> Result<Identity, Error> {
    let info = inspect(certificate).map_err(|_| refused(Trouble::NoMember))?;
    Ok(info.identity)
}

/// As an error of the handshake.
pub(super) fn refused(trouble: Trouble) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(trouble))))
}

pub(super) fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = provider().signature_verification_algorithms;
    rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
}

pub(super) fn schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}

/// Never asked for: only TLS 1.3 is offered.
pub(super) fn only_tls13() -> Error {
    Error::General("only TLS 1.3 is spoken here".to_owned())
}
