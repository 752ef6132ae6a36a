//! Tokens: texts that let a process into the cluster, or a person or program use the API.
//!
//! Owns the form of the text, the record of a token (which has no secret, only its hash), and the checks on whether one is
//! of use. It never hashes and never makes random numbers: both are done where tokens are made and looked up. What is
//! hashed is [`TokenText::secret_hex`], its 32 characters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::digest::Digest;
use crate::name::Name;
use crate::node::Role;

/// The first part of every token's text: what it is, and of which form.
const PREFIX: &str = "sym1";
/// Bytes of a secret: 128 bits.
pub const SECRET_BYTES: usize = 16;
/// Bytes of the hash of the CA's certificate that a token names.
pub const CA_BYTES: usize = 16;
/// How long a join token lasts when nothing is said, in seconds.
pub const JOIN_SECONDS_DEFAULT: u64 = 15 * 60;
/// The longest that a token may last, in seconds: ten years.
pub const LIFE_SECONDS_MAX: u64 = 3_653 * 86_400;
/// Most uses of a join token.
pub const USES_MAX: u32 = 10_000;
/// Most tokens in a cluster.
pub const TOKENS_MAX: usize = 10_000;

/// Names a token. No secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; 8]);

/// Why a text is not a token, or not a token's id. Never has any of the text in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// Not a token at all.
    #[error("a token looks like sym1.ID.SECRET.CA")]
    Form,
    /// Made by a newer symphony.
    #[error("the token is of a form that this symphony does not know; it reads sym1")]
    Version,
    /// The id is not 16 hexadecimal digits.
    #[error("the id of a token is 16 lower-case hexadecimal digits")]
    Id,
    /// The secret is not 32 hexadecimal digits.
    #[error("the secret of the token is not whole; it has 32 lower-case hexadecimal digits")]
    Secret,
    /// The hash of the CA is not 32 hexadecimal digits.
    #[error("the end of the token is not whole; it has 32 lower-case hexadecimal digits, or none")]
    Ca,
}

impl TokenId {
    /// Wraps random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        exact(text).map(Self).ok_or(TokenTextError::Id)
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenTextError;

    fn try_from(text: String) -> Result<Self, TokenTextError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

/// A token as its holder has it: `sym1.ID.SECRET.CA`. [`Display`](fmt::Display) writes the whole of it, secret included;
/// `Debug` never does.
#[derive(Clone)]
pub struct TokenText {
    id: TokenId,
    secret: [u8; SECRET_BYTES],
    ca: Option<[u8; CA_BYTES]>,
}

impl TokenText {
    /// A token of random bytes, for a cluster with this CA, or with none yet: the first half of the SHA-256 of its
    /// certificate.
    #[must_use]
    pub const fn new(id: TokenId, secret: [u8; SECRET_BYTES], ca: Option<[u8; CA_BYTES]>) -> Self {
        Self { id, secret, ca }
    }

    /// Names its record.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// What is hashed, to be compared with [`Token::secret_sha256`].
    #[must_use]
    pub fn secret_hex(&self) -> String {
        hex::encode(self.secret)
    }

    /// The first half of the SHA-256 of the certificate (DER) of its cluster's CA; none: it was made before there was one.
    #[must_use]
    pub const fn ca(&self) -> Option<&[u8; CA_BYTES]> {
        self.ca.as_ref()
    }

    /// Whether it is a token of the cluster whose CA's certificate has this SHA-256. One that names no CA is of any.
    #[must_use]
    pub fn is_of(&self, certificate_sha256: &[u8; 32]) -> bool {
        self.ca.is_none_or(|ca| certificate_sha256.starts_with(&ca))
    }
}

impl fmt::Display for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ca = self.ca.map(hex::encode).unwrap_or_default();
        write!(f, "{PREFIX}.{}.{}.{ca}", self.id, hex::encode(self.secret))
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.…", self.id)
    }
}

impl FromStr for TokenText {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        let mut parts = text.trim().split('.');
        let mut next = || parts.next().ok_or(TokenTextError::Form);
        let prefix = next()?;
        if prefix != PREFIX {
            let newer = prefix
                .strip_prefix("sym")
                .is_some_and(|version| version.parse::<u16>().is_ok());
            return Err(if newer {
                TokenTextError::Version
            } else {
                TokenTextError::Form
            });
        }
        let (id, secret, ca) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(TokenTextError::Form);
        }
        Ok(Self {
            id: id.parse()?,
            secret: exact(secret).ok_or(TokenTextError::Secret)?,
            ca: match ca {
                "" => None,
                ca => Some(exact(ca).ok_or(TokenTextError::Ca)?),
            },
        })
    }
}

