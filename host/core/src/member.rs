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
/// Most authorities before the present one that can still be known by somebody: with each, all certificates that servers send
/// are longer.
pub const BRIDGES_MAX: usize = 2;

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
    /// What leads to it from authorities before it, for those who know no other: the texts of tokens name one. The oldest
    /// first, at most [`BRIDGES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<Bridge>,
    /// Since when it issues.
    pub since: Timestamp,
}

/// From an authority to the one that took its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// The certificate of the authority before.
    pub from_pem: String,
    /// The certificate of the next one's key, signed by the one before.
    pub cross_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("since", &self.since)
            .finish_non_exhaustive()
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

    /// What servers send behind their own certificate and the authority's, for those who know only one before it.
    #[must_use]
    pub fn bridges_pem(&self) -> String {
        let mut chain = String::new();
        for bridge in self.bridges.iter().rev() {
            chain.push_str(&bridge.cross_pem);
            chain.push_str(&bridge.from_pem);
        }
        chain
    }

    /// The authority that takes its place: the one before is trusted until nobody has a certificate of it any more. Its key is
    /// gone.
    #[must_use]
    pub fn rotated(&self, cert_pem: String, key_pem: String, cross_pem: String, now: Timestamp) -> Self {
        let mut former = self.former.clone();
        former.push(self.cert_pem.clone());
        let mut bridges = self.bridges.clone();
        bridges.push(Bridge {
            from_pem: self.cert_pem.clone(),
            cross_pem,
        });
        while bridges.len() > BRIDGES_MAX {
            bridges.remove(0);
        }
        Self {
            cert_pem,
            key_pem,
            former,
            bridges,
            since: now,
        }
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
    /// The digest of the authority that issued the newest of them; empty in records of before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
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
            by: String::new(),
            since: now,
        }
    }

    /// Takes a new certificate on, by the authority of this digest; the oldest goes.
    pub fn certified(&mut self, serial: String, by: String) {
        self.by = by;
        self.serials.push(serial);
        if self.serials.len() > SERIALS_MAX {
            self.serials.remove(0);
        }
    }

    /// Takes the certificate on that was issued in place of one: that one stays, for the answer may be lost; those before
    /// it go.
    pub fn renewed(&mut self, old: &str, serial: String, by: String) {
        self.by = by;
        self.serials.retain(|known| known == old);
        self.serials.push(serial);
    }

    /// Its newest certificate was shown: it arrived, and nobody needs those before it. Answers whether that was news.
    pub fn shown(&mut self, serial: &str) -> bool {
        let is_news = self.serials.len() > 1 && self.serials.last().is_some_and(|newest| newest == serial);
        if is_news {
            self.serials.drain(..self.serials.len() - 1);
        }
        is_news
    }

    /// Whether its member needs no other authority than this one any more.
    #[must_use]
    pub fn is_only_by(&self, digest: &str) -> bool {
        self.by == digest && self.serials.len() <= 1
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
            enrolment.certified(serial.to_owned(), "a".to_owned());
        }
        assert!(!enrolment.has("a") && enrolment.has("b") && enrolment.has("c"));
    }
    #[test]
    fn what_was_shown_ends_what_was_before() {
        let mut enrolment = Enrolment::new(String::new(), Timestamp::UNIX_EPOCH);
        enrolment.certified("1".to_owned(), "old".to_owned());
        assert!(enrolment.is_only_by("old"));
        enrolment.renewed("1", "2".to_owned(), "new".to_owned());
        assert!(
            enrolment.has("1") && !enrolment.is_only_by("new"),
            "the answer may have been lost"
        );
        assert!(!enrolment.shown("1") && enrolment.has("1"));
        assert!(enrolment.shown("2") && !enrolment.has("1") && enrolment.is_only_by("new"));
        assert!(!enrolment.shown("2"), "no news");
    }

    #[test]
    fn bridges_are_few_and_lead_from_the_newest() {
        let first = Authority {
            cert_pem: "a".to_owned(),
            key_pem: String::new(),
            former: Vec::new(),
            bridges: Vec::new(),
            since: Timestamp::UNIX_EPOCH,
        };
        let next = |before: &Authority, name: &str| {
            let cross = format!("{}>{name} ", before.cert_pem);
            before.rotated(name.to_owned(), String::new(), cross, Timestamp::UNIX_EPOCH)
        };
        let third = next(&next(&first, "b"), "c");
        assert_eq!(third.roots_pem(), "cab");
        assert_eq!(third.bridges_pem(), "b>c ba>b a");
        let fourth = next(&third, "d");
        assert_eq!(fourth.bridges.len(), BRIDGES_MAX);
        assert_eq!(fourth.bridges_pem(), "c>d cb>c b");
    }
}
