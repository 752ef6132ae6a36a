//! Another authority in place of the present one, while everything runs.
//!
//! ```text
//!   rotate:  txn(the next one issues; the one before is trusted, leads to it by a bridge, and its key is gone)
//!            ─► members are told whom to trust, and renew ─► each shows its new certificate
//!            ─► txn(those before are trusted no more)                                        by the leader, by itself
//!   retire:  txn(nobody is led from those before any more: tokens that name them are of no use)     by an admin
//! ```
//!
//! Nobody has to be asked before the next one issues: servers send the bridge behind their certificates, so that who knows
//! only the one before can check them. What waits is the end of the old one: for members that still have its certificates.

use symphony_core::condition::MESSAGE_BYTES_MAX;
use symphony_core::event::{Event, Severity, Subject};
use symphony_core::keys;
use symphony_core::member::{Authority, Enrolment};
use symphony_core::token::{Token, TokenKind};
use symphony_core::{Timestamp, record};
use symphony_pki::Identity;
use symphony_store::{Compare, Range, Revision, Txn, read_all};
use tokio_util::sync::CancellationToken;

use super::{MemberError, Members, Seen, TRIES, enrolment_key, loaded, now_seconds};
use crate::clock;
use crate::events::event;
use crate::view::{State, View};
use crate::write::{TxnRecords as _, WriteError, Writer};

/// Records that are read at a time.
const PAGE: usize = 500;
/// Most that are named.
const NAMED_MAX: usize = 20;
/// How long to wait after the store failed.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// The authority, for those who look after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityView {
    /// SHA-256 of its certificate.
    pub digest: String,
    /// Since when it issues.
    pub since: Timestamp,
    /// Those before it that are trusted, by digest.
    pub trusted: Vec<String>,
    /// Those before it that tokens may still name, by digest.
    pub known: Vec<String>,
    /// Members that still have certificates of one before, or have not shown the new one: `manager/NAME`, `node/NAME`.
    pub waiting: Vec<String>,
    /// Tokens for the API that were made before it issued, and name one before it.
    pub tokens: u64,
    /// When this was so.
    pub revision: Revision,
}

/// Why the authority stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The one before is still in use.
    #[error(
        "the authority was changed at {since}, and members still have certificates of the one before: {waiting}; wait for \
         them, remove those that are gone (symphony manager service remove), or use force"
    )]
    UnderWay {
        /// Since when.
        since: Timestamp,
        /// Who is waited for.
        waiting: String,
    },
    /// Tokens name one before.
    #[error(
        "{0} tokens for the API name an authority before the present one and would be of no use; replace them \
         (symphony token list, create, revoke), or use force"
    )]
    Tokens(u64),
    /// There is none before.
    #[error("there is no authority before the present one")]
    Nothing,
    /// The records.
    #[error(transparent)]
    Member(#[from] MemberError),
}

impl From<symphony_store::Error> for RotationError {
    fn from(error: symphony_store::Error) -> Self {
        Self::Member(error.into())
    }
}

impl From<record::RecordError> for RotationError {
    fn from(error: record::RecordError) -> Self {
        Self::Member(error.into())
    }
}

