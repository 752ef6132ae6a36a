//! The typed client: one method per verb.
//!
//! Reads are tried again when nothing was answered or the manager says "not now"; a create carries an idempotency key,
//! so it can be tried again too. Every other write is sent once: what became of it is found by reading. Of several
//! managers the next one is asked when one can't be reached: nothing was sent then, so that is done for every request.

mod console;
mod download;
mod error;
mod managers;
mod request;
#[cfg(test)]
mod tests;
mod upload;
mod verbs;
mod watch;

use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use console::{Console, ConsoleEnd, ConsoleInput, ConsoleOutput, Said};
pub use download::Download;
pub use error::ClientError;
pub use request::ListQuery;
pub use upload::Upload;
pub use watch::{Watch, WatchQuery};

use managers::{Managers, Notice, Patience};

use symphony_core::token::TokenText;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one of several addresses may take to be reached, before the next is tried.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(2);
/// How long an idle connection is kept: less than servers do, so that none is used that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take that is neither an upload nor a watch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the manager is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://HOST:PORT` or `https://HOST:PORT`; several with commas: the next of them is asked when one can't be reached.
    Http(String),
    /// Its control socket.
    Socket(PathBuf),
}

/// A client of one manager and one project. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    managers: Arc<Managers>,
    patience: Patience,
    notice: Option<Notice>,
    token: Option<Arc<str>>,
    project: Arc<str>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address())
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
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let (mut builder, managers, patience) = match endpoint {
            Endpoint::Http(addresses) => {
                let managers = Managers::parse(addresses)?;
                let builder = match (managers.first_over_tls(), pinned(token)) {
                    (Some(_), Some(authority)) => {
                        let mut config = symphony_pki::pinned_client_config(&authority);
                        // Consoles are upgraded connections, which HTTP/2 does not have.
                        config.alpn_protocols = vec![b"http/1.1".to_vec()];
                        builder.tls_backend_preconfigured(config)
                    }
                    (Some(address), None) => return Err(ClientError::Unpinned(address.to_owned())),
                    (None, _) => builder,
                };
                // A proxy means another machine by this address than the caller does, and would see the token.
                let builder = if managers.any(is_loopback) {
                    builder.no_proxy()
                } else {
                    builder
                };
                (builder, managers, Patience::default())
            }
            // The host is not looked at: the socket is where everything goes.
            Endpoint::Socket(path) => {
                own_socket(path)?;
                let builder = builder.unix_socket(path.as_path());
                // Who asks at a socket asks that one manager how it is: no other will be ready in its place.
                (builder, Managers::parse("http://localhost")?, Patience::SHORT)
            }
        };
        let several = managers.len() > 1;
        builder = builder.connect_timeout(if several {
            CONNECT_TIMEOUT_OF_SEVERAL
        } else {
            CONNECT_TIMEOUT
        });
        let http = builder
            .build()
            .map_err(|source| ClientError::transport("the client can't be set up", source))?;
        Ok(Self {
            http,
            managers: Arc::new(managers),
            patience,
            notice: None,
            token: token.map(Into::into),
            project: project.into(),
        })
    }

    /// Tells `notice` in a sentence when a request takes long because no manager can do it now.
    #[must_use]
    pub fn with_notice(self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            notice: Some(Arc::new(notice)),
            ..self
        }
    }

    /// Where the manager is that is asked now, as a URL.
    #[must_use]
    pub fn address(&self) -> &str {
        self.managers.present().1
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
