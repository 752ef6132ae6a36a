//! Why a TLS connection came to nothing, in words for a person: "it" is always the other side.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Its certificate is by another authority than ours, or than the token's.
    #[error("it belongs to another cluster")]
    OtherCluster,
    /// A member, and not the one that was wanted.
    #[error("it is {found}, not {wanted}")]
    OtherMember {
        /// Who was wanted.
        wanted: String,
        /// Who it is.
        found: String,
    },
    /// A certificate without a member in it.
    #[error("its certificate is not one of a manager or a node")]
    NoMember,
    /// Its certificate is not valid yet, by the clock here.
    #[error(
        "its certificate is valid from {} on, and the clock here says {}: the clocks of the two servers are apart; \
         set them (timedatectl)", time(*.from), time(*.now)
    )]
    NotYet {
        /// The clock here, in seconds of Unix time.
        now: u64,
        /// From when the certificate is valid.
        from: u64,
    },
    /// Its certificate has expired, by the clock here.
    #[error(
        "its certificate was valid until {}, and the clock here says {}: the clocks of the two servers are apart \
         (timedatectl), or it could not renew it", time(*.until), time(*.now)
    )]
    Expired {
        /// The clock here, in seconds of Unix time.
        now: u64,
        /// Until when the certificate was valid.
        until: u64,
    },
    /// It says so of our certificate.
    #[error("by its clock the certificate of this server has expired or is not valid yet: are the two clocks apart?")]
    OursExpired,
    /// It does not accept our certificate.
    #[error("it does not accept the certificate of this server: it belongs to another cluster, or was taken back")]
    OursRefused,
    /// Something that is no TLS.
    #[error("it answers, but not with TLS")]
    NoTls,
    /// Anything else about its certificate.
    #[error("its certificate can't be used ({0})")]
    Certificate(String),
    /// Anything else about TLS.
    #[error("TLS with it failed ({0})")]
    Other(String),
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// What an error, or one of its causes, says of TLS; nothing when it has nothing to do with it.
#[must_use]
pub fn trouble(error: &(dyn Error + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(of_tls(found));
        }
        next = match error.downcast_ref::<io::Error>() {
            // The source of such an error is that of what is inside it; it would be skipped.
            Some(outer) => match outer.get_ref() {
                Some(inner) => Some(inner as &(dyn Error + 'static)),
                None => None,
            },
            None => error.source(),
        };
    }
    None
}

fn of_tls(error: &rustls::Error) -> Trouble {
    match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::InvalidMessage(_) => Trouble::NoTls,
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => Trouble::OursExpired,
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
            | AlertDescription::DecryptError,
        ) => Trouble::OursRefused,
        other => Trouble::Other(other.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> Trouble {
    match error {
        CertificateError::ExpiredContext { time, not_after } => Trouble::Expired {
            now: time.as_secs(),
            until: not_after.as_secs(),
        },
        CertificateError::NotValidYetContext { time, not_before } => Trouble::NotYet {
            now: time.as_secs(),
            from: not_before.as_secs(),
        },
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Trouble::OtherCluster,
        CertificateError::Other(other) => match other.0.downcast_ref::<Trouble>() {
            Some(trouble) => trouble.clone(),
            None => Trouble::Certificate(other.to_string()),
        },
        other => Trouble::Certificate(other.to_string()),
    }
}