/// Exactly this many bytes, in lower-case digits: every token has one spelling.
fn exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = !text.bytes().any(|digit| digit.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// What a principal may do with the API, from little to much; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiRole {
    /// Reads: one project, or all.
    Viewer,
    /// Reads and writes in one project.
    Member,
    /// All projects, nodes and plugins.
    Operator,
    /// Tokens, services, projects and the audit log as well.
    Admin,
}

impl ApiRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Operator, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for ApiRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TokenKind {
    /// Lets a process enrol for a role.
    Join {
        /// That role.
        role: Role,
    },
    /// Lets a person or program use the API.
    Api {
        /// As what.
        role: ApiRole,
        /// Its project; none: all of them. A member has one; operators and admins have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<Name>,
    },
}

impl TokenKind {
    /// The word for its role.
    #[must_use]
    pub const fn role_str(&self) -> &'static str {
        match self {
            Self::Join { role } => role.as_str(),
            Self::Api { role, .. } => role.as_str(),
        }
    }
}

/// The record of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Names it.
    pub id: TokenId,
    /// What it is for.
    #[serde(flatten)]
    pub kind: TokenKind,
    /// For people; empty when none was given.
    #[serde(default)]
    pub name: String,
    /// SHA-256 of its secret ([`TokenText::secret_hex`]).
    pub secret_sha256: Digest,
    /// From when on it is of no use; none: it lasts until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How often it can be used yet; none: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// Who made it.
    pub created_by: String,
    /// For display.
    pub created_at: Timestamp,
}

/// Why a token is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It has expired.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// It was used as often as it may be.
    #[error("the token was used already")]
    Used,
    /// It is for another role.
    #[error("the token is for the role {is}, not for {asked}")]
    WrongRole {
        /// What it is for.
        is: &'static str,
        /// What was asked.
        asked: &'static str,
    },
    /// It lets processes in, not people.
    #[error("the token is for a process that joins as {0}, not for the API")]
    NotForApi(&'static str),
}

impl Token {
    /// Whether this is the SHA-256 of its secret. Takes a time that does not depend on where they differ.
    #[must_use]
    pub fn is_secret(&self, sha256: &Digest) -> bool {
        self.secret_sha256.same(sha256)
    }

    /// Whether it is of use at this time.
    ///
    /// # Errors
    /// When it has expired, or was used as often as it may be.
    pub fn usable(&self, now: Timestamp) -> Result<(), TokenFault> {
        match self.expires_at {
            Some(end) if end <= now => Err(TokenFault::Expired(end)),
            _ if self.uses_left == Some(0) => Err(TokenFault::Used),
            _ => Ok(()),
        }
    }

    /// Whether it lets a process enrol for this role, at this time.
    ///
    /// # Errors
    /// When it is of no use any more, or for something else.
    pub fn admits(&self, asked: Role, now: Timestamp) -> Result<(), TokenFault> {
        self.usable(now)?;
        match self.kind {
            TokenKind::Join { role } if role == asked => Ok(()),
            _ => Err(TokenFault::WrongRole {
                is: self.kind.role_str(),
                asked: asked.as_str(),
            }),
        }
    }

    /// What it lets a principal do with the API, at this time.
    ///
    /// # Errors
    /// When it is of no use any more, or a join token.
    pub fn api(&self, now: Timestamp) -> Result<(ApiRole, Option<&Name>), TokenFault> {
        self.usable(now)?;
        match &self.kind {
            TokenKind::Api { role, project } => Ok((*role, project.as_ref())),
            TokenKind::Join { role } => Err(TokenFault::NotForApi(role.as_str())),
        }
    }

