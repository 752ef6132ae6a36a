//! Renewing the certificate, in time and by itself. One that expired while the node was off is renewed too: the cluster
//! knows the node by its key.

use std::time::Duration;

use symphony_pki::Expect;
use symphony_protocol::enrol::{RENEW_PATH, Refusal, RenewAnswer, RenewRequest};
use tokio_util::sync::CancellationToken;

use super::ask::{AskError, ask};
use super::error::InitError;
use super::{Membership, now};
use crate::session::jittered;

/// How often the clock is looked at: somebody may set it.
const LOOK: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Membership {
    /// Renews the certificate whenever it is due, or a manager asks for it, until the end.
    pub async fn keep_renewed(&self, end: &CancellationToken) {
        tokio::select! {
            () = end.cancelled() => {}
            () = self.renew_always() => {}
        }
    }

    async fn renew_always(&self) {
        let mut pause = PAUSE_MIN;
        let mut is_asked = false;
        loop {
            let due = self.member().as_ref().map(|member| member.credentials.renew_at());
            let left = due.map_or(LOOK, |due| Duration::from_secs(due.saturating_sub(now())));
            if !left.is_zero() && !is_asked {
                is_asked = tokio::time::timeout(left.min(LOOK), self.shared.renew.notified())
                    .await
                    .is_ok();
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    if is_asked {
                        self.shared.show.notify_one();
                    }
                    (pause, is_asked) = (PAUSE_MIN, false);
                }
                Err(error) => {
                    if matches!(&error, InitError::Ask(ask) if ask.code() == Some(Refusal::STRANGER)) {
                        self.is_removed();
                    }
                    tracing::warn!(
                        "the certificate was not renewed, trying again: {}",
                        crate::step::chain(&error)
                    );
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Waits until there is a certificate that a manager asked for: the session is to begin anew with it.
    pub(crate) async fn to_be_shown(&self) {
        self.shared.show.notified().await;
    }

    /// Renews the certificate now, at the first manager that can.
    ///
    /// # Errors
    /// None can, or one refuses.
    pub async fn renew(&self) -> Result<(), InitError> {
        let _one_at_a_time = self.shared.asking.lock().await;
        let Some(member) = self.member().clone() else {
            return Ok(());
        };
        let request = RenewRequest {
            cert_pem: member.credentials.cert_pem().to_owned(),
            csr_pem: member.credentials.csr_pem().map_err(InitError::Keep)?,
            clock: now(),
        };
        // Without the certificate: it may have expired by the manager's clock, and is in the request.
        let tls = member.tls.anonymous_client_config(Expect::Manager);
        let mut last = AskError::NoLeader;
        for manager in &self.managers() {
            let (answer, address) = match ask::<RenewAnswer>(&tls, manager, RENEW_PATH, &request).await {
                Ok(answered) => answered,
                Err(error @ AskError::Refused { .. }) => return Err(error.into()),
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let useless = |why: String| InitError::Useless {
                address: address.clone(),
                why,
            };
            let renewed = member.credentials.renewed(&answer.cert_pem, &answer.roots_pem);
            let renewed = renewed.map_err(|error| useless(error.to_string()))?;
            if renewed.identity() != member.credentials.identity() {
                return Err(useless(format!("it is for {}", renewed.identity().member)));
            }
            symphony_crash::point("agent.renewal.before_save");
            let serial = renewed.serial().to_owned();
            let taken = self.update(|member| member.take(renewed, &self.shared.folder));
            taken
                .unwrap_or(Ok(()))
                .map_err(|error| useless(crate::step::chain(&error)))?;
            tracing::info!(serial, "certificate renewed");
            return Ok(());
        }
        Err(last.into())
    }
}
