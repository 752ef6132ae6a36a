//! One member of the cluster: its connection, made when it is first needed and made anew after a silence, and the proof
//! that it belongs to the cluster before anything is asked of it.

use std::sync::{Arc, Once, OnceLock};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::sync::Mutex;

use crate::etcd::fault::Fault;
use crate::etcd::options::EtcdOptions;
use crate::etcd::version;
use crate::{Error, Result};

/// How often a connection is tried for life. A member takes more frequent ones than each 5 s for an attack.
const PING_EVERY: std::time::Duration = std::time::Duration::from_secs(6);

/// A connection, and which one of this endpoint it is.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) client: Client,
    number: u64,
}

pub(super) struct Endpoint {
    pub(super) name: String,
    connect: ConnectOptions,
    /// The cluster's id, shared by all endpoints; set when the cluster is connected to, or by the first answer that says it.
    cluster: Arc<OnceLock<u64>>,
    line: Mutex<(u64, Option<Client>)>,
    /// Whether its version was looked at.
    warned: Once,
}

impl Endpoint {
    pub(super) fn new(name: &str, options: &EtcdOptions, cluster: Arc<OnceLock<u64>>) -> Self {
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(options.connect_timeout)
            .with_keep_alive(PING_EVERY, options.attempt_timeout)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = &options.user {
            connect = connect.with_user(user, password.expose());
        }
        if let Some(tls) = &options.tls {
            let mut with = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.ca));
            if let Some((cert, key)) = &tls.identity {
                with = with.identity(Identity::from_pem(cert, key.expose()));
            }
            if let Some(domain) = &tls.domain {
                with = with.domain_name(domain);
            }
            connect = connect.with_tls(with);
        }
        Self {
            name: name.to_owned(),
            connect,
            cluster,
            line: Mutex::new((0, None)),
            warned: Once::new(),
        }
    }

    /// The connection; made and proven first when there is none. Safe to cancel.
    pub(super) async fn line(&self) -> Result<Line, Fault> {
        let mut line = self.line.lock().await;
        if let (number, Some(client)) = &*line {
            return Ok(Line {
                client: client.clone(),
                number: *number,
            });
        }
        let (client, cluster) = self.reach().await?;
        self.check(cluster).map_err(Fault::Refused)?;
        line.0 += 1;
        line.1 = Some(client.clone());
        Ok(Line { client, number: line.0 })
    }

    /// A new connection, and the id of the cluster that answers there; nothing is proven by it.
    pub(super) async fn reach(&self) -> Result<(Client, u64), Fault> {
        let client = Client::connect([&self.name], Some(self.connect.clone())).await;
        let client = client.map_err(|error| Fault::of(&self.name, error).harmless())?;
        let status = client.maintenance_client().status().await;
        let status = status.map_err(|error| Fault::of(&self.name, error).harmless())?;
        self.warned
            .call_once(|| version::warn_if_old(&self.name, status.version()));
        for error in status.errors() {
            tracing::warn!(endpoint = %self.name, %error, "the etcd member reports an error");
        }
        let cluster = status.header().map_or(0, etcd_client::ResponseHeader::cluster_id);
        Ok((client, cluster))
    }

    /// Keeps a connection that [`reach`](Self::reach) made, once it is proven.
    pub(super) async fn keep(&self, client: Client) {
        let mut line = self.line.lock().await;
        line.0 += 1;
        line.1 = Some(client);
    }

    /// Lets go of a connection that was silent: the next call makes a new one.
    pub(super) async fn drop_line(&self, silent: &Line) {
        let mut line = self.line.lock().await;
        if line.0 == silent.number {
            line.1 = None;
        }
    }

    /// Checks that an answer is from our cluster; 0 is an answer that does not say.
    pub(super) fn check(&self, cluster: u64) -> Result<()> {
        if cluster == 0 {
            return Ok(());
        }
        let expected = *self.cluster.get_or_init(|| cluster);
        if cluster != expected {
            return Err(Error::WrongCluster {
                endpoint: self.name.clone(),
                found: cluster,
                expected,
            });
        }
        Ok(())
    }
}
