//! The cluster's beginning, and its managers. Two managers that begin at the same moment make one cluster: there is one
//! transaction that can.

use symphony_core::keys;
use symphony_core::member::{Authority, Cluster, Enrolment, Manager};
use symphony_core::name::Name;
use symphony_pki::{Identity, LIFE, request_key};
use symphony_store::{Compare, Txn};

use super::{Admission, MemberError, Members, Seen, TRIES, manager_record, now_seconds};
use crate::clock;
use crate::write::TxnRecords as _;

impl Members {
    /// Makes the cluster, or finds it.
    ///
    /// # Errors
    /// The store; no randomness.
    pub async fn found(&self) -> Result<Cluster, MemberError> {
        for _ in 0..TRIES {
            self.not_restoring().await?;
            if let Some(cluster) = self.cluster().await? {
                return Ok(cluster);
            }
            let cluster = Cluster {
                id: clock::new_uuid(),
                since: clock::now(),
            };
            let made = symphony_pki::Authority::make(cluster.id, now_seconds())?;
            let authority = Authority {
                cert_pem: made.cert_pem(),
                key_pem: made.key_pem().to_owned(),
                former: Vec::new(),
                bridges: Vec::new(),
                since: cluster.since,
            };
            let txn = Txn::new()
                .when(Compare::absent(keys::RESTORE))
                .when(Compare::absent(keys::CLUSTER))
                .when(Compare::absent(keys::AUTHORITY))
                .put_record(keys::CLUSTER.to_owned(), &cluster)?
                .put_record(keys::AUTHORITY.to_owned(), &authority)?;
            // Whoever was faster: the next look finds one cluster.
            self.store.txn(txn).await?;
            symphony_crash::point("control.members.after_founding");
        }
        Err(MemberError::Crowded)
    }

    /// Looks that no backup is being written into the store: what is in it is not whole then.
    ///
    /// # Errors
    /// The store; one is.
    pub async fn not_restoring(&self) -> Result<(), MemberError> {
        match self.store.get(&keys::RESTORE.into(), None).await? {
            Some(_) => Err(MemberError::Restoring),
            None => Ok(()),
        }
    }

    /// Lets a manager in; it makes the cluster when there is none. `alt_names` are the addresses and names by which
    /// other clients than ours reach it.
    ///
    /// # Errors
    /// A manager with another key has the name; the request can't be used; the store.
    pub async fn admit_manager(
        &self,
        name: &Name,
        address: &str,
        alt_names: &[String],
        csr_pem: &str,
    ) -> Result<Admission, MemberError> {
        let cluster = self.found().await?;
        let by = request_key(csr_pem)?;
        let (key, record_key) = (keys::manager_enrolment(name), keys::manager(name));
        for _ in 0..TRIES {
            let (authority, still) = self.authority().await?;
            let seen: Seen<Enrolment> = self.read(&key).await?;
            let known: Seen<Manager> = self.read(&record_key).await?;
            let mut enrolment = match seen.value {
                Some(other) if other.key != by => return Err(MemberError::Taken(format!("manager {name}"))),
                Some(same) => same,
                None => Enrolment::new(by.clone(), clock::now()),
            };
            let identity = Identity::manager(cluster.id, name.as_str());
            let issued = authority.issue(csr_pem, &identity, alt_names, now_seconds(), LIFE)?;
            enrolment.certified(issued.serial, authority.digest());
            let txn = Txn::new()
                .when(still)
                .when(Compare::mod_revision(&*key, seen.revision))
                .when(Compare::mod_revision(&*record_key, known.revision))
                .put_record(key.clone(), &enrolment)?
                .put_record(record_key.clone(), &manager_record(known.value, address))?;
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
}
