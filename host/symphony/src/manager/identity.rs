//! Who this manager is in its cluster: found in its folder, or got by `manager init`; and renewed before it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use symphony_api::v1::Membership;
use symphony_cli::Failure;
use symphony_control::clock;
use symphony_control::members::{MemberError, Members};
use symphony_core::name::Name;
use symphony_pki::{Credentials, MemberKey, Tls};
use symphony_server::waiting::{self, Initialise};
use tokio_util::sync::CancellationToken;

use crate::folder::Folder;

/// The folder of key, certificate and roots.
const FOLDER: &str = "identity";
/// How long to wait after a renewal that failed.
const RETRY: Duration = Duration::from_secs(60);

/// What a manager is in its cluster.
#[derive(Debug, Clone)]
pub(crate) struct Applicant {
    /// Letting members in.
    pub(crate) members: Members,
    /// Its name.
    pub(crate) name: Name,
    /// Where others reach it: `ADDRESS:PORT`.
    pub(crate) address: String,
    /// Where it keeps who it is.
    pub(crate) folder: PathBuf,
}

impl Applicant {
    pub(crate) fn new(folder: &Folder, members: Members, name: Name, address: String) -> Self {
        Self {
            members,
            name,
            address,
            folder: folder.join(FOLDER),
        }
    }

    /// Who the manager is: as kept, and renewed when that is due.
    ///
    /// # Errors
    /// What is kept can't be used, or it was removed from the cluster.
    pub(crate) async fn kept(&self) -> Result<Option<Credentials>, Failure> {
        let kept = Credentials::load(&self.folder);
        let kept = kept.map_err(|error| Failure::caused("could not use this manager's certificate", &error))?;
        let Some(kept) = kept else {
            return Ok(None);
        };
        // Also when it is not due: the address may be another, and whether it is still a member is known then.
        let renewed = self.renew(&kept).await;
        renewed.map(Some).map_err(|error| match error {
            MemberError::Stranger(_) => {
                Failure::caused("this manager was removed from its cluster", &error).hint(format!(
                    "to let it in again: remove {}, start it, and run `manager init`",
                    self.folder.display()
                ))
            }
            other => Failure::caused("could not renew this manager's certificate", &other),
        })
    }

    /// Makes it a member.
    pub(crate) async fn join(&self) -> Result<(Membership, Credentials), MemberError> {
        let unusable = |error: symphony_pki::CredentialsError| MemberError::Kept(error.to_string());
        let key = MemberKey::keep(&self.folder).map_err(unusable)?;
        let csr = key.csr_pem().map_err(unusable)?;
        let names = self.alt_names();
        let admitted = self.members.admit_manager(&self.name, &self.address, &names, &csr);
        let admission = admitted.await?;
        let credentials = Credentials::new(&key.to_pem(), &admission.cert_pem, &admission.roots_pem);
        let credentials = credentials.map_err(unusable)?;
        credentials.save(&self.folder).map_err(unusable)?;
        let membership = Membership {
            cluster: admission.cluster.id,
            manager: self.name.to_string(),
            address: self.address.clone(),
        };
        Ok((membership, credentials))
    }

    /// Waits on the control socket to be made a member; nothing when it was asked to stop.
    ///
    /// # Errors
    /// The socket can't be made; what was got can't be used.
    pub(crate) async fn wait(
        &self,
        socket: &std::path::Path,
        stop: &CancellationToken,
    ) -> Result<Option<Credentials>, Failure> {
        let init = Arc::new(self.clone());
        let is_member = waiting::wait(socket, init, stop)
            .await
            .map_err(|error| Failure::caused("could not wait for `manager init`", &error))?;
        if is_member { self.kept().await } else { Ok(None) }
    }

    /// Renews the certificate whenever that is due, for as long as it runs.
    pub(crate) async fn keep_renewed(self, mut credentials: Credentials, tls: Tls, stop: CancellationToken) {
        let mut is_due = false;
        loop {
            let now = u64::try_from(clock::now().as_second()).unwrap_or(0);
            let mut wait = Duration::from_secs(credentials.renew_at().saturating_sub(now));
            let mut failed = false;
            if wait.is_zero() || is_due {
                match self.renew(&credentials).await {
                    Ok(renewed) => {
                        if let Err(error) = tls.replace(&renewed) {
                            tracing::error!(%error, "the renewed certificate can't be used");
                        }
                        tracing::info!(serial = renewed.serial(), "this manager's certificate is renewed");
                        (credentials, is_due) = (renewed, false);
                        continue;
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "this manager's certificate could not be renewed; it tries again");
                        (wait, failed) = (RETRY, true);
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                // Another authority issues, or one before it is trusted no more.
                () = self.members.authority_changed(credentials.roots_pem()), if !failed => is_due = true,
            }
        }
    }

    async fn renew(&self, credentials: &Credentials) -> Result<Credentials, MemberError> {
        let unusable = |error: symphony_pki::CredentialsError| MemberError::Kept(error.to_string());
        let csr = credentials.csr_pem().map_err(unusable)?;
        let admission = self
            .members
            .renew(credentials.cert_pem(), &csr, &self.alt_names())
            .await?;
        let renewed = credentials
            .renewed(&admission.cert_pem, &admission.roots_pem)
            .map_err(unusable)?;
        renewed.save(&self.folder).map_err(unusable)?;
        // It is here for good: those before it are over.
        self.members.shown(renewed.identity(), renewed.serial()).await?;
        Ok(renewed)
    }

    /// By what names other clients than ours reach it.
    fn alt_names(&self) -> Vec<String> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if !names.iter().any(|name| name == host) {
            names.push(host.to_owned());
        }
        names
    }
}

#[async_trait]
impl Initialise for Applicant {
    async fn initialise(&self) -> Result<Membership, MemberError> {
        Ok(self.join().await?.0)
    }
}
