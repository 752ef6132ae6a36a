//! Whether this node is in a cluster, in which, and what for: its certificate, how it got it, how it keeps it, and what it
//! was last told of the other members.
//!
//! ```text
//!   outside ──init: token, CSR ─► manager ─► certificate ──► in ──init: another role──► in, with that role too
//!                                                            │ two thirds of the certificate's life: renew
//! ```
//!
//! The key stays the same from the first `init` on, so whatever was cut by a crash can be asked for again. It never decides
//! what a role does, and serves nothing.

mod address;
pub(crate) mod ask;
mod error;
mod join;
mod record;
mod renewal;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use symphony_core::name::Name;
use symphony_core::node::Role;
use symphony_pki::{Credentials, Identity, Tls};
use symphony_protocol::Members;
use symphony_protocol::control::AgentStatus;
use symphony_protocol::enrol::MANAGERS_MAX;
use symphony_protocol::frame::REVOKED_MAX;
use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::data::Revoked;
use crate::step::chain;
use record::Enrolled;

pub use address::{AddressError, ManagerAddress};
pub use ask::AskError;
pub use error::{InitError, MembershipError};

/// The folder of key, certificate and roots in the agent's folder.
pub const IDENTITY_FOLDER: &str = "identity";

/// This node's membership. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Membership {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    name: Name,
    /// What the configuration lets it do; everything when empty.
    allowed: BTreeSet<Role>,
    /// Managers that the configuration names: whoever wrote it may know of moves that no manager could tell of.
    configured: Vec<ManagerAddress>,
    member: RwLock<Option<Member>>,
    /// Held while a certificate is asked for: one at a time.
    asking: tokio::sync::Mutex<()>,
    roles: watch::Sender<BTreeSet<Role>>,
    revoked: Revoked,
    /// The cluster said that it does not know this node any more.
    removed: AtomicBool,
    renew: Notify,
    /// A certificate that a manager asked for is there, to be shown.
    show: Notify,
    contact: RwLock<Contact>,
}

/// What being in a cluster consists of.
#[derive(Debug, Clone)]
struct Member {
    enrolled: Enrolled,
    credentials: Credentials,
    tls: Tls,
}

/// The session, for people.
#[derive(Debug, Clone, Default)]
struct Contact {
    manager: Option<String>,
    trouble: Option<String>,
}

impl Membership {
    /// What is kept in the agent's folder.
    ///
    /// # Errors
    /// It can't be read, or its parts don't belong together or to the configuration.
    pub fn open(config: &Config) -> Result<Self, MembershipError> {
        let folder = &config.folder;
        let credentials = Credentials::load(&folder.join(IDENTITY_FOLDER))?;
        let enrolled = Enrolled::load(folder).map_err(MembershipError::Record)?;
        let member = match (credentials, enrolled) {
            (Some(credentials), Some(enrolled)) => Some(Member::new(enrolled, credentials)?),
            (None, Some(enrolled)) => {
                tracing::warn!(cluster = %enrolled.cluster, "the node's certificate is gone; it must be let in again");
                None
            }
            // Cut between the two by a crash: whoever asked asks again.
            (Some(_) | None, None) => None,
        };
        let name = match (&member, &config.agent.name) {
            (Some(member), Some(configured)) if member.enrolled.node != *configured => {
                return Err(MembershipError::Name {
                    enrolled: member.enrolled.node.clone(),
                    configured: configured.clone(),
                });
            }
            (Some(member), _) => member.enrolled.node.clone(),
            (None, _) => config.name()?,
        };
        let configured = config.agent.join.iter().flat_map(|join| &join.managers);
        let configured = configured.filter_map(|address| address.parse().ok());
        let shared = Shared {
            folder: folder.clone(),
            name,
            allowed: config.agent.roles.iter().copied().collect(),
            configured: configured.take(MANAGERS_MAX).collect(),
            member: RwLock::new(member),
            asking: tokio::sync::Mutex::new(()),
            roles: watch::Sender::new(BTreeSet::new()),
            revoked: Revoked::default(),
            removed: AtomicBool::new(false),
            renew: Notify::new(),
            show: Notify::new(),
            contact: RwLock::default(),
        };
        let membership = Self {
            shared: Arc::new(shared),
        };
        membership.tell_roles();
        Ok(membership)
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// Its TLS; nothing outside of a cluster. It follows renewals.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.member().as_ref().map(|member| member.tls.clone())
    }

    /// What it was let in for and is configured to do; empty outside of a cluster.
    #[must_use]
    pub fn roles(&self) -> watch::Receiver<BTreeSet<Role>> {
        self.shared.roles.subscribe()
    }

    /// Where managers are: those that the configuration names, and those that were last heard of; none outside of a cluster.
    #[must_use]
    pub fn managers(&self) -> Vec<ManagerAddress> {
        let member = self.member();
        let Some(member) = member.as_ref() else {
            return Vec::new();
        };
        let mut managers = self.shared.configured.clone();
        let heard = member.enrolled.managers.iter();
        managers.extend(
            heard
                .filter(|address| !self.shared.configured.contains(address))
                .cloned(),
        );
        managers
    }

