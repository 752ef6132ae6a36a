//! Who is let into the cluster: managers by being able to write its store, nodes by a token. What lets a member in is its
//! enrolment; a certificate whose serial number is not in one is worth nothing, whoever signed it.
//!
//! ```text
//!   manager:  found (v1/cluster, v1/authority absent) or find ─► txn(enrolment | absent or by the same key)
//!   node:     token, role ─► txn(token used once more, enrolment + role | both as they were read)
//!   renewal:  the certificate at hand ─► txn(enrolment with the new serial)
//!   revoking: txn(enrolment gone)
//!   rotation: txn(another authority | as it was) ─► all renew ─► txn(those before trusted no more)
//! ```
//!
//! Every way in is idempotent for the same key: an answer that was lost is asked for again.

mod enrol;
mod founding;
mod minting;
mod rotation;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use symphony_core::id::ServiceId;
use symphony_core::member::{Authority, Cluster, Enrolment, Manager, Revoked};
use symphony_core::name::Name;
use symphony_core::token::TokenFault;
use symphony_core::{keys, record};
use symphony_pki::{AuthorityError, Identity, Member};
use symphony_store::{Compare, Revision, Store, Txn};

use crate::clock;
use crate::write::TxnRecords as _;

pub use enrol::Applicant;
pub use rotation::{AuthorityView, RotationError};
pub(crate) use rotation::{digest_of, retire_when_done};

/// How often something is tried when its records change under it.
const TRIES: u32 = 20;

/// Letting members in and out. Cheap to clone.
#[derive(Clone)]
pub struct Members {
    store: Arc<dyn Store>,
    /// A token of many uses is one record: whoever comes with it at the same time to the same manager waits in line, and
    /// contends with those of other managers only.
    line: Arc<tokio::sync::Mutex<()>>,
}

/// What a new member gets.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Which cluster it is.
    pub cluster: Cluster,
    /// Its certificate, with the authority's behind it.
    pub cert_pem: String,
    /// Whom it is to trust.
    pub roots_pem: String,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The store.
    #[error("the store can't be used")]
    Store(#[from] symphony_store::Error),
    /// A record.
    #[error("a record can't be used")]
    Record(#[from] record::RecordError),
    /// The request, or the authority itself.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Nobody has made the cluster yet.
    #[error("there is no cluster in this store yet; the first `symphony manager init` makes it")]
    NoCluster,
    /// A backup is being written into the store, or was in part.
    #[error(
        "a backup is being restored into this store, or its restore broke off; run `symphony restore` again to its end"
    )]
    Restoring,
    /// The name is another member's.
    #[error("{0} is a member already, with another key")]
    Taken(String),
    /// The token is none of this cluster.
    #[error("there is no such token; `symphony token create --role {0}` makes one")]
    TokenUnknown(&'static str),
    /// The token is another cluster's.
    #[error("the token is of another cluster")]
    TokenForeign,
    /// The token is of no use for this.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// The member is not enrolled, or not any more.
    #[error("{0} is no member of this cluster: it was never let in, or was removed")]
    Stranger(String),
    /// What the member keeps.
    #[error("the member's own files can't be used: {0}")]
    Kept(String),
    /// Others change the same all the time.
    #[error("the records change all the time; try again")]
    Crowded,
}

/// A record, and when it was last changed; [`Revision::NONE`] when it is not there.
struct Seen<T> {
    value: Option<T>,
    revision: Revision,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

impl Members {
    /// The members of the cluster in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        let line = Arc::default();
        Self { store, line }
    }

    /// The cluster; nothing when nobody has made it.
    ///
    /// # Errors
    /// The store.
    pub async fn cluster(&self) -> Result<Option<Cluster>, MemberError> {
        Ok(self.read(keys::CLUSTER).await?.value)
    }

    /// SHA-256 of the authority's certificate, which tokens name.
    ///
    /// # Errors
    /// The store; there is no cluster.
    pub async fn authority_sha256(&self) -> Result<[u8; 32], MemberError> {
        let mut digest = [0; 32];
        let text = self.authority().await?.0.digest();
        hex::decode_to_slice(text, &mut digest).map_err(|_| AuthorityError::Broken("digest"))?;
        Ok(digest)
    }