impl Members {
    /// The authority, who is waited for, and which tokens name one before it.
    ///
    /// # Errors
    /// The store; there is no cluster.
    pub async fn authority_view(&self) -> Result<AuthorityView, MemberError> {
        let kept: Seen<Authority> = self.read(keys::AUTHORITY).await?;
        let kept = kept.value.ok_or(MemberError::NoCluster)?;
        let authority = loaded(&kept)?;
        let digest = authority.digest();
        let enrolled = read_all(self.store.as_ref(), Range::prefix(keys::ENROLMENTS), PAGE).await?;
        let mut waiting = Vec::new();
        for kv in &enrolled.kvs {
            let enrolment: Enrolment = record::decode(&kv.value)?;
            if !kept.former.is_empty() && !enrolment.is_only_by(&digest) {
                waiting.push(named(kv.key.as_str().unwrap_or_default()).to_owned());
            }
        }
        let mut tokens = 0;
        if !kept.bridges.is_empty() {
            let now = clock::now();
            for kv in read_all(self.store.as_ref(), Range::prefix(keys::TOKENS), PAGE)
                .await?
                .kvs
            {
                let token: Token = record::decode(&kv.value)?;
                let is_live = token.expires_at.is_none_or(|end| end > now);
                let is_api = matches!(token.kind, TokenKind::Api { .. });
                tokens += u64::from(is_live && is_api && token.created_at < kept.since);
            }
        }
        let known = authority.known_digests().into_iter().filter(|known| *known != digest);
        Ok(AuthorityView {
            trusted: authority.digests().into_iter().skip(1).collect(),
            known: known.collect(),
            since: kept.since,
            digest,
            waiting,
            tokens,
            revision: enrolled.revision,
        })
    }

    /// Has another authority issue from now on. Members take certificates of it by themselves; those before it are trusted
    /// until all have.
    ///
    /// # Errors
    /// The last time is not over yet; no randomness; the store.
    pub async fn rotate_authority(&self) -> Result<AuthorityView, RotationError> {
        for _ in 0..TRIES {
            let view = self.authority_view().await?;
            if !view.trusted.is_empty() {
                return Err(RotationError::UnderWay {
                    since: view.since,
                    waiting: some(&view.waiting),
                });
            }
            let seen: Seen<Authority> = self.read(keys::AUTHORITY).await?;
            let kept = seen.value.ok_or(MemberError::NoCluster)?;
            let present = loaded(&kept).map_err(MemberError::from)?;
            let next = symphony_pki::Authority::make(present.cluster(), now_seconds()).map_err(MemberError::from)?;
            let cross = present.bridge_to(&next, now_seconds()).map_err(MemberError::from)?;
            let rotated = kept.rotated(next.cert_pem(), next.key_pem().to_owned(), cross, clock::now());
            let message = format!(
                "authority {} issues from now on, in place of {}",
                next.digest(),
                present.digest()
            );
            let txn = Txn::new()
                .when(Compare::mod_revision(keys::AUTHORITY, seen.revision))
                .put_record(keys::AUTHORITY.to_owned(), &rotated)?
                .tell(&told("authority-rotated", &message))?;
            symphony_crash::point("control.authority.before_rotation");
            if self.store.txn(txn).await.map_err(MemberError::from)?.succeeded {
                symphony_crash::point("control.authority.after_rotation");
                return Ok(self.authority_view().await?);
            }
        }
        Err(MemberError::Crowded.into())
    }

    /// Ends all that comes of authorities before the present one: whoever knows only them is a stranger from now on.
    ///
    /// # Errors
    /// Without `force`: members or tokens still need one of them. There is none; the store.
    pub async fn retire_authorities(&self, force: bool) -> Result<AuthorityView, RotationError> {
        for _ in 0..TRIES {
            let seen: Seen<Authority> = self.read(keys::AUTHORITY).await?;
            let view = self.authority_view().await?;
            let kept = seen.value.ok_or(MemberError::NoCluster)?;
            if kept.former.is_empty() && kept.bridges.is_empty() {
                return Err(RotationError::Nothing);
            }
            if !force && !view.waiting.is_empty() {
                return Err(RotationError::UnderWay {
                    since: view.since,
                    waiting: some(&view.waiting),
                });
            }
            if !force && view.tokens > 0 {
                return Err(RotationError::Tokens(view.tokens));
            }
            let alone = Authority {
                former: Vec::new(),
                bridges: Vec::new(),
                ..kept
            };
            let message = format!("nothing but authority {} is known any more", view.digest);
            let txn = Txn::new()
                .when(Compare::mod_revision(keys::AUTHORITY, seen.revision))
                .put_record(keys::AUTHORITY.to_owned(), &alone)?
                .tell(&told("authority-retired", &message))?;
            if self.store.txn(txn).await.map_err(MemberError::from)?.succeeded {
                return Ok(self.authority_view().await?);
            }
        }
        Err(MemberError::Crowded.into())
    }