    /// Whose certificates are worth nothing. It follows what managers say.
    #[must_use]
    pub fn revoked(&self) -> Revoked {
        self.shared.revoked.clone()
    }

    /// Takes on what the leader says of the cluster's members. What can't be kept is used all the same.
    pub fn learn(&self, news: &Members) {
        self.shared
            .revoked
            .replace(news.revoked.iter().take(REVOKED_MAX).cloned().collect::<HashSet<_>>());
        if news.renew {
            self.shared.renew.notify_one();
        }
        let managers: Vec<ManagerAddress> = news.managers.iter().filter_map(|text| text.parse().ok()).collect();
        let folder = &self.shared.folder;
        self.update(|member| {
            if let Some(roots) = &news.roots_pem
                && roots != member.credentials.roots_pem()
            {
                let renewed = member.credentials.renewed(member.credentials.cert_pem(), roots);
                match renewed.map_err(Into::into).and_then(|new| member.take(new, folder)) {
                    Ok(()) => tracing::info!("the cluster's authorities have changed"),
                    Err(error) => tracing::warn!("the roots that a manager sent are not taken: {}", chain(&error)),
                }
            }
            if !managers.is_empty() && member.enrolled.managers != managers {
                member.enrolled.managers = managers.into_iter().take(MANAGERS_MAX).collect();
                if let Err(error) = member.enrolled.save(folder) {
                    tracing::warn!(%error, "where managers are can't be kept");
                }
            }
        });
    }

    /// Notes that there is a session with a manager, or why there is none.
    pub(crate) fn contact(&self, manager: &ManagerAddress, trouble: Option<String>) {
        let contact = match trouble {
            None => {
                self.shared.removed.store(false, Ordering::Relaxed);
                Contact {
                    manager: Some(manager.to_string()),
                    trouble: None,
                }
            }
            trouble => Contact { manager: None, trouble },
        };
        *self.shared.contact.write().unwrap_or_else(PoisonError::into_inner) = contact;
    }

    /// Notes that the cluster does not know this node any more: it may be let in anew.
    pub(crate) fn is_removed(&self) {
        self.shared.removed.store(true, Ordering::Relaxed);
    }

    /// How it is, for people.
    #[must_use]
    pub fn status(&self) -> AgentStatus {
        let member = self.member();
        let contact = self.shared.contact.read().unwrap_or_else(PoisonError::into_inner);
        let member = member.as_ref();
        AgentStatus {
            node: self.shared.name.clone(),
            cluster: member.map(|member| member.enrolled.cluster.to_string()),
            roles: member.map_or_else(BTreeSet::new, |member| member.enrolled.roles.clone()),
            managers: member.map_or_else(Vec::new, |member| {
                member.enrolled.managers.iter().map(ToString::to_string).collect()
            }),
            session: contact.manager.clone(),
            trouble: contact.trouble.clone(),
            cert_expires: member.map(|member| member.credentials.expires()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn member(&self) -> RwLockReadGuard<'_, Option<Member>> {
        self.shared.member.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the membership, when there is one.
    fn update<T>(&self, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let mut member = self.shared.member.write().unwrap_or_else(PoisonError::into_inner);
        member.as_mut().map(change)
    }

    fn put(&self, member: Member) {
        *self.shared.member.write().unwrap_or_else(PoisonError::into_inner) = Some(member);
        self.tell_roles();
    }

    fn tell_roles(&self) {
        let allowed = &self.shared.allowed;
        let roles: BTreeSet<Role> = self.member().as_ref().map_or_else(BTreeSet::new, |member| {
            let enrolled = member.enrolled.roles.iter().copied();
            enrolled
                .filter(|role| allowed.is_empty() || allowed.contains(role))
                .collect()
        });
        self.shared.roles.send_if_modified(|known| {
            let is_new = *known != roles;
            *known = roles;
            is_new
        });
    }

    fn identity_folder(&self) -> PathBuf {
        identity_folder(&self.shared.folder)
    }
}

impl Member {
    fn new(enrolled: Enrolled, credentials: Credentials) -> Result<Self, MembershipError> {
        let wanted = Identity::node(enrolled.cluster, enrolled.node.as_str());
        if *credentials.identity() != wanted || enrolled.managers.is_empty() {
            return Err(MembershipError::Mixed);
        }
        let tls = Tls::new(&credentials)?;
        Ok(Self {
            enrolled,
            credentials,
            tls,
        })
    }
}

impl Member {
    /// Keeps new credentials, then uses them: the old ones may be worth nothing soon.
    fn take(&mut self, credentials: Credentials, folder: &Path) -> Result<(), MembershipError> {
        credentials.save(&identity_folder(folder))?;
        self.tls.replace(&credentials)?;
        self.credentials = credentials;
        Ok(())
    }
}

fn identity_folder(folder: &Path) -> PathBuf {
    folder.join(IDENTITY_FOLDER)
}

/// Seconds of Unix time.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| passed.as_secs())
}
