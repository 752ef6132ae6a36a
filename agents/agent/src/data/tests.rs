//! The door, with real handshakes.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::routing::{any, get};
use symphony_pki::{Authority, Credentials, Expect, Identity, LIFE, MemberKey};
use uuid::Uuid;

use super::*;

fn member(authority: &Authority, identity: &Identity) -> Tls {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = MemberKey::make().unwrap();
    let issued = authority
        .issue(&key.csr_pem().unwrap(), identity, &[], now, LIFE)
        .unwrap();
    Tls::new(&Credentials::new(&key.to_pem(), &issued.cert_pem, &authority.roots_pem()).unwrap()).unwrap()
}

fn client(config: rustls::ClientConfig) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .build()
        .unwrap()
}

#[tokio::test]
async fn managers_do_everything_nodes_read_images_and_others_nothing() {
    let authority = Authority::make(Uuid::from_u128(1), 0).unwrap();
    let cluster = authority.cluster();
    let own = member(&authority, &Identity::node(cluster, "n1"));
    let port = DataPort::bind("127.0.0.1:0", &["127.0.0.1:1"]).await.unwrap();
    let url = port.url().to_owned();
    let (end, revoked) = (CancellationToken::new(), Revoked::default());
    let routes = Routes::from(Router::new().route("/data/v1/blobs/{digest}", any(|| async { "blob" })));
    let served = tokio::spawn({
        let (routes, tls, revoked, end) = (routes.clone(), own.clone(), revoked.clone(), end.clone());
        async move { port.serve(routes, &tls, revoked, end).await }
    });
    let manager = member(&authority, &Identity::manager(cluster, "m1"));
    let node = member(&authority, &Identity::node(cluster, "n2"));
    let expect = || Expect::Node("n1".to_owned());
    let (by_manager, by_node, by_nobody) = (
        client(manager.client_config(expect())),
        client(node.client_config(expect())),
        client(node.anonymous_client_config(expect())),
    );
    let status = async |client: &reqwest::Client, method: &str, path: &str| {
        let request = client.request(method.parse().unwrap(), format!("{url}{path}"));
        request.send().await.unwrap().status().as_u16()
    };
    let blob = "/data/v1/blobs/00";
    for (client, method, path, wanted) in [
        (&by_manager, "GET", blob, 200),
        (&by_manager, "PUT", blob, 200),
        (&by_manager, "GET", "/late", 404),
        (&by_node, "GET", blob, 200),
        (&by_node, "HEAD", blob, 200),
        (&by_node, "PUT", blob, 403),
        (&by_node, "DELETE", blob, 403),
        (&by_node, "GET", "/late", 403),
        (&by_node, "GET", "/data/v1/blobs/../uploads/x", 403),
        (&by_node, "GET", "/data/v1/blobs/00/x", 403),
        (&by_nobody, "GET", blob, 401),
    ] {
        assert_eq!(status(client, method, path).await, wanted, "{method} {path}");
    }
    // What an executor brings later is served on connections that are there.
    routes.add(Router::new().route("/late", get(|| async { "here" })));
    assert_eq!(status(&by_manager, "GET", "/late").await, 200);
    assert_eq!(status(&by_manager, "GET", "/nothing").await, 404);
    // Revoked while its connection lives.
    revoked.replace(HashSet::from([node.serial()]));
    assert_eq!(status(&by_node, "GET", blob).await, 401);
    assert_eq!(status(&by_manager, "GET", blob).await, 200);
    // Another cluster's manager does not even get that far.
    let stranger = Authority::make(Uuid::from_u128(2), 0).unwrap();
    let stranger = member(&stranger, &Identity::manager(stranger.cluster(), "m1"));
    let mut config = node.client_config(expect());
    config.client_auth_cert_resolver = stranger.client_config(Expect::Manager).client_auth_cert_resolver;
    assert!(client(config).get(format!("{url}{blob}")).send().await.is_err());
    // Plain HTTP is no way in.
    let plain = client(symphony_pki::trusting_nobody());
    let plain = plain
        .get(format!("{}{blob}", url.replace("https", "http")))
        .send()
        .await;
    assert!(plain.is_err());
    end.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn an_open_address_is_shown_as_the_one_that_leads_to_a_manager() {
    let managers = ["nowhere.invalid:1", "127.0.0.1:15760"];
    let port = DataPort::bind("0.0.0.0:0", &managers).await.unwrap();
    assert!(port.url().starts_with("https://127.0.0.1:"), "{}", port.url());
    assert!(DataPort::bind("0.0.0.0:0", &managers[..1]).await.is_err());
}