    /// A member has shown its certificate: it arrived, so those before it are worth nothing any more.
    ///
    /// # Errors
    /// The store.
    pub async fn shown(&self, identity: &Identity, serial: &str) -> Result<(), MemberError> {
        let Some(key) = enrolment_key(&identity.member) else {
            return Ok(());
        };
        for _ in 0..TRIES {
            let seen: Seen<Enrolment> = self.read(&key).await?;
            let Some(mut enrolment) = seen.value else { return Ok(()) };
            if !enrolment.shown(serial) {
                return Ok(());
            }
            let txn = Txn::new()
                .when(Compare::mod_revision(&*key, seen.revision))
                .put_record(key.clone(), &enrolment)?;
            if self.store.txn(txn).await?.succeeded {
                return Ok(());
            }
        }
        Err(MemberError::Crowded)
    }

    /// Waits until members are to trust others than these, or renew.
    pub async fn authority_changed(&self, roots_pem: &str) {
        loop {
            let seen: Result<Seen<Authority>, MemberError> = self.read(keys::AUTHORITY).await;
            if let Ok(Seen { value: Some(kept), .. }) = &seen
                && loaded(kept).is_ok_and(|authority| authority.roots_pem() != roots_pem)
            {
                return;
            }
            let from = seen.map_or(Revision::NONE, |seen| seen.revision.next());
            if let Ok(mut watch) = self
                .store
                .watch(symphony_store::Watch::key(keys::AUTHORITY, from))
                .await
            {
                // Whatever comes, even the end: it is read anew.
                let _ = watch.next().await;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Until `stop`: once all members have shown certificates of the present authority, those before it are trusted no more.
pub(crate) async fn retire_when_done(writer: Writer, view: View, stop: CancellationToken) {
    let mut changes = view.changes();
    loop {
        changes.mark_unchanged();
        let txn = settled(&view.read());
        let written = match txn {
            Ok(Some(txn)) => writer.commit(txn).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error @ (WriteError::Store(_) | WriteError::Record(_))) = &written {
            tracing::warn!(%error, "the authorities before the present one could not be retired");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if written.is_err() => {}
        }
    }
}

/// The write that ends a rotation; nothing when none is under way, or it is not done.
fn settled(state: &State) -> Result<Option<Txn>, record::RecordError> {
    let Some(kept) = state.authority.as_ref().filter(|kept| !kept.value.former.is_empty()) else {
        return Ok(None);
    };
    let Some(digest) = digest_of(&kept.value) else {
        return Ok(None);
    };
    if !state
        .enrolments
        .values()
        .all(|enrolment| enrolment.value.is_only_by(&digest))
    {
        return Ok(None);
    }
    let settled = Authority {
        former: Vec::new(),
        ..kept.value.clone()
    };
    let message = format!("all members have certificates of authority {digest}; those before it are trusted no more");
    let txn = Txn::new()
        .when(Compare::mod_revision(keys::AUTHORITY, kept.revision))
        .put_record(keys::AUTHORITY.to_owned(), &settled)?
        .tell(&told("authority-settled", &message))?;
    Ok(Some(txn))
}

/// The digest of the authority that issues; nothing when its record can't be read.
pub(crate) fn digest_of(kept: &Authority) -> Option<String> {
    symphony_pki::certificate_digest(&kept.cert_pem)
}

fn told(reason: &str, message: &str) -> Event {
    let mut message = message.to_owned();
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    let subject = Subject {
        kind: "authority".to_owned(),
        project: None,
        name: "authority".to_owned(),
        id: String::new(),
    };
    event(Severity::Normal, reason, subject, message)
}

/// `manager/NAME` or `node/NAME`, of an enrolment's key.
fn named(key: &str) -> &str {
    key.strip_prefix(keys::ENROLMENTS).unwrap_or(key)
}

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut text = names[..names.len() - more].join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
