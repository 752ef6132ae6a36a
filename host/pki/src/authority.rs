//! The authority of a cluster: the key that signs its members' certificates, and the roots that they trust.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::identity::{Identity, IdentityError, inspect};
use crate::pem::{self, PEM_BYTES_MAX};
use crate::tls::provider;

/// How far a member's clock may be behind the authority's, in seconds, and a new certificate still be good at once.
pub const CLOCK_GRACE_SECONDS: u64 = 300;
/// How long a member's certificate lives.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long the authority itself lives. It is to be rotated long before.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Most alternative names in one certificate.
const ALT_NAMES_MAX: usize = 64;

/// Why the authority does not do it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its certificate, key or roots can't be read, or don't belong together.
    #[error("the authority's {0} can't be used")]
    Broken(&'static str),
    /// Making or signing failed.
    #[error("a certificate can't be made")]
    Make(#[source] rcgen::Error),
    /// Not a request, or its signature is not by its own key.
    #[error("the certificate request can't be used")]
    Request(#[source] rcgen::Error),
    /// Longer than any request.
    #[error("the certificate request is over {PEM_BYTES_MAX} bytes")]
    TooLong,
    /// The identity belongs to another cluster, or its name is none.
    #[error("{0} is no member of this cluster")]
    Foreign(Identity),
    /// An alternative name that no certificate can have.
    #[error("{0:?} is neither an IP address nor a DNS name")]
    AltName(String),
    /// More than a certificate may have.
    #[error("a certificate has at most {ALT_NAMES_MAX} alternative names")]
    AltNames,
    /// A certificate that is to be renewed is not by this authority.
    #[error("the certificate was not issued by this cluster")]
    NotOurs(#[source] rustls::Error),
    /// A certificate that is to be renewed names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The request for a renewal is by another key than the certificate.
    #[error("the certificate request is by another key than the certificate")]
    OtherKey,
    /// No randomness to be had.
    #[error("the system gives no random numbers")]
    Random,
}

/// The key that signs, its certificate, and all the roots that members trust (more than one during a rotation).
pub struct Authority {
    cluster: Uuid,
    certificate: CertificateDer<'static>,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
    roots: Vec<CertificateDer<'static>>,
    /// What is sent behind its certificate, for those who know only an authority before it.
    bridges: String,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, followed by the authority's: what a server sends.
    pub cert_pem: String,
    /// Its serial number, in hexadecimal: 32 digits.
    pub serial: String,
    /// Until when it is valid, in seconds of Unix time.
    pub not_after: u64,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &self.cluster)
            .field("digest", &self.digest())
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new one; `now` in seconds of Unix time.
    ///
    /// # Errors
    /// No randomness, mostly.
    pub fn make(cluster: Uuid, now: u64) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let params = authority_params(cluster, now)?;
        let certificate = params.self_signed(&key).map_err(AuthorityError::Make)?;
        let cert_pem = certificate.pem();
        Self::load(&cert_pem, &key.serialize_pem(), &cert_pem)
    }

    /// From what [`Self::cert_pem`], [`Self::key_pem`] and [`Self::roots_pem`] said.
    ///
    /// # Errors
    /// One of them is not readable, or they don't belong together.
    pub fn load(cert_pem: &str, key_pem: &str, roots_pem: &str) -> Result<Self, AuthorityError> {
        let certificates = pem::certificates(cert_pem).ok_or(AuthorityError::Broken("certificate"))?;
        let [certificate] = <[_; 1]>::try_from(certificates).map_err(|_| AuthorityError::Broken("certificate"))?;
        let roots = pem::certificates(roots_pem).ok_or(AuthorityError::Broken("roots"))?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| AuthorityError::Broken("key"))?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| AuthorityError::Broken("certificate"))?;
        let unit = parsed.subject().iter_organizational_unit().next();
        let cluster = unit.and_then(|unit| Uuid::try_parse(unit.as_str().ok()?).ok());
        let cluster = cluster
            .filter(|_| parsed.is_ca())
            .ok_or(AuthorityError::Broken("certificate"))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::Broken("key"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key);
        let issuer = issuer.map_err(|_| AuthorityError::Broken("certificate"))?;
        let mut authority = Self {
            cluster,
            certificate: certificate.clone(),
            key_pem: key_pem.to_owned(),
            issuer,
            roots: vec![certificate],
            bridges: String::new(),
        };
        for root in roots {
            authority.add(root)?;
        }
        Ok(authority)
    }

    /// Sends these certificates behind its own from now on, with all that it issues.
    #[must_use]
    pub fn with_bridges(self, bridges: String) -> Self {
        Self { bridges, ..self }
    }

    /// A certificate for the key of the authority that takes this one's place: whoever knows only this one comes to trust
    /// the next by it. `now` is in seconds of Unix time.
    ///
    /// # Errors
    /// The other is another cluster's, or can't be signed.
    pub fn bridge_to(&self, next: &Self, now: u64) -> Result<String, AuthorityError> {
        if next.cluster != self.cluster {
            return Err(AuthorityError::Broken("successor"));
        }
        let mut params = authority_params(self.cluster, now)?;
        // Another one may come after the next.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        let signed = params
            .signed_by(next.issuer.key(), &self.issuer)
            .map_err(AuthorityError::Make)?;
        Ok(pem::text(signed.der()))
    }

    /// The cluster that it is for.
    #[must_use]
    pub const fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// Its own certificate.
    #[must_use]
    pub fn cert_pem(&self) -> String {
        pem::text(&self.certificate)
    }

    /// Its key. A secret.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Every root that members are to trust; its own is the first.
    #[must_use]
    pub fn roots_pem(&self) -> String {
        self.roots.iter().map(pem::text).collect()
    }

    /// SHA-256 of its certificate, as 64 hexadecimal digits; join tokens carry the first 32.
    #[must_use]
    pub fn digest(&self) -> String {
        pem::digest(&self.certificate)
    }

    /// The digests of all roots, its own first.
    #[must_use]
    pub fn digests(&self) -> Vec<String> {
        self.roots.iter().map(pem::digest).collect()
    }

    /// The digests of all authorities that somebody may know this cluster by: its roots, and those that bridges lead from.
    #[must_use]
    pub fn known_digests(&self) -> Vec<String> {
        let bridges = pem::certificates(&self.bridges).unwrap_or_default();
        self.digests()
            .into_iter()
            .chain(bridges.iter().map(pem::digest))
            .collect()
    }

    /// Trusts the roots in a PEM text too: first step of a rotation.
    ///
    /// # Errors
    /// Not readable, or too many.
    pub fn trust(&mut self, roots_pem: &str) -> Result<(), AuthorityError> {
        for root in pem::certificates(roots_pem).ok_or(AuthorityError::Broken("roots"))? {
            self.add(root)?;
        }
        Ok(())
    }

    /// Trusts only itself again: last step of a rotation.
    pub fn trust_only_itself(&mut self) {
        self.roots.truncate(1);
    }

    fn add(&mut self, root: CertificateDer<'static>) -> Result<(), AuthorityError> {
        let is_ca = X509Certificate::from_der(&root).is_ok_and(|(_, parsed)| parsed.is_ca());
        if !is_ca {
            return Err(AuthorityError::Broken("roots"));
        }
        if !self.roots.contains(&root) {
            if self.roots.len() == pem::CERTIFICATES_MAX {
                return Err(AuthorityError::Broken("roots"));
            }
            self.roots.push(root);
        }
        Ok(())
    }

    /// Issues a certificate for the key of a request. Of the request only the key counts, and that its signature is by
    /// that key; who it is for the caller says. `alt_names` are IP addresses and DNS names, for other clients than ours.
    /// `now` is in seconds of Unix time.
    ///
    /// # Errors
    /// The request, the identity or a name can't be used.
    pub fn issue(
        &self,
        csr_pem: &str,
        identity: &Identity,
        alt_names: &[String],
        now: u64,
        validity: Duration,
    ) -> Result<Issued, AuthorityError> {
        let request = request(csr_pem)?;
        if identity.cluster != self.cluster || !identity.is_sound() {
            return Err(AuthorityError::Foreign(identity.clone()));
        }
        if alt_names.len() > ALT_NAMES_MAX {
            return Err(AuthorityError::AltNames);
        }
        let mut params = params(now, validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params
            .distinguished_name
            .push(DnType::CommonName, identity.member.to_string());
        let uri = identity.to_string().try_into().map_err(AuthorityError::Make)?;
        params.subject_alt_names.push(SanType::URI(uri));
        for name in alt_names {
            params.subject_alt_names.push(alt_name(name)?);
        }
        let serial = params.serial_number.as_ref().map(SerialNumber::to_bytes);
        let certificate = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(AuthorityError::Make)?;
        Ok(Issued {
            cert_pem: format!("{}{}{}", pem::text(certificate.der()), self.cert_pem(), self.bridges),
            serial: hex::encode(serial.unwrap_or_default()),
            not_after: now.saturating_add(validity.as_secs()),
        })
    }

    /// Whose certificate is to be renewed, and its serial number: it must be by one of the roots, whenever that was (a
    /// node may have been off for long), and the request by the same key. Whether the serial is still welcome is for the
    /// caller to know.
    ///
    /// # Errors
    /// Anything of this is not so.
    pub fn check_renewal(&self, cert_pem: &str, csr_pem: &str) -> Result<(Identity, String), AuthorityError> {
        let request = request(csr_pem)?;
        let chain = pem::certificates(cert_pem).ok_or(IdentityError::Certificate)?;
        let info = inspect(&chain[0])?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(self.roots.iter().cloned());
        if added == 0 {
            return Err(AuthorityError::Broken("roots"));
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|_| AuthorityError::Broken("roots"))?;
        // At the last moment at which it was good.
        let then = UnixTime::since_unix_epoch(Duration::from_secs(info.not_after));
        verifier
            .verify_client_cert(&chain[0], &chain[1..], then)
            .map_err(AuthorityError::NotOurs)?;
        if info.identity.cluster != self.cluster {
            return Err(AuthorityError::Foreign(info.identity));
        }
        let (_, parsed) = X509Certificate::from_der(&chain[0]).map_err(|_| IdentityError::Certificate)?;
        if parsed.public_key().raw != request.public_key.subject_public_key_info() {
            return Err(AuthorityError::OtherKey);
        }
        Ok((info.identity, info.serial))
    }
}

