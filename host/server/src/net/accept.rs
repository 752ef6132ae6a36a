//! Connections: accepted one by one up to a limit, served with HTTP/1.1 or HTTP/2 as the client likes, ended in order.
//!
//! A connection that begins with a TLS record is TLS; where plain HTTP is allowed besides, it is from this server alone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::app::App;
use crate::peer::Peer;

/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// How often a silent HTTP/2 connection is asked whether it lives, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(15));
/// The first byte of a TLS connection: a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What somebody is told who speaks plain HTTP where TLS is wanted.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    this manager speaks https only\n";
/// The pause after an accept that failed for want of something (files, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Holds the connections of one listener.
pub(super) struct Connections {
    http: Arc<Builder<TokioExecutor>>,
    seats: Arc<Semaphore>,
    ending: GracefulShutdown,
    /// Ends what is still there when the time for an orderly end is over.
    cut: CancellationToken,
}

impl Connections {
    pub(super) fn new(app: &App) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(app.limits.head_timeout)
            .max_buf_size(HEAD_BYTES_MAX as usize);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX);
        Self {
            http: Arc::new(http),
            seats: Arc::new(Semaphore::new(app.limits.connections)),
            ending: GracefulShutdown::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Waits for room for another connection; none when the manager stops first.
    pub(super) async fn seat(&self, app: &App) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            seat = self.seats.clone().acquire_owned() => seat.ok(),
            () = app.shutdown.cancelled() => None,
        }
    }

    /// Serves a TCP connection in a task of its own, after it has shown who is there.
    fn welcome(&self, app: &App, stream: TcpStream, from: SocketAddr, router: Router, seat: OwnedSemaphorePermit) {
        let (http, watcher, cut, app) = (self.http.clone(), self.ending.watcher(), self.cut.clone(), app.clone());
        tokio::spawn(async move {
            app.metrics.connections.inc();
            // A handshake has the time of a request's head.
            let greeted = tokio::time::timeout(app.limits.head_timeout, greet(&app, stream, from));
            let greeted = tokio::select! {
                greeted = greeted => greeted.unwrap_or(None),
                () = app.shutdown.cancelled() => None,
            };
            match greeted {
                Some((Greeted::Plain(stream), peer)) => {
                    hold(&http, stream, router, peer, watcher, &cut).await;
                }
                Some((Greeted::Tls(stream), peer)) => {
                    hold(&http, *stream, router, peer, watcher, &cut).await;
                }
                None => {}
            }
            app.metrics.connections.dec();
            drop(seat);
        });
    }

    /// Serves a connection in a task of its own.
    pub(super) fn serve<I>(&self, app: &App, io: I, router: Router, peer: Peer, seat: OwnedSemaphorePermit)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (http, watcher, cut, app) = (self.http.clone(), self.ending.watcher(), self.cut.clone(), app.clone());
        tokio::spawn(async move {
            app.metrics.connections.inc();
            hold(&http, io, router, peer, watcher, &cut).await;
            app.metrics.connections.dec();
            drop(seat);
        });
    }

    /// Lets requests under way end, and cuts off those that don't in time.
    pub(super) async fn end(self, app: &App) {
        if tokio::time::timeout(app.limits.drain, self.ending.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("connections that did not end in time are cut off");
            self.cut.cancel();
        }
    }
}

async fn hold<I>(
    http: &Builder<TokioExecutor>,
    io: I,
    router: Router,
    peer: Peer,
    watcher: Watcher,
    cut: &CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let principal = peer.principal().map(Arc::new);
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        if let Some(principal) = &principal {
            request.extensions_mut().insert(Arc::clone(principal));
        }
        request.extensions_mut().insert(peer.clone());
        request
    });
    let connection = http
        .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
        .into_owned();
    let served = tokio::select! {
        served = watcher.watch(connection) => served,
        () = cut.cancelled() => return,
    };
    if let Err(error) = served {
        tracing::debug!(error, "a connection ended badly");
    }
}

enum Greeted {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// Finds out what a connection speaks, and who is there; nothing when it comes to nothing.
async fn greet(app: &App, mut stream: TcpStream, from: SocketAddr) -> Option<(Greeted, Peer)> {
    let Some(tls) = &app.tls else {
        return Some((Greeted::Plain(stream), Peer::Anyone(from)));
    };
    let mut first = [0; 1];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first[0] != TLS_HANDSHAKE {
        if app.plain && from.ip().is_loopback() {
            return Some((Greeted::Plain(stream), Peer::Anyone(from)));
        }
        // Best effort: whoever it is speaks something else.
        _ = stream.write_all(SPEAK_TLS).await;
        _ = stream.shutdown().await;
        return None;
    }
    match TlsAcceptor::from(tls.server_config()).accept(stream).await {
        Ok(stream) => {
            let peer = match symphony_pki::peer_identity(stream.get_ref().1) {
                Some((identity, serial)) => Peer::Member { from, identity, serial },
                None => Peer::Anyone(from),
            };
            Some((Greeted::Tls(Box::new(stream)), peer))
        }
        Err(error) => {
            tracing::debug!(%from, error = &error as &dyn std::error::Error, "a TLS handshake failed");
            None
        }
    }
}

/// Accepts until the manager stops.
pub(super) async fn tcp(listener: TcpListener, router: Router, app: &App) {
    let connections = Connections::new(app);
    while let Some(seat) = connections.seat(app).await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                // Small answers must not wait for more to come.
                let _ = stream.set_nodelay(true);
                connections.welcome(app, stream, from, router.clone(), seat);
            }
            Err(error) => pause(&error).await,
        }
    }
    drop(listener);
    connections.end(app).await;
}

/// A client that went away before it was accepted is nothing; a want of files or memory may pass.
pub(super) async fn pause(error: &io::Error) {
    if !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        tracing::warn!(%error, "a connection could not be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
