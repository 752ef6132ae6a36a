//! Getting in: for a role, with a token, at any manager.

use std::sync::atomic::Ordering;
use std::time::Duration;

use symphony_core::node::Role;
use symphony_core::token::TokenText;
use symphony_pki::{Credentials, Identity, MemberKey, Trouble, pinned_client_config};
use symphony_protocol::PROTOCOL_VERSION;
use symphony_protocol::config::JoinConfig;
use symphony_protocol::enrol::{ENROL_PATH, EnrolAnswer, EnrolRequest, MANAGERS_MAX};
use tokio_util::sync::CancellationToken;

use super::address::ManagerAddress;
use super::ask::{AskError, ask};
use super::error::{InitError, MembershipError};
use super::record::Enrolled;
use super::{Member, Membership, now};
use crate::session::jittered;

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

impl Membership {
    /// Lets the node in for a role: asks a manager for a certificate, and keeps it.
    ///
    /// # Errors
    /// What is wrong with what was given, or why the manager says no. Nothing has changed then.
    pub async fn init(&self, role: Role, manager: &str, token: &str) -> Result<(), InitError> {
        let address: ManagerAddress = manager.parse()?;
        let text: TokenText = token.parse()?;
        let ca = text.ca().ok_or(InitError::TokenNamesNobody(role))?;
        let ca: String = ca.iter().map(|byte| format!("{byte:02x}")).collect();
        let allowed = &self.shared.allowed;
        if !allowed.is_empty() && !allowed.contains(&role) {
            return Err(InitError::NotAllowed {
                role,
                allowed: allowed.iter().map(|role| role.as_str()).collect(),
            });
        }
        let _one_at_a_time = self.shared.asking.lock().await;
        let before = self.before(role, &ca)?;
        let key = MemberKey::keep(&self.identity_folder()).map_err(InitError::Keep)?;
        let request = EnrolRequest {
            token: text.to_string(),
            csr_pem: key.csr_pem().map_err(InitError::Keep)?,
            node: self.shared.name.clone(),
            role,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL_VERSION,
            clock: now(),
        };
        symphony_crash::point("agent.init.before_request");
        let asked = ask::<EnrolAnswer>(&pinned_client_config(&ca), &address, ENROL_PATH, &request).await;
        let (answer, address) = asked.map_err(|error| match error {
            AskError::Tls {
                address,
                trouble: Trouble::OtherCluster,
            } => InitError::Foreign { address, role },
            other => other.into(),
        })?;
        symphony_crash::point("agent.init.after_answer");
        let credentials = self.checked(&key, &answer, &ca, &address)?;
        self.enter(before, credentials, role, &answer, address)
    }

