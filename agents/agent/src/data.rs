//! The data port: HTTP over mutual TLS, for image bytes, consoles and screens. Managers of the cluster may ask for
//! everything, its other nodes for stored images, and nobody else for anything.
//!
//! It serves what the executors bring and nothing else.

mod door;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use symphony_pki::Tls;
use symphony_protocol::data::DataError;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use door::Peer;
pub use door::Revoked;

/// Connections at once, not counting WebSockets, which their executors count; more wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 128;
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 16 << 10;
const STREAMS_MAX: u32 = 16;
/// Read of a request that was refused.
const DRAIN_BYTES_MAX: usize = 8 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What a data port serves; more may be added while it does. Clones are one.
#[derive(Debug, Clone)]
pub struct Routes(Arc<RwLock<Router>>);

impl Routes {
    /// Serves more. The paths must not be served yet.
    pub fn add(&self, more: Router) {
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *routes = std::mem::take(&mut *routes).merge(more);
    }

    fn now(&self) -> Router {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<Router> for Routes {
    fn from(routes: Router) -> Self {
        let nothing = || async { refuse(StatusCode::NOT_FOUND, "not-found", "there is nothing here") };
        Self(Arc::new(RwLock::new(routes.fallback(nothing))))
    }
}

/// A data port that listens and does not serve yet.
#[derive(Debug)]
pub struct DataPort {
    listener: TcpListener,
    url: String,
}

impl DataPort {
    /// Listens. Port 0 takes a free one; for the address 0.0.0.0 the URL has the one that leads to the first of the
    /// managers (`HOST:PORT`) that there is a way to.
    ///
    /// # Errors
    /// The address can't be had.
    pub async fn bind<M: AsRef<str>>(listen: &str, managers: &[M]) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let mut address = listener.local_addr()?;
        if address.ip().is_unspecified() {
            let mut way = Err(io::Error::other("no manager is known"));
            for manager in managers {
                way = way_to(manager.as_ref(), address.ip());
                if way.is_ok() {
                    break;
                }
            }
            address.set_ip(way?);
        }
        Ok(Self {
            listener,
            url: format!("https://{address}"),
        })
    }

    /// Where others reach it: `https://ADDRESS:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until the end; requests under way are cut then.
    pub async fn serve(self, routes: impl Into<Routes>, tls: &Tls, revoked: Revoked, end: CancellationToken) {
        let routes = routes.into();
        let server = server();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let tasks = TaskTracker::new();
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, stream) = tokio::select! {
                () = end.cancelled() => break,
                // Nothing is lost when this arm is dropped but a place that is given back.
                (place, accepted) = accepted => match accepted {
                    Ok((stream, _)) => (place, stream),
                    Err(error) => {
                        // Out of file handles, mostly: wait for some to come back.
                        tracing::warn!(%error, "a connection can't be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let _ = stream.set_nodelay(true);
            let acceptor = TlsAcceptor::from(tls.server_config());
            let (server, routes, revoked, end) = (server.clone(), routes.clone(), revoked.clone(), end.clone());
            tasks.spawn(async move {
                let _place = place;
                let serve = async {
                    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
                    let stream = match handshake {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => return tracing::debug!(%error, "a handshake failed"),
                        Err(_) => return tracing::debug!("a handshake took too long"),
                    };
                    let peer = Peer::of(stream.get_ref().1);
                    let service = tower::service_fn(move |request: Request<_>| {
                        answer(
                            request.map(axum::body::Body::new),
                            peer.clone(),
                            revoked.clone(),
                            routes.now(),
                        )
                    });
                    let service = TowerToHyperService::new(service);
                    if let Err(error) = server
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await
                    {
                        tracing::debug!(%error, "a connection broke");
                    }
                };
                tokio::select! {
                    () = end.cancelled() => {}
                    () = serve => {}
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn answer(
    request: Request,
    peer: Peer,
    revoked: Revoked,
    routes: Router,
) -> Result<Response, std::convert::Infallible> {
    match peer.may(request.method(), request.uri().path(), &revoked) {
        Ok(()) => routes.oneshot(request).await,
        Err(refusal) => Ok(refusal.into_response()),
    }
}

fn server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(256 << 10);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX));
    server
}

/// An answer that says no.
#[must_use]
pub fn refuse(status: StatusCode, code: &str, message: impl Into<String>) -> Response {
    let error = DataError {
        code: code.to_owned(),
        message: message.into(),
    };
    (status, axum::Json(error)).into_response()
}

/// Reads a little of a request that was refused, and throws it away: a client that is still sending would otherwise see
/// its connection break instead of the answer. HTTP/2 has no need of it, and no harm.
pub async fn drain(body: &mut BodyDataStream) {
    let mut left_bytes = DRAIN_BYTES_MAX;
    let read = async {
        while let Some(Ok(chunk)) = body.next().await {
            left_bytes = left_bytes.saturating_sub(chunk.len());
            if left_bytes == 0 {
                return;
            }
        }
    };
    // However far it came, the answer goes out now.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, read).await;
}

/// The local address from which the manager is reached. Nothing is sent: a UDP socket only asks for the route.
fn way_to(manager: &str, unspecified: IpAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(unspecified, 0))?;
    socket.connect(manager)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests;