/// What the certificate of an authority says.
fn authority_params(cluster: Uuid, now: u64) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(now, AUTHORITY_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.distinguished_name.push(DnType::CommonName, "symphony authority");
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, cluster.to_string());
    Ok(params)
}

/// The digest of the key that a request is for, as 64 hexadecimal digits: who asks with the same key is the same.
///
/// # Errors
/// The request can't be used.
pub fn request_key(csr_pem: &str) -> Result<String, AuthorityError> {
    Ok(hex::encode(sha256(
        &request(csr_pem)?.public_key.subject_public_key_info(),
    )))
}

/// SHA-256, for secrets that are kept as their hash.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

/// Random bytes.
///
/// # Errors
/// The system gives none.
pub fn random<const N: usize>() -> Result<[u8; N], AuthorityError> {
    let mut bytes = [0; N];
    let filled = provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| AuthorityError::Random)?;
    Ok(bytes)
}

fn request(csr_pem: &str) -> Result<CertificateSigningRequestParams, AuthorityError> {
    if csr_pem.len() > PEM_BYTES_MAX {
        return Err(AuthorityError::TooLong);
    }
    CertificateSigningRequestParams::from_pem(csr_pem).map_err(AuthorityError::Request)
}

fn alt_name(text: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let is_dns = rustls::pki_types::DnsName::try_from(text).is_ok();
    let name = text.to_owned().try_into().ok().filter(|_| is_dns);
    name.map(SanType::DnsName)
        .ok_or_else(|| AuthorityError::AltName(text.chars().take(300).collect()))
}

/// What every certificate has: a time, a random serial number, and no name yet.
fn params(now: u64, validity: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0; 16];
    provider()
        .secure_random
        .fill(&mut serial)
        .map_err(|_| AuthorityError::Random)?;
    // Positive, and always of the same length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(CLOCK_GRACE_SECONDS));
    params.not_after = epoch + Duration::from_secs(now) + validity;
    Ok(params)
}

#[cfg(test)]
mod tests;
