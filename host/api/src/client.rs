//! The typed client: one method per verb.
//!
//! Reads are tried again when nothing was answered or the manager says "not now"; a create carries an idempotency key,
//! so it can be tried again too. Every other write is sent once: what became of it is found by reading.

mod console;
mod error;
mod request;
mod upload;
mod verbs;
mod watch;

use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use console::{Console, ConsoleEnd, ConsoleInput, ConsoleOutput, Said};
pub use error::ClientError;
pub use request::ListQuery;
pub use upload::Upload;
pub use watch::{Watch, WatchQuery};

use symphony_core::token::TokenText;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one of several addresses may take to be reached, before the next is tried.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long an idle connection is kept: less than servers do, so that none is used that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take that is neither an upload nor a watch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the manager is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://HOST:PORT` or `https://HOST:PORT`; several with commas: the first of them that can be reached is taken.
    Http(String),
    /// Its control socket.
    Socket(PathBuf),
}

/// A client of one manager and one project. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    token: Option<Arc<str>>,
    project: Arc<str>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is not of the form `http://HOST:PORT`, or the socket is not there or somebody else's.
    pub fn new(endpoint: &Endpoint, token: Option<&str>, project: &str) -> Result<Self, ClientError> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(symphony_pki::trusting_nobody())
            .user_agent(concat!("symphony/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let (builder, base) = match endpoint {
            Endpoint::Http(addresses) => {
                let address = &reachable(addresses)?;
                let url = parse_address(address)?;
                let builder = match (url.scheme(), pinned(token)) {
                    ("https", Some(authority)) => {
                        let mut config = symphony_pki::pinned_client_config(&authority);
                        // Consoles are upgraded connections, which HTTP/2 does not have.
                        config.alpn_protocols = vec![b"http/1.1".to_vec()];
                        builder.tls_backend_preconfigured(config)
                    }
                    ("https", None) => return Err(ClientError::Unpinned(address.clone())),
                    _ => builder,
                };
                // A proxy means another machine by this address than the caller does, and would see the token.
                let builder = if is_loopback(&url) { builder.no_proxy() } else { builder };
                (builder, address.trim_end_matches('/').to_owned())
            }
            // The host is not looked at: the socket is where everything goes.
            Endpoint::Socket(path) => {
                own_socket(path)?;
                (builder.unix_socket(path.as_path()), "http://localhost".to_owned())
            }
        };
        let http = builder
            .build()
            .map_err(|source| ClientError::transport("the client can't be set up", source))?;
        Ok(Self {
            http,
            base: base.into(),
            token: token.map(Into::into),
            project: project.into(),
        })
    }

    /// Where the manager is, as a URL.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The project that it works in.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }
}

/// Refuses a socket that somebody else made: they would see what is asked, and could answer anything.
fn own_socket(path: &Path) -> Result<(), ClientError> {
    let known = std::fs::metadata(path).map_err(|source| ClientError::Socket {
        path: path.to_owned(),
        source,
    })?;
    if !known.file_type().is_socket() {
        return Err(ClientError::NoSocket(path.to_owned()));
    }
    if known.uid() != 0 && known.uid() != rustix::process::geteuid().as_raw() {
        return Err(ClientError::ForeignSocket(path.to_owned()));
    }
    Ok(())
}

/// The first of several addresses that takes connections; the first of all when none does, or when there is but one.
fn reachable(addresses: &str) -> Result<String, ClientError> {
    let all: Vec<&str> = addresses
        .split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .collect();
    let (Some(first), more) = (all.first(), all.len() > 1) else {
        return Err(ClientError::Address(addresses.to_owned()));
    };
    for address in all.iter().filter(|_| more) {
        let url = parse_address(address)?;
        let sockets = url.socket_addrs(|| None).unwrap_or_default();
        let takes = |socket: &std::net::SocketAddr| std::net::TcpStream::connect_timeout(socket, PROBE_TIMEOUT).is_ok();
        if sockets.iter().any(takes) {
            return Ok((*address).to_owned());
        }
    }
    Ok((*first).to_owned())
}

/// The digest of the authority that a token names: who answers must have a certificate of it.
fn pinned(token: Option<&str>) -> Option<String> {
    let token: TokenText = token?.parse().ok()?;
    Some(token.ca()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn parse_address(address: &str) -> Result<reqwest::Url, ClientError> {
    let wrong = || ClientError::Address(address.to_owned());
    let url = reqwest::Url::parse(address).map_err(|_| wrong())?;
    let bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !bare {
        return Err(wrong());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_is_sent() {
        for wrong in [
            "",
            "localhost:1",
            "ftp://x",
            "http://",
            "http://x/path",
            "http://u@x",
            "https://x",
        ] {
            assert!(
                Client::new(&Endpoint::Http(wrong.into()), None, "p").is_err(),
                "{wrong}"
            );
        }
        let client = Client::new(&Endpoint::Http("http://127.0.0.1:1/".into()), Some("secret"), "p").unwrap();
        assert_eq!(client.address(), "http://127.0.0.1:1");
        assert!(!format!("{client:?}").contains("secret"));
    }

    #[test]
    fn loopback_is_known_by_its_address() {
        for (address, own) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://localhost.example:1", false),
            ("http://10.0.0.1:1", false),
            ("http://[2001:db8::1]:1", false),
        ] {
            assert_eq!(is_loopback(&parse_address(address).unwrap()), own, "{address}");
        }
    }

    #[test]
    fn only_an_own_socket_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let client = |path: &Path| Client::new(&Endpoint::Socket(path.to_owned()), None, "p");
        let path = folder.path().join("s");
        assert!(matches!(client(&path), Err(ClientError::Socket { .. })));
        std::fs::write(folder.path().join("f"), "").unwrap();
        assert!(matches!(
            client(&folder.path().join("f")),
            Err(ClientError::NoSocket(_))
        ));
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(client(&path).is_ok());
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
            assert!(matches!(client(&path), Err(ClientError::ForeignSocket(_))));
        }
    }
}