    /// Lets a member in no more: its certificates are worth nothing from now on. Answers whether it was a member.
    ///
    /// # Errors
    /// The store.
    pub async fn revoke(&self, member: &Member) -> Result<bool, MemberError> {
        let Some(key) = enrolment_key(member) else {
            return Ok(false);
        };
        for _ in 0..TRIES {
            let seen: Seen<Enrolment> = self.read(&key).await?;
            let Some(enrolment) = seen.value else {
                return Ok(false);
            };
            let txn = Txn::new()
                .when(Compare::mod_revision(&*key, seen.revision))
                .delete(&*key);
            if self.store.txn(without_serials(txn, &enrolment)?).await?.succeeded {
                return Ok(true);
            }
        }
        Err(MemberError::Crowded)
    }

    /// What lets a certificate's owner in now; nothing when nothing does.
    ///
    /// # Errors
    /// The store.
    pub async fn enrolment(&self, identity: &Identity, serial: &str) -> Result<Option<Enrolment>, MemberError> {
        let Some(key) = enrolment_key(&identity.member) else {
            return Ok(None);
        };
        let enrolment: Seen<Enrolment> = self.read(&key).await?;
        Ok(enrolment.value.filter(|enrolment| enrolment.has(serial)))
    }

    /// The authority that issues, and a compare that it still does: so no certificate of one that was replaced comes on
    /// record.
    async fn authority(&self) -> Result<(symphony_pki::Authority, Compare), MemberError> {
        let kept: Seen<Authority> = self.read(keys::AUTHORITY).await?;
        let still = Compare::mod_revision(keys::AUTHORITY, kept.revision);
        Ok((loaded(&kept.value.ok_or(MemberError::NoCluster)?)?, still))
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Seen<T>, MemberError> {
        let kv = self.store.get(&key.into(), None).await?;
        let revision = kv.as_ref().map_or(Revision::NONE, |kv| kv.mod_revision);
        let value = kv.map(|kv| record::decode(&kv.value)).transpose()?;
        Ok(Seen { value, revision })
    }
}

/// An authority from its record.
fn loaded(kept: &Authority) -> Result<symphony_pki::Authority, AuthorityError> {
    let authority = symphony_pki::Authority::load(&kept.cert_pem, &kept.key_pem, &kept.roots_pem())?;
    Ok(authority.with_bridges(kept.bridges_pem()))
}

/// Says in a transaction that the certificates of an enrolment are worth nothing.
///
/// # Errors
/// The records can't be written.
pub fn without_serials(mut txn: Txn, enrolment: &Enrolment) -> Result<Txn, record::RecordError> {
    let life = jiff::SignedDuration::try_from(symphony_pki::LIFE).unwrap_or(jiff::SignedDuration::from_hours(24));
    let revoked = Revoked {
        until: clock::now() + life,
    };
    for serial in &enrolment.serials {
        txn = txn.put_record(keys::revoked(serial), &revoked)?;
    }
    Ok(txn)
}

/// Where the enrolment of a member is; nothing when it can't be one.
#[must_use]
pub fn enrolment_key(member: &Member) -> Option<String> {
    match member {
        Member::Manager(name) => Some(keys::manager_enrolment(&name.parse().ok()?)),
        Member::Node(name) => Some(keys::node_enrolment(&name.parse().ok()?)),
    }
}

/// Seconds of Unix time, for certificates.
pub(super) fn now_seconds() -> u64 {
    u64::try_from(clock::now().as_second()).unwrap_or(0)
}

/// A manager's record, new or as it was, with what may have changed.
fn manager_record(old: Option<Manager>, address: &str) -> Manager {
    let (id, since) = old.map_or_else(
        || (ServiceId::new(clock::new_uuid()), clock::now()),
        |old| (old.id, old.since),
    );
    Manager {
        id,
        since,
        address: address.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

impl Members {
    /// Writes down where a manager is and what it runs, at each of its starts.
    ///
    /// # Errors
    /// The store.
    pub async fn register_manager(&self, name: &Name, address: &str) -> Result<Manager, MemberError> {
        let key = keys::manager(name);
        for _ in 0..TRIES {
            let seen: Seen<Manager> = self.read(&key).await?;
            let record = manager_record(seen.value.clone(), address);
            if seen.value.as_ref() == Some(&record) {
                return Ok(record);
            }
            let txn = Txn::new()
                .when(Compare::mod_revision(&*key, seen.revision))
                .put_record(key.clone(), &record)?;
            if self.store.txn(txn).await?.succeeded {
                return Ok(record);
            }
        }
        Err(MemberError::Crowded)
    }
}
