//! The data port: HTTP for image bytes, consoles and screens, with the token asked for on every request.
//!
//! It serves what the executors bring and nothing else.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use symphony_protocol::data::DataError;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once, not counting WebSockets, which their executors count; more wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 128;
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 16 << 10;
const STREAMS_MAX: u32 = 16;
/// Read of a request that was refused.
const DRAIN_BYTES_MAX: usize = 8 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A data port that listens and does not serve yet.
#[derive(Debug)]
pub struct DataPort {
    listener: TcpListener,
    url: String,
}

impl DataPort {
    /// Listens. Port 0 takes a free one; for the address 0.0.0.0 the URL has the one that leads to the manager.
    ///
    /// # Errors
    /// The address can't be had.
    pub async fn bind(listen: &str, manager: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let mut address = listener.local_addr()?;
        if address.ip().is_unspecified() {
            address.set_ip(way_to(manager, address.ip())?);
        }
        Ok(Self {
            listener,
            url: format!("http://{address}"),
        })
    }

    /// Where others reach it: `http://ADDRESS:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until the end; requests under way are cut then.
    pub async fn serve(self, routes: Router, token: &str, end: CancellationToken) {
        let token: Arc<str> = Arc::from(format!("Bearer {token}"));
        let routes = routes
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "not-found", "there is nothing here") })
            .layer(axum::middleware::from_fn_with_state(token, authorise));
        let service = TowerToHyperService::new(routes);
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_TIMEOUT)
            .max_buf_size(256 << 10);
        server
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX);
        server
            .http2()
            .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX));
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
            let (server, service, end) = (server.clone(), service.clone(), end.clone());
            tasks.spawn(async move {
                let _place = place;
                tokio::select! {
                    () = end.cancelled() => {}
                    result = server.serve_connection_with_upgrades(TokioIo::new(stream), service) => {
                        if let Err(error) = result {
                            tracing::debug!(%error, "a connection broke");
                        }
                    }
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }
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

async fn authorise(State(wanted): State<Arc<str>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .map_or(&b""[..], |value| value.as_bytes());
    if is_same(given, wanted.as_bytes()) {
        next.run(request).await
    } else {
        refuse(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the data port asks for a bearer token",
        )
    }
}

/// Compares without telling by its time where the first difference is.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    let mut difference = given.len() ^ wanted.len();
    for (position, byte) in wanted.iter().enumerate() {
        difference |= usize::from(std::hint::black_box(byte ^ given.get(position).unwrap_or(&0)));
    }
    std::hint::black_box(difference) == 0
}

/// The local address from which the manager is reached. Nothing is sent: a UDP socket only asks for the route.
fn way_to(manager: &str, unspecified: IpAddr) -> io::Result<IpAddr> {
    let authority = manager.trim_start_matches("http://").trim_end_matches('/');
    let socket = UdpSocket::bind(SocketAddr::new(unspecified, 0))?;
    socket.connect(authority)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same(b"Bearer abc", b"Bearer abc"));
        for given in [&b""[..], b"Bearer ab", b"Bearer abcd", b"bearer abc", b"Bearer abd"] {
            assert!(!is_same(given, b"Bearer abc"));
        }
    }

    #[tokio::test]
    async fn only_with_the_token() {
        let port = DataPort::bind("127.0.0.1:0", "http://127.0.0.1:1").await.unwrap();
        let url = port.url().to_owned();
        let end = CancellationToken::new();
        let routes = Router::new().route("/x", get(|| async { "here" }));
        let stopped = end.clone();
        let served = tokio::spawn(async move { port.serve(routes, "sesame-1", stopped).await });
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(symphony_pki::trusting_nobody())
            .no_proxy()
            .build()
            .unwrap();
        let status = async |path: &str, token: &str| {
            let request = client.get(format!("{url}{path}")).bearer_auth(token);
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(status("/x", "sesame-1").await, 200);
        assert_eq!(status("/x", "sesame-2").await, 401);
        assert_eq!(status("/nothing", "sesame-2").await, 401);
        assert_eq!(status("/nothing", "sesame-1").await, 404);
        end.cancel();
        served.await.unwrap();
    }

    #[tokio::test]
    async fn an_open_address_is_shown_as_the_one_that_leads_to_the_manager() {
        let port = DataPort::bind("0.0.0.0:0", "http://127.0.0.1:15760").await.unwrap();
        assert!(port.url().starts_with("http://127.0.0.1:"), "{}", port.url());
    }
}
