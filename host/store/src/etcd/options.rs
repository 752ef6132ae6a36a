//! What can be set of the store in an etcd cluster.

use std::fmt;
use std::time::Duration;

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The certificates of a connection, each as the bytes of a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// The certificates that the members' ones are signed with.
    pub ca: Vec<u8>,
    /// Our certificate and its key, for members that ask for one.
    pub identity: Option<(Vec<u8>, Secret)>,
    /// The name that the members' certificates are for, when it is not the one in the endpoint.
    pub domain: Option<String>,
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls")
            .field("identity", &self.identity.is_some())
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// Where the cluster is, who we are to it, and how long we wait.
///
/// The user must be allowed to read and write all keys: the watch of a store follows all of them, so that it sees
/// when the cluster left one out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdOptions {
    /// The members' addresses for clients, `http://HOST:PORT` or `https://…`; what has neither is taken by whether `tls`
    /// is set.
    pub endpoints: Vec<String>,
    /// Name and password, for a cluster that asks for them.
    pub user: Option<(String, Secret)>,
    /// For members that are reached over TLS.
    pub tls: Option<EtcdTls>,
    /// How long a member may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long one member may take to answer a read, before the next one is asked.
    pub attempt_timeout: Duration,
    /// How long a call takes in all. A write is sent once, so its member may take as long.
    pub deadline: Duration,
    /// How often the watch is compared with the newest revision, to find one that is stuck.
    pub check_interval: Duration,
    /// How long a watch is silent before it gives a mark of progress.
    pub progress_interval: Duration,
    /// Revisions kept in memory for watches; who is further behind reads the cluster's history.
    pub recent_revisions: usize,
    /// Bytes of those.
    pub recent_bytes: usize,
    /// Watches at a time.
    pub watches_max: usize,
}

impl EtcdOptions {
    /// The default for a cluster with these members.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            user: None,
            tls: None,
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(5),
            check_interval: Duration::from_secs(5),
            progress_interval: Duration::from_secs(15),
            recent_revisions: 4096,
            recent_bytes: 16 * 1024 * 1024,
            watches_max: 4096,
        }
    }
}
