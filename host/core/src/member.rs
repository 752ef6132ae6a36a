//! Who belongs to the cluster: its managers and nodes, what lets each of them in, and the authority that vouches for them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::id::ServiceId;
use crate::name::Name;
use crate::node::Role;

/// Certificates of one member that are good at the same time: the present one and the one before.
pub const SERIALS_MAX: usize = 2;

/// The cluster's own record. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Tells it from all other clusters.
    pub id: Uuid,
    /// When its first manager made it.
    pub since: Timestamp,
}

/// What certificates are issued with. Whoever reads it can let anyone in: only managers reach the store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its certificate.
    pub cert_pem: String,
    /// Its key.
    pub key_pem: String,
    /// The certificates of authorities before it, of which some members still have certificates.
    #[serde(default)]
    pub former: Vec<String>,
    /// Since when it issues.
    pub since: Timestamp,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("since", &self.since).finish_non_exhaustive()
    }
}

impl Authority {
    /// All certificates that members trust, the present one first.
    #[must_use]
    pub fn roots_pem(&self) -> String {
        let mut roots = self.cert_pem.clone();
        for former in &self.former {
            roots.push_str(former);
        }
        roots
    }
}

/// What lets a member in. Without it no certificate does: to revoke is to take it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The digest of its key, in hexadecimal: who asks again with the same is the same.
    #[serde(default)]
    pub key: String,
    /// What a node may do; nothing for a manager.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// The serial numbers of its certificates, the newest last; at most [`SERIALS_MAX`].
    pub serials: Vec<String>,
    /// Since when it is a member.
    pub since: Timestamp,
}

impl Enrolment {
    /// A new member's.
    #[must_use]
    pub const fn new(key: String, now: Timestamp) -> Self {
        Self {
            key,
            roles: BTreeSet::new(),
            serials: Vec::new(),
            since: now,
        }
    }

    /// Takes a new certificate on; the oldest goes.
    pub fn certified(&mut self, serial: String) {
        self.serials.push(serial);
        if self.serials.len() > SERIALS_MAX {
            self.serials.remove(0);
        }
    }

    /// Takes the certificate on that was issued in place of one: that one stays, for the answer may be lost; those before
    /// it go.
    pub fn renewed(&mut self, old: &str, serial: String) {
        self.serials.retain(|known| known == old);
        self.serials.push(serial);
    }

    /// Whether this certificate lets its owner in.
    #[must_use]
    pub fn has(&self, serial: &str) -> bool {
        self.serials.iter().any(|known| known == serial)
    }
}

/// That a certificate is worth nothing though it is in time: for those who can't look at the enrolments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When it would have expired: from then on nobody has to know.
    pub until: Timestamp,
}

/// A manager's record: its id stays when it starts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// Among the services.
    pub id: ServiceId,
    /// When it was first there.
    pub since: Timestamp,
    /// Where others reach it: `ADDRESS:PORT`.
    #[serde(default)]
    pub address: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// That a manager is heard of: its record goes with its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Which one.
    pub manager: Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_certificates_are_good_at_a_time() {
        let mut enrolment = Enrolment::new(String::new(), Timestamp::UNIX_EPOCH);
        for serial in ["a", "b", "c"] {
            enrolment.certified(serial.to_owned());
        }
        assert!(!enrolment.has("a") && enrolment.has("b") && enrolment.has("c"));
    }
}
