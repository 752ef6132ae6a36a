//! Nodes: let in for a role by a token, and members' certificates renewed.

use symphony_core::digest::Digest;
use symphony_core::keys;
use symphony_core::member::Enrolment;
use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_core::token::{Token, TokenText};
use symphony_pki::{Authority, Identity, LIFE, request_key, sha256};
use symphony_store::{Compare, Txn};

use super::{Admission, MemberError, Members, Seen, TRIES, enrolment_key, now_seconds};
use crate::clock;
use crate::write::TxnRecords as _;

/// Who wants to be let in, for what, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// The node's name.
    pub node: &'a Name,
    /// The role that is asked for.
    pub role: Role,
    /// The join token.
    pub token: &'a TokenText,
    /// Its request for a certificate.
    pub csr_pem: &'a str,
    /// The addresses by which other clients than ours reach it.
    pub alt_names: &'a [String],
}

impl Members {
    /// Lets a node in for a role, or gives one that is in another role. The token is used up for it in the same
    /// transaction; asking again with the same key for a role that it has uses nothing.
    ///
    /// # Errors
    /// The token is of no use; a node with another key has the name; the request can't be used; the store.
    pub async fn enrol(&self, applicant: Applicant<'_>) -> Result<Admission, MemberError> {
        let Applicant { node, role, .. } = applicant;
        let cluster = self.cluster().await?.ok_or(MemberError::NoCluster)?;
        let (known, _) = self.authority().await?;
        if !is_of(applicant.token, &known) {
            return Err(MemberError::TokenForeign);
        }
        let by = request_key(applicant.csr_pem)?;
        let key = keys::node_enrolment(node);
        let _next = self.line.lock().await;
        for _ in 0..TRIES {
            let (authority, still) = self.authority().await?;
            let seen: Seen<Enrolment> = self.read(&key).await?;
            let mut enrolment = match seen.value {
                Some(other) if other.key != by => return Err(MemberError::Taken(format!("node {node}"))),
                Some(same) => same,
                None => Enrolment::new(by.clone(), clock::now()),
            };
            let mut txn = Txn::new().when(still).when(Compare::mod_revision(&*key, seen.revision));
            if enrolment.roles.insert(role) {
                let (token, revision) = self.token(applicant.token, role).await?;
                let token_key = keys::token(token.id);
                txn = txn
                    .when(Compare::mod_revision(&*token_key, revision))
                    .put_record(token_key, &token.used())?;
            }
            let identity = Identity::node(cluster.id, node.as_str());
            let issued = authority.issue(applicant.csr_pem, &identity, applicant.alt_names, now_seconds(), LIFE)?;
            enrolment.certified(issued.serial, authority.digest());
            let txn = txn.put_record(key.clone(), &enrolment)?;
            symphony_crash::point("control.members.before_enrolment");
            if self.store.txn(txn).await?.succeeded {
                symphony_crash::point("control.members.after_enrolment");
                return Ok(Admission {
                    cluster,
                    cert_pem: issued.cert_pem,
                    roots_pem: authority.roots_pem(),
                });
            }
        }
        Err(MemberError::Crowded)
    }

    /// Renews a member's certificate: the one at hand may have expired, but its serial number must still be enrolled, and
    /// the request be by the same key.
    ///
    /// # Errors
    /// It is none of ours, or was revoked; the request can't be used; the store.
    pub async fn renew(&self, cert_pem: &str, csr_pem: &str, alt_names: &[String]) -> Result<Admission, MemberError> {
        let cluster = self.cluster().await?.ok_or(MemberError::NoCluster)?;
        let (known, _) = self.authority().await?;
        let (identity, serial) = known.check_renewal(cert_pem, csr_pem)?;
        let stranger = || MemberError::Stranger(identity.member.to_string());
        let key = enrolment_key(&identity.member).ok_or_else(stranger)?;
        for _ in 0..TRIES {
            let (authority, still) = self.authority().await?;
            let seen: Seen<Enrolment> = self.read(&key).await?;
            let enrolled = seen.value.filter(|enrolment| enrolment.has(&serial));
            let mut enrolment = enrolled.ok_or_else(stranger)?;
            let issued = authority.issue(csr_pem, &identity, alt_names, now_seconds(), LIFE)?;
            enrolment.renewed(&serial, issued.serial, authority.digest());
            let txn = Txn::new()
                .when(still)
                .when(Compare::mod_revision(&*key, seen.revision))
                .put_record(key.clone(), &enrolment)?;
            if self.store.txn(txn).await?.succeeded {
                return Ok(Admission {
                    cluster,
                    cert_pem: issued.cert_pem,
                    roots_pem: authority.roots_pem(),
                });
            }
        }
        Err(MemberError::Crowded)
    }

    /// The record of a join token that is of use for a role.
    async fn token(&self, text: &TokenText, role: Role) -> Result<(Token, symphony_store::Revision), MemberError> {
        let seen: Seen<Token> = self.read(&keys::token(text.id())).await?;
        let hash = Digest::new(sha256(text.secret_hex().as_bytes()));
        let token = seen.value.filter(|token| token.is_secret(&hash));
        let token = token.ok_or(MemberError::TokenUnknown(role.as_str()))?;
        token.admits(role, clock::now())?;
        Ok((token, seen.revision))
    }
}

/// Whether a token names this cluster's authority, or one before it that is still known; one that names none is taken.
fn is_of(token: &TokenText, authority: &Authority) -> bool {
    token.ca().is_none_or(|ca| {
        let named = hex::encode(ca);
        authority
            .known_digests()
            .iter()
            .any(|digest| digest.starts_with(&named))
    })
}
