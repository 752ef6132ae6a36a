//! How a small etcd member of ours is started: its command line, and the wait until it serves. It starts and ends no
//! process itself, and never trades durability for speed: `--unsafe-no-fsync` is not to be had here.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// The program.
pub const PROGRAM: &str = "etcd";
/// Bytes of a member's file before it takes no more puts: etcd's own suggestion for most uses.
pub const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Revisions of history that are kept; older ones are compacted every five minutes.
pub const HISTORY_REVISIONS: u64 = 100_000;
/// Bytes of a request: ours of [`REQUEST_BYTES_MAX`](crate::limits::REQUEST_BYTES_MAX), and what etcd puts around it.
const REQUEST_BYTES: usize = crate::limits::REQUEST_BYTES_MAX + 64 * 1024;
/// Between two looks at whether it serves.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of an answer to such a look.
const LOOK_BYTES: u64 = 4096;

/// The files of a member's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberTls {
    /// What its and its clients' certificates are signed with.
    pub ca: PathBuf,
    /// Its certificate, for servers and clients both.
    pub cert: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
}

/// One member of a cluster that is started for the first time or again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name in the cluster.
    pub name: String,
    /// Its own folder.
    pub data_dir: PathBuf,
    /// `HOST:PORT` for clients.
    pub client: String,
    /// `HOST:PORT` for the other members.
    pub peer: String,
    /// All members at the first start, this one among them: name and `HOST:PORT` for the other members.
    pub cluster: Vec<(String, String)>,
    /// What the first start of this cluster is told from others by.
    pub token: String,
    /// Bytes of its file before it takes no more puts.
    pub quota_bytes: u64,
    /// Revisions of history that are kept. None keeps all until someone compacts.
    pub history_revisions: Option<u64>,
    /// TLS towards clients and members; none only on loopback or behind a tunnel.
    pub tls: Option<MemberTls>,
}

impl Member {
    /// The only member of a cluster.
    pub fn alone(data_dir: impl Into<PathBuf>, client: impl Into<String>, peer: impl Into<String>) -> Self {
        let (name, peer) = ("etcd1".to_owned(), peer.into());
        Self {
            cluster: vec![(name.clone(), peer.clone())],
            name,
            data_dir: data_dir.into(),
            client: client.into(),
            peer,
            token: "symphony".to_owned(),
            quota_bytes: QUOTA_BYTES,
            history_revisions: Some(HISTORY_REVISIONS),
            tls: None,
        }
    }

    /// All members of a cluster, given the `HOST:PORT` of each for clients and for members, each in its own folder of
    /// `folder`.
    pub fn all<'a>(folder: &Path, addresses: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Self> {
        let mut members: Vec<Self> = Vec::new();
        for (index, (client, peer)) in addresses.into_iter().enumerate() {
            let name = format!("etcd{}", index + 1);
            let mut member = Self::alone(folder.join(&name), client, peer);
            member.name = name;
            members.push(member);
        }
        let cluster: Vec<_> = members
            .iter()
            .map(|member| (member.name.clone(), member.peer.clone()))
            .collect();
        for member in &mut members {
            member.cluster.clone_from(&cluster);
        }
        members
    }

    /// Where clients reach it.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme(), self.client)
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The arguments for [`PROGRAM`]. After the first start the members are known from the folder, and the arguments
    /// that name them are ignored by etcd.
    pub fn arguments(&self) -> Vec<OsString> {
        let scheme = self.scheme();
        let url = |address: &str| format!("{scheme}://{address}");
        let cluster: Vec<_> = self
            .cluster
            .iter()
            .map(|(name, peer)| format!("{name}={}", url(peer)))
            .collect();
        let mut arguments: Vec<OsString> = Vec::new();
        let mut set = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        set("--name", self.name.clone().into());
        set("--data-dir", self.data_dir.clone().into());
        set("--listen-client-urls", url(&self.client).into());
        set("--advertise-client-urls", url(&self.client).into());
        set("--listen-peer-urls", url(&self.peer).into());
        set("--initial-advertise-peer-urls", url(&self.peer).into());
        set("--initial-cluster", cluster.join(",").into());
        set("--initial-cluster-token", self.token.clone().into());
        set("--initial-cluster-state", "new".into());
        set("--quota-backend-bytes", self.quota_bytes.to_string().into());
        set("--max-request-bytes", REQUEST_BYTES.to_string().into());
        set("--max-txn-ops", crate::limits::OPS_MAX.to_string().into());
        if let Some(revisions) = self.history_revisions {
            set("--auto-compaction-mode", "revision".into());
            set("--auto-compaction-retention", revisions.to_string().into());
        }
        set("--logger", "zap".into());
        set("--log-outputs", "stderr".into());
        if let Some(tls) = &self.tls {
            for (ca, cert, key) in [
                ("--trusted-ca-file", "--cert-file", "--key-file"),
                ("--peer-trusted-ca-file", "--peer-cert-file", "--peer-key-file"),
            ] {
                set(ca, tls.ca.clone().into());
                set(cert, tls.cert.clone().into());
                set(key, tls.key.clone().into());
            }
            arguments.push("--client-cert-auth".into());
            arguments.push("--peer-client-cert-auth".into());
        }
        arguments
    }

    /// Waits until the member serves and has a majority, as its health page says; over TLS until it accepts connections.
    ///
    /// # Errors
    /// The last refusal, when it does not serve within `patience`.
    pub async fn healthy(&self, patience: Duration) -> io::Result<()> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match timeout(left, self.look()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => io::Error::new(io::ErrorKind::TimedOut, "it does not answer"),
            };
            if Instant::now() + LOOK_EVERY >= end {
                return Err(error);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect(&self.client).await?;
        if self.tls.is_some() {
            return Ok(());
        }
        let request = format!("GET /health HTTP/1.0\r\nHost: {}\r\n\r\n", self.client);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LOOK_BYTES).read_to_string(&mut answer).await?;
        let line = answer.lines().next().unwrap_or_default();
        if line.split(' ').nth(1) == Some("200") {
            return Ok(());
        }
        Err(io::Error::other(format!("it is not healthy: {line}")))
    }
}
