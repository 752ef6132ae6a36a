//! Which member of which cluster: as a SPIFFE URI, and as read from a certificate.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Longest name of a member, in bytes: a DNS label.
const NAME_BYTES_MAX: usize = 63;
const SCHEME: &str = "spiffe://";

/// One member of one cluster. As text: `spiffe://CLUSTER/manager/NAME` or `spiffe://CLUSTER/node/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    /// The cluster.
    pub cluster: Uuid,
    /// Who in it.
    pub member: Member,
}

/// A member, by its name: lower-case letters, digits and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// A manager.
    Manager(String),
    /// A node.
    Node(String),
}

/// Why there is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not of the form of a member's URI.
    #[error("{0:?} is not of the form spiffe://CLUSTER/manager/NAME or spiffe://CLUSTER/node/NAME")]
    Form(String),
    /// A certificate without the URI of a member, or with more than one.
    #[error("the certificate names no member of a cluster")]
    Missing,
    /// Not a certificate.
    #[error("the certificate can't be understood")]
    Certificate,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Whose it is.
    pub identity: Identity,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// From when it is valid, in seconds of Unix time.
    pub not_before: u64,
    /// Until when, in seconds of Unix time.
    pub not_after: u64,
}

impl Identity {
    /// A manager of a cluster.
    pub fn manager(cluster: Uuid, name: impl Into<String>) -> Self {
        Self {
            cluster,
            member: Member::Manager(name.into()),
        }
    }

    /// A node of a cluster.
    pub fn node(cluster: Uuid, name: impl Into<String>) -> Self {
        Self {
            cluster,
            member: Member::Node(name.into()),
        }
    }

    /// Whether it can be written down and read back.
    pub(crate) fn is_sound(&self) -> bool {
        is_name(self.member.name())
    }
}

impl Member {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Manager(name) | Self::Node(name) => name,
        }
    }

    /// Whether it is a manager.
    #[must_use]
    pub const fn is_manager(&self) -> bool {
        matches!(self, Self::Manager(_))
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `manager NAME` or `node NAME`, for people.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager(name) => write!(f, "manager {name}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.member.is_manager() { "manager" } else { "node" };
        write!(f, "{SCHEME}{}/{kind}/{}", self.cluster, self.member.name())
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let parsed = || {
            let mut parts = text.strip_prefix(SCHEME)?.split('/');
            let (cluster, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
            if parts.next().is_some() || !is_name(name) {
                return None;
            }
            // One spelling only: what is compared as text elsewhere must not differ.
            let id = Uuid::try_parse(cluster).ok().filter(|id| id.to_string() == cluster)?;
            match kind {
                "manager" => Some(Self::manager(id, name)),
                "node" => Some(Self::node(id, name)),
                _ => None,
            }
        };
        parsed().ok_or_else(|| IdentityError::Form(text.chars().take(200).collect()))
    }
}

impl TryFrom<String> for Identity {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

/// Reads a member's certificate. Nothing of it is verified here.
///
/// # Errors
/// Not a certificate, or not a member's.
pub fn inspect(certificate: &CertificateDer<'_>) -> Result<CertificateInfo, IdentityError> {
    let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Certificate)?;
    if !rest.is_empty() || parsed.is_ca() {
        return Err(IdentityError::Missing);
    }
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| IdentityError::Certificate)?
        .ok_or(IdentityError::Missing)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(IdentityError::Missing);
    };
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    Ok(CertificateInfo {
        identity: uri.parse()?,
        serial: hex::encode(parsed.raw_serial()),
        not_before: seconds(parsed.validity().not_before),
        not_after: seconds(parsed.validity().not_after),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn an_identity_reads_back() {
        for text in [
            format!("spiffe://{CLUSTER}/manager/m1"),
            format!("spiffe://{CLUSTER}/node/a-7"),
        ] {
            let identity: Identity = text.parse().unwrap();
            assert_eq!(identity.to_string(), text);
            let json = serde_json::to_string(&identity).unwrap();
            assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
        }
    }

    #[test]
    fn what_is_nearly_one_is_none() {
        let long = "n".repeat(64);
        for path in [
            "node/", "node/a/b", "node/A", "node/-a", "nodes/a", "node", "", "/node/a", "node/a b", "node/ä",
            "node/a?x",
        ] {
            assert!(
                format!("spiffe://{CLUSTER}/{path}").parse::<Identity>().is_err(),
                "{path}"
            );
        }
        assert!(format!("spiffe://{CLUSTER}/node/{long}").parse::<Identity>().is_err());
        for cluster in [
            CLUSTER.to_uppercase(),
            CLUSTER.replace('-', ""),
            format!("{{{CLUSTER}}}"),
        ] {
            assert!(
                format!("spiffe://{cluster}/node/a").parse::<Identity>().is_err(),
                "{cluster}"
            );
        }
        assert!(format!("https://{CLUSTER}/node/a").parse::<Identity>().is_err());
    }
}