    /// The same token after one more use. Put in place of this one, compared with its revision, so that two uses at once
    /// are two.
    #[must_use]
    pub fn used(&self) -> Self {
        Self {
            uses_left: self.uses_left.map(|left| left.saturating_sub(1)),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ca: Option<[u8; 16]>) -> TokenText {
        TokenText::new(TokenId::new([0x0a; 8]), [0xbc; 16], ca)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(kind: TokenKind) -> Token {
        Token {
            id: TokenId::new([1; 8]),
            kind,
            name: "n".into(),
            secret_sha256: Digest::new([7; 32]),
            expires_at: Some(at(100)),
            uses_left: Some(1),
            created_by: "me".into(),
            created_at: at(1),
        }
    }

    #[test]
    fn a_text_has_one_spelling_and_comes_back_as_it_was() {
        for (ca, end) in [(None, String::new()), (Some([0xef; 16]), "ef".repeat(16))] {
            let written = text(ca).to_string();
            assert_eq!(
                written,
                format!("sym1.{}.{}.{end}", "0a".repeat(8), "bc".repeat(16)),
                "the form is a promise"
            );
            let read: TokenText = written.parse().unwrap();
            assert_eq!(
                (read.id(), read.secret_hex(), read.ca()),
                (text(ca).id(), text(ca).secret_hex(), ca.as_ref())
            );
            assert!(
                format!(" {written}\n").parse::<TokenText>().is_ok(),
                "as it comes out of a file"
            );
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_repeating_it() {
        let whole = text(Some([0xef; 16])).to_string();
        let (id, secret) = ("0a".repeat(8), "bc".repeat(16));
        for (wrong, why) in [
            (String::new(), TokenTextError::Form),
            ("secret".into(), TokenTextError::Form),
            ("symphony.a.b.c".into(), TokenTextError::Form),
            (whole.replace("sym1", "sym2"), TokenTextError::Version),
            (whole.replace("sym1", "SYM1"), TokenTextError::Form),
            (format!("sym1.{id}.{secret}"), TokenTextError::Form),
            (format!("{whole}.x"), TokenTextError::Form),
            (whole.to_uppercase().replace("SYM", "sym"), TokenTextError::Id),
            (format!("sym1.{id}0.{secret}."), TokenTextError::Id),
            (format!("sym1.{id}.{}.", &secret[1..]), TokenTextError::Secret),
            (format!("sym1.{id}.{secret}.ef"), TokenTextError::Ca),
        ] {
            let error = wrong.parse::<TokenText>().unwrap_err();
            assert_eq!(error, why, "{wrong}");
            assert!(!error.to_string().contains("bcbc"), "{error}");
        }
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let shown = format!("{:?} {:#?}", text(None), text(None));
        assert!(shown.contains("0a0a") && !shown.contains("bcbc"), "{shown}");
    }

    #[test]
    fn a_cluster_is_known_by_its_certificate() {
        let mut certificate = [0xef; 32];
        assert!(text(Some([0xef; 16])).is_of(&certificate) && text(None).is_of(&certificate));
        certificate[15] = 0;
        assert!(!text(Some([0xef; 16])).is_of(&certificate));
    }

    #[test]
    fn is_of_use_until_it_expires_or_is_used_up() {
        let join = token(TokenKind::Join { role: Role::Block });
        assert_eq!(join.admits(Role::Block, at(99)), Ok(()));
        assert_eq!(join.admits(Role::Block, at(100)), Err(TokenFault::Expired(at(100))));
        assert_eq!(join.used().admits(Role::Block, at(99)), Err(TokenFault::Used));
        assert_eq!(join.used().used().uses_left, Some(0));
        assert!(matches!(
            join.admits(Role::Image, at(1)),
            Err(TokenFault::WrongRole {
                is: "block",
                asked: "image"
            })
        ));
        assert_eq!(join.api(at(1)), Err(TokenFault::NotForApi("block")));
        let endless = Token {
            expires_at: None,
            uses_left: None,
            ..token(TokenKind::Api {
                role: ApiRole::Admin,
                project: None,
            })
        };
        assert_eq!(endless.used().api(at(i64::from(u32::MAX))), Ok((ApiRole::Admin, None)));
        assert!(matches!(
            endless.admits(Role::Block, at(1)),
            Err(TokenFault::WrongRole { is: "admin", .. })
        ));
    }

    #[test]
    fn only_the_whole_hash_is_the_secret() {
        let token = token(TokenKind::Join { role: Role::Block });
        assert!(token.is_secret(&Digest::new([7; 32])));
        for place in 0..32 {
            let mut other = [7; 32];
            other[place] = 8;
            assert!(!token.is_secret(&Digest::new(other)), "{place}");
        }
    }

    #[test]
    fn records_say_what_they_are() {
        let member = token(TokenKind::Api {
            role: ApiRole::Member,
            project: Some("web".parse().unwrap()),
        });
        let written = serde_json::to_value(&member).unwrap();
        assert_eq!(written["kind"], "api");
        assert_eq!(written["role"], "member");
        assert_eq!(serde_json::from_value::<Token>(written).unwrap(), member);
        let join = serde_json::to_value(token(TokenKind::Join { role: Role::Network })).unwrap();
        assert_eq!((&join["kind"], &join["role"]), (&"join".into(), &"network".into()));
    }

    #[test]
    fn roles_have_an_order() {
        assert!(ApiRole::ALL.is_sorted());
        assert!(ApiRole::Viewer < ApiRole::Member && ApiRole::Operator < ApiRole::Admin);
    }
}
