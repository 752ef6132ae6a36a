//! What a member proves with who it is: its key, its certificate, and the roots that it trusts. In a folder, as `key.pem`,
//! `cert.pem` and `roots.pem`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::CLOCK_GRACE_SECONDS;
use crate::files;
use crate::identity::{CertificateInfo, Identity, IdentityError, inspect};
use crate::pem;

const KEY_FILE: &str = "key.pem";
const CERT_FILE: &str = "cert.pem";
const ROOTS_FILE: &str = "roots.pem";

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The folder or a file in it.
    #[error("{path} can't be used")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is not what it should be.
    #[error("the {0} can't be understood")]
    Broken(&'static str),
    /// The key and the certificate are not of one another.
    #[error("the certificate is for another key")]
    OtherKey,
    /// The certificate is nobody's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The key can be read by others.
    #[error("{0} can be read by others than its owner; make a new identity, or take their rights away (chmod 600)")]
    Open(PathBuf),
    /// A key can't be made.
    #[error("a key can't be made")]
    Make(#[source] rcgen::Error),
}

/// A member's key (ECDSA on P-256), before there is a certificate for it. A secret.
pub struct MemberKey {
    pair: KeyPair,
}

/// Key, certificate and roots, which belong together. The key is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    key_pem: String,
    cert_pem: String,
    roots_pem: String,
    info: CertificateInfo,
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberKey").finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl MemberKey {
    /// A new one.
    ///
    /// # Errors
    /// No randomness to be had.
    pub fn make() -> Result<Self, CredentialsError> {
        let pair = KeyPair::generate().map_err(CredentialsError::Make)?;
        Ok(Self { pair })
    }

    /// From its PEM text.
    ///
    /// # Errors
    /// Not a key.
    pub fn from_pem(key_pem: &str) -> Result<Self, CredentialsError> {
        let pair = KeyPair::from_pem(key_pem).map_err(|_| CredentialsError::Broken("key"))?;
        Ok(Self { pair })
    }

    /// The one that is kept in a folder, with or without a certificate; a new one, kept there, when there is none. So what
    /// is asked for again after a crash is asked for with the same key.
    ///
    /// # Errors
    /// The folder can't be used, or what is in it is no key.
    pub fn keep(folder: &Path) -> Result<Self, CredentialsError> {
        let path = folder.join(KEY_FILE);
        if let Some(text) = files::read(&path).map_err(io_error(&path))? {
            refuse_open(&path)?;
            return Self::from_pem(&text);
        }
        let key = Self::make()?;
        let written = files::make_folder(folder).and_then(|()| files::write(folder, KEY_FILE, &key.to_pem()));
        written.map_err(io_error(&path))?;
        Ok(key)
    }

    /// As PEM text. A secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// A request for a certificate, in PEM. It names nobody: who it is for the cluster says.
    ///
    /// # Errors
    /// Signing failed.
    pub fn csr_pem(&self) -> Result<String, CredentialsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.pair).map_err(CredentialsError::Make)?;
        request.pem().map_err(CredentialsError::Make)
    }
}

impl Credentials {
    /// Puts key, certificate (with its authority's behind it) and roots together.
    ///
    /// # Errors
    /// One can't be read, or they don't belong together.
    pub fn new(key_pem: &str, cert_pem: &str, roots_pem: &str) -> Result<Self, CredentialsError> {
        let key = MemberKey::from_pem(key_pem)?;
        let chain = pem::certificates(cert_pem).ok_or(CredentialsError::Broken("certificate"))?;
        pem::certificates(roots_pem).ok_or(CredentialsError::Broken("roots"))?;
        let info = inspect(&chain[0])?;
        let parsed = X509Certificate::from_der(&chain[0]);
        let is_same = parsed.is_ok_and(|(_, parsed)| parsed.public_key().raw == key.pair.subject_public_key_info());
        if !is_same {
            return Err(CredentialsError::OtherKey);
        }
        Ok(Self {
            key_pem: key_pem.to_owned(),
            cert_pem: cert_pem.to_owned(),
            roots_pem: roots_pem.to_owned(),
            info,
        })
    }

