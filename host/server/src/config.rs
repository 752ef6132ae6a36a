//! What can be set of a server, and its limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use symphony_core::name::Name;

/// How a server is to run.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The control socket, for the manager's own user and root, without a token.
    pub control_socket: Option<PathBuf>,
    /// Who is let in.
    pub tokens: Tokens,
    /// The manager's certificate and whom it trusts; without it the server speaks plain HTTP alone, and lets no agents in.
    pub tls: Option<symphony_pki::Tls>,
    /// Whether plain HTTP is taken besides TLS, from this server itself.
    pub plain: bool,
    /// Where others reach it, `ADDRESS:PORT`; where it listens when not given.
    pub advertise: Option<String>,
    /// The manager's own name among the services.
    pub manager: Name,
    /// The file of the audit log; none: there is none.
    pub audit_log: Option<PathBuf>,
    /// How much it takes.
    pub limits: Limits,
}

/// The secrets. Never shown.
#[derive(Clone)]
pub struct Tokens {
    /// Of clients.
    pub client: String,
    /// Of agents that have no certificate; in production they all have one.
    pub agent: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

/// How much a server takes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// Watches at a time; more are answered with `too_many_requests`.
    pub watches: usize,
    /// Uploads of images at a time; more are answered with `too_many_requests`.
    pub uploads: usize,
    /// Uploads of plugins at a time, each up to 32 MiB in memory; more are answered with `too_many_requests`.
    pub plugin_uploads: usize,
    /// Agents' sessions at a time.
    pub sessions: usize,
    /// Consoles and screens of machines that are open at a time; more are answered with `too_many_requests`.
    pub consoles: usize,
    /// Backups that are taken at a time; more are answered with `too_many_requests`.
    pub backups: usize,
    /// How long a connection may take for a request's head.
    pub head_timeout: Duration,
    /// How long a JSON body may take.
    pub body_timeout: Duration,
    /// How long an upload may be silent.
    pub upload_silence: Duration,
    /// How long requests under way may take to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // An agent has one for its session, and a few for image bytes and renewals.
            connections: 16_384,
            watches: 2_048,
            uploads: 8,
            plugin_uploads: 4,
            sessions: 10_000,
            consoles: 1024,
            backups: 2,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            upload_silence: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}
