//! Certificates from PEM, with limits.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// Longest PEM text of any kind, in bytes.
pub const PEM_BYTES_MAX: usize = 64 << 10;
/// Most certificates in one text: a chain, or the roots during a rotation.
pub(crate) const CERTIFICATES_MAX: usize = 8;

/// The certificates of a PEM text, at least one. Nothing when there are none, too many, or something can't be read.
pub(crate) fn certificates(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    if text.len() > PEM_BYTES_MAX {
        return None;
    }
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).take(CERTIFICATES_MAX + 1);
    let found: Vec<_> = found.collect::<Result<_, _>>().ok()?;
    (1..=CERTIFICATES_MAX).contains(&found.len()).then_some(found)
}

/// SHA-256 of the first certificate in a PEM text, as 64 hexadecimal digits; nothing when there is none.
#[must_use]
pub fn certificate_digest(text: &str) -> Option<String> {
    certificates(text)?.first().map(digest)
}

/// SHA-256 of a certificate's DER, as 64 hexadecimal digits.
pub(crate) fn digest(certificate: &CertificateDer<'_>) -> String {
    hex::encode(Sha256::digest(certificate))
}

/// A certificate as PEM text.
pub(crate) fn text(certificate: &CertificateDer<'_>) -> String {
    // 48 bytes are 64 characters of Base64.
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in certificate.chunks(48) {
        text.push_str(&base64(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