    /// With a new certificate, for the same key, and new roots.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renewed(&self, cert_pem: &str, roots_pem: &str) -> Result<Self, CredentialsError> {
        Self::new(&self.key_pem, cert_pem, roots_pem)
    }

    /// Loads them from a folder; nothing when there is no certificate.
    ///
    /// # Errors
    /// What is there can't be used.
    pub fn load(folder: &Path) -> Result<Option<Self>, CredentialsError> {
        let read = |name: &str| {
            let path = folder.join(name);
            files::read(&path).map_err(io_error(&path))
        };
        let Some(cert) = read(CERT_FILE)? else {
            return Ok(None);
        };
        let key = read(KEY_FILE)?.ok_or(CredentialsError::Broken("key"))?;
        let roots = read(ROOTS_FILE)?.ok_or(CredentialsError::Broken("roots"))?;
        refuse_open(&folder.join(KEY_FILE))?;
        Self::new(&key, &cert, &roots).map(Some)
    }

    /// Keeps them in a folder (mode 0700, the files 0600). The certificate comes last: until it is there nothing is, and it
    /// is never there with another key.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn save(&self, folder: &Path) -> Result<(), CredentialsError> {
        let path = |name: &str| folder.join(name);
        files::make_folder(folder).map_err(io_error(folder))?;
        let kept = files::read(&path(KEY_FILE)).map_err(io_error(&path(KEY_FILE)))?;
        if kept.is_none_or(|kept| kept != self.key_pem) {
            let removed = files::remove(&path(CERT_FILE)).and_then(|()| files::sync(folder));
            removed.map_err(io_error(&path(CERT_FILE)))?;
            symphony_crash::point("pki.save.before_key");
            files::write(folder, KEY_FILE, &self.key_pem).map_err(io_error(&path(KEY_FILE)))?;
        }
        symphony_crash::point("pki.save.before_roots");
        files::write(folder, ROOTS_FILE, &self.roots_pem).map_err(io_error(&path(ROOTS_FILE)))?;
        symphony_crash::point("pki.save.before_cert");
        files::write(folder, CERT_FILE, &self.cert_pem).map_err(io_error(&path(CERT_FILE)))?;
        symphony_crash::point("pki.save.after_cert");
        Ok(())
    }

    /// A request for a new certificate for the same key.
    ///
    /// # Errors
    /// Signing failed.
    pub fn csr_pem(&self) -> Result<String, CredentialsError> {
        MemberKey::from_pem(&self.key_pem)?.csr_pem()
    }

    /// The certificate, with its authority's behind it.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The key. A secret.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The roots.
    #[must_use]
    pub fn roots_pem(&self) -> &str {
        &self.roots_pem
    }

    /// Whose they are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.info.identity
    }

    /// The certificate's serial number, in hexadecimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.info.serial
    }

    /// Until when the certificate is valid, in seconds of Unix time.
    #[must_use]
    pub const fn expires(&self) -> u64 {
        self.info.not_after
    }

    /// When to ask for the next one, in seconds of Unix time: after two thirds of its life.
    #[must_use]
    pub const fn renew_at(&self) -> u64 {
        let issued = self.info.not_before + CLOCK_GRACE_SECONDS;
        issued + self.info.not_after.saturating_sub(issued) / 3 * 2
    }

    /// Whether one of the roots has this digest, or one that begins with it (hexadecimal).
    #[must_use]
    pub fn trusts(&self, digest: &str) -> bool {
        let roots = pem::certificates(&self.roots_pem).unwrap_or_default();
        !digest.is_empty() && roots.iter().any(|root| pem::digest(root).starts_with(digest))
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        pem::certificates(&self.cert_pem).unwrap_or_default()
    }

    pub(crate) const fn info(&self) -> &CertificateInfo {
        &self.info
    }
}

fn refuse_open(path: &Path) -> Result<(), CredentialsError> {
    match files::is_open_to_others(path).map_err(io_error(path))? {
        true => Err(CredentialsError::Open(path.to_owned())),
        false => Ok(()),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CredentialsError {
    let path = path.to_owned();
    move |source| CredentialsError::Io { path, source }
}

#[cfg(test)]
mod tests;