    /// The membership that a role is added to; nothing when the node is in no cluster yet, or no more.
    fn before(&self, role: Role, ca: &str) -> Result<Option<Member>, InitError> {
        let member = self.member().clone();
        let Some(member) = member.filter(|_| !self.shared.removed.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        if !member.credentials.trusts(ca) {
            return Err(InitError::InAnother(member.enrolled.cluster));
        }
        if member.enrolled.roles.contains(&role) {
            return Err(InitError::Already {
                node: member.enrolled.node,
                role,
                cluster: member.enrolled.cluster,
            });
        }
        Ok(Some(member))
    }

    /// The credentials in an answer: for this node's key and name, of the token's cluster.
    fn checked(
        &self,
        key: &MemberKey,
        answer: &EnrolAnswer,
        ca: &str,
        address: &ManagerAddress,
    ) -> Result<Credentials, InitError> {
        let useless = |why: String| InitError::Useless {
            address: address.clone(),
            why,
        };
        let credentials = Credentials::new(&key.to_pem(), &answer.cert_pem, &answer.roots_pem);
        let credentials = credentials.map_err(|error| useless(error.to_string()))?;
        if !credentials.trusts(ca) {
            return Err(useless("its roots are not those of the token's cluster".to_owned()));
        }
        let cluster = credentials.identity().cluster;
        let wanted = Identity::node(cluster, self.shared.name.as_str());
        if *credentials.identity() != wanted || answer.cluster != cluster.to_string() {
            return Err(useless(format!("it is for {}", credentials.identity().member)));
        }
        Ok(credentials)
    }

    fn enter(
        &self,
        before: Option<Member>,
        credentials: Credentials,
        role: Role,
        answer: &EnrolAnswer,
        address: ManagerAddress,
    ) -> Result<(), InitError> {
        let named = answer.managers.iter().filter_map(|text| text.parse().ok());
        let mut managers: Vec<ManagerAddress> = named.take(MANAGERS_MAX).collect();
        if managers.is_empty() {
            managers.push(address.clone());
        }
        let mut enrolled = match &before {
            Some(member) => member.enrolled.clone(),
            None => Enrolled {
                cluster: credentials.identity().cluster,
                node: self.shared.name.clone(),
                roles: std::collections::BTreeSet::new(),
                managers: Vec::new(),
            },
        };
        enrolled.roles.insert(role);
        enrolled.managers = managers;
        credentials.save(&self.identity_folder()).map_err(InitError::Keep)?;
        enrolled.save(&self.shared.folder).map_err(InitError::Record)?;
        let useless = |why: String| InitError::Useless { address, why };
        let member = match before {
            Some(member) => {
                let replaced = member.tls.replace(&credentials);
                replaced.map_err(|error| useless(error.to_string()))?;
                Member {
                    enrolled,
                    credentials,
                    tls: member.tls,
                }
            }
            None => self
                .anew(enrolled, credentials)
                .map_err(|error| useless(error.to_string()))?,
        };
        self.shared.removed.store(false, Ordering::Relaxed);
        tracing::info!(role = role.as_str(), cluster = %member.enrolled.cluster, "let in");
        self.put(member);
        Ok(())
    }

    /// A node that was removed and is let in again: what runs goes on with the TLS that it has, under the new certificate.
    fn anew(&self, enrolled: Enrolled, credentials: Credentials) -> Result<Member, MembershipError> {
        let kept = self.tls().filter(|tls| tls.identity() == *credentials.identity());
        let mut member = Member::new(enrolled, credentials)?;
        if let Some(tls) = kept {
            tls.replace(&member.credentials)?;
            member.tls = tls;
        }
        Ok(member)
    }

    /// Gets in by itself for the roles that the node does not have yet: tries all managers, again and again, until it is in
    /// or a token is of no use. Returns when there is nothing left to try.
    pub async fn join(&self, roles: &[Role], join: &JoinConfig, end: &CancellationToken) {
        for (role, token) in roles.iter().zip(&join.tokens) {
            let has = |member: &Member| member.enrolled.roles.contains(role);
            if self.member().as_ref().is_some_and(has) {
                continue;
            }
            tokio::select! {
                // Whatever was asked for is asked for again with the same key.
                () = end.cancelled() => return,
                () = self.join_as(*role, token, &join.managers) => {}
            }
        }
    }

    async fn join_as(&self, role: Role, token: &str, managers: &[String]) {
        let mut pause = PAUSE_MIN;
        loop {
            let mut is_lost = true;
            for manager in managers {
                match self.init(role, manager, token).await {
                    Ok(()) | Err(InitError::Already { .. }) => return,
                    Err(error) => {
                        is_lost &= !error.may_pass();
                        let error = crate::step::chain(&error);
                        tracing::warn!(role = role.as_str(), manager, "not let in: {error}");
                        let address = manager.parse::<ManagerAddress>();
                        if let (Ok(address), true) = (address, self.member().is_none()) {
                            self.contact(&address, Some(error));
                        }
                    }
                }
            }
            if is_lost {
                tracing::error!(
                    role = role.as_str(),
                    "the token in agent.toml is of no use; `symphony --socket …/control.sock {} init MANAGER --token T` lets the node in",
                    role.as_str()
                );
                return;
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
