//! The cluster of these tests: its authority, and the certificates of whoever a test plays.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use symphony_pki::{Authority, Credentials, Expect, Identity, LIFE, MemberKey, Tls};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

/// Of the agent under test.
pub(crate) const NODE: &str = "n1";

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::make(Uuid::from_u128(0xc1), now()).unwrap())
}

pub(crate) fn node(name: &str) -> Identity {
    Identity::node(authority().cluster(), name)
}

/// Issued at that time, by that authority.
pub(crate) fn credentials(authority: &Authority, identity: &Identity, at: u64, life: Duration) -> Credentials {
    let key = MemberKey::make().unwrap();
    let issued = authority
        .issue(&key.csr_pem().unwrap(), identity, &[], at, life)
        .unwrap();
    Credentials::new(&key.to_pem(), &issued.cert_pem, &authority.roots_pem()).unwrap()
}

pub(crate) fn tls(identity: &Identity) -> Tls {
    Tls::new(&credentials(authority(), identity, now(), LIFE)).unwrap()
}

/// The manager that tests play.
pub(crate) fn manager() -> &'static Tls {
    static MANAGER: OnceLock<Tls> = OnceLock::new();
    MANAGER.get_or_init(|| tls(&Identity::manager(authority().cluster(), "m1")))
}

/// A client of the agent's data port.
pub(crate) fn client_of(tls: &Tls) -> reqwest::Client {
    client(tls.client_config(Expect::Node(NODE.to_owned())))
}

/// One that does not show who it is.
pub(crate) fn anonymous_client_of(tls: &Tls) -> reqwest::Client {
    client(tls.anonymous_client_config(Expect::Node(NODE.to_owned())))
}

fn client(mut config: rustls::ClientConfig) -> reqwest::Client {
    // As managers do: consoles are upgraded connections.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .build()
        .unwrap()
}

/// Serves routes over TLS, on a port of its own: the address.
pub(crate) async fn serve(tls: &Tls, routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = tls.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, routes) = (TlsAcceptor::from(tls.server_config()), routes.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                // Who is there is for the routes to know.
                let peer = symphony_pki::peer_identity(stream.get_ref().1).map(Arc::new);
                let service = TowerToHyperService::new(routes.layer(axum::Extension(peer)));
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// Puts a node's membership into its agent's folder, as if it had been let in.
pub(crate) fn enrol(folder: &Path, credentials: &Credentials, roles: &[&str], managers: &[&str]) {
    credentials.save(&folder.join("identity")).unwrap();
    let enrolled = serde_json::json!({
        "cluster": credentials.identity().cluster, "node": credentials.identity().member.name(),
        "roles": roles, "managers": managers,
    });
    std::fs::write(folder.join("enrolled.json"), enrolled.to_string()).unwrap();
}
