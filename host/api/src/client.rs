//! The typed client: one method per verb.
//!
//! Reads are tried again when nothing was answered or the manager says "not now"; a create carries an idempotency key,
//! so it can be tried again too. Every other write is sent once: what became of it is found by reading.

mod error;
mod request;
mod upload;
mod verbs;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use error::ClientError;
pub use request::ListQuery;
pub use upload::Upload;
pub use watch::{Watch, WatchQuery};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take that is neither an upload nor a watch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the manager is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://HOST:PORT`.
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
    /// When the address is not of the form `http://HOST:PORT`.
    pub fn new(endpoint: &Endpoint, token: Option<&str>, project: &str) -> Result<Self, ClientError> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("symphony/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let (builder, base) = match endpoint {
            Endpoint::Http(address) => (builder, parse_address(address)?),
            // The host is not looked at: the socket is where everything goes.
            Endpoint::Socket(path) => (builder.unix_socket(path.as_path()), "http://localhost".to_owned()),
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

fn parse_address(address: &str) -> Result<String, ClientError> {
    let wrong = || ClientError::Address(address.to_owned());
    let url = reqwest::Url::parse(address).map_err(|_| wrong())?;
    let bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
    if url.scheme() != "http" || !url.has_host() || !bare {
        return Err(wrong());
    }
    Ok(address.trim_end_matches('/').to_owned())
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
}
