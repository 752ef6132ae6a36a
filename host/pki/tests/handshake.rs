//! Real handshakes between members, strangers and members of other clusters.

#![expect(clippy::unwrap_used, reason = "a test fails where it is")]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use symphony_pki::{
    Authority, Credentials, Expect, Identity, LIFE, MemberKey, Tls, TlsError, Trouble, peer_identity,
    pinned_client_config, trouble,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use uuid::Uuid;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn authority(cluster: u128) -> Authority {
    Authority::make(Uuid::from_u128(cluster), now() - 10 * 86_400).unwrap()
}

fn credentials_at(authority: &Authority, identity: &Identity, at: u64) -> Credentials {
    let key = MemberKey::make().unwrap();
    let issued = authority
        .issue(&key.csr_pem().unwrap(), identity, &[], at, LIFE)
        .unwrap();
    Credentials::new(&key.to_pem(), &issued.cert_pem, &authority.roots_pem()).unwrap()
}

fn manager(authority: &Authority) -> Tls {
    let identity = Identity::manager(authority.cluster(), "m1");
    Tls::new(&credentials_at(authority, &identity, now())).unwrap()
}

fn node(authority: &Authority, name: &str) -> Tls {
    let identity = Identity::node(authority.cluster(), name);
    Tls::new(&credentials_at(authority, &identity, now())).unwrap()
}

/// One connection: the client's trouble, or whom the server saw.
async fn shake(server: Arc<ServerConfig>, client: ClientConfig) -> Result<Option<(Identity, String)>, Trouble> {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let served = async move {
        let mut stream = TlsAcceptor::from(server).accept(ours).await.ok()?;
        let seen = peer_identity(stream.get_ref().1);
        stream.write_all(b"hello").await.ok()?;
        stream.shutdown().await.ok()?;
        seen
    };
    let connected = async move {
        let name = ServerName::try_from("192.0.2.7").unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, theirs).await?;
        let mut text = String::new();
        // In TLS 1.3 what the server thinks of our certificate is heard with its first bytes.
        stream.read_to_string(&mut text).await?;
        assert_eq!(text, "hello");
        Ok::<(), std::io::Error>(())
    };
    let (seen, result) = tokio::join!(served, connected);
    result.map_err(|error| trouble(&error).unwrap_or_else(|| panic!("no trouble: {error:?}")))?;
    Ok(seen)
}

#[tokio::test]
async fn members_meet_and_know_each_other() {
    let authority = authority(1);
    let (manager, node, other) = (manager(&authority), node(&authority, "n1"), node(&authority, "n2"));
    let seen = shake(manager.server_config(), node.client_config(Expect::Manager)).await;
    assert_eq!(seen, Ok(Some((node.identity(), node.serial()))));
    for (server, client, expect) in [
        (&node, &manager, Expect::Node("n1".to_owned())),
        (&node, &other, Expect::Node("n1".to_owned())),
        (&node, &other, Expect::AnyMember),
    ] {
        let seen = shake(server.server_config(), client.client_config(expect)).await;
        assert_eq!(seen, Ok(Some((client.identity(), client.serial()))));
    }
    // Without a certificate: the server sees nobody.
    let seen = shake(manager.server_config(), node.anonymous_client_config(Expect::Manager)).await;
    assert_eq!(seen, Ok(None));
}

#[tokio::test]
async fn who_is_somebody_else_is_refused_by_name() {
    let authority = authority(1);
    let (manager, n1, n2) = (manager(&authority), node(&authority, "n1"), node(&authority, "n2"));
    let cases = [
        (&n1, Expect::Manager, "it is node n1, not a manager"),
        (&manager, Expect::Node("n1".to_owned()), "it is manager m1, not node n1"),
        (&n2, Expect::Node("n1".to_owned()), "it is node n2, not node n1"),
    ];
    for (server, expect, text) in cases {
        let trouble = shake(server.server_config(), n2.client_config(expect))
            .await
            .unwrap_err();
        assert_eq!(trouble.to_string(), text);
    }
}

#[tokio::test]
async fn another_cluster_is_refused_by_both_sides() {
    let (ours, theirs) = (authority(1), authority(2));
    let server = manager(&ours);
    let stranger = node(&theirs, "n1");
    let result = shake(server.server_config(), stranger.client_config(Expect::Manager)).await;
    assert_eq!(result, Err(Trouble::OtherCluster));
    // A client that trusts us, and shows a certificate that we don't.
    let mut fooled = node(&ours, "n1").client_config(Expect::Manager);
    fooled.client_auth_cert_resolver = stranger.client_config(Expect::Manager).client_auth_cert_resolver;
    assert_eq!(shake(server.server_config(), fooled).await, Err(Trouble::OursRefused));
    // The same authority, and the name of another cluster in the certificate: nobody issues that.
    let error = ours
        .issue(
            &MemberKey::make().unwrap().csr_pem().unwrap(),
            &stranger.identity(),
            &[],
            now(),
            LIFE,
        )
        .unwrap_err();
    assert!(error.to_string().ends_with("is no member of this cluster"), "{error}");
}

#[tokio::test]
async fn expired_and_early_certificates_name_the_clocks() {
    let authority = authority(1);
    let (good_manager, good_node) = (manager(&authority), node(&authority, "n1"));
    let identity = Identity::manager(authority.cluster(), "m1");
    let at = |at: u64| Tls::new(&credentials_at(&authority, &identity, at)).unwrap();
    // Clocks an hour apart: the other side's certificate is fresh by its clock.
    let early = at(now() + 3_600);
    let trouble = shake(early.server_config(), good_node.client_config(Expect::Manager))
        .await
        .unwrap_err();
    let Trouble::NotYet { now: here, from } = trouble.clone() else {
        panic!("{trouble:?}");
    };
    assert!(from > here);
    let text = trouble.to_string();
    assert!(
        text.contains("the clock here says 2") && text.contains("the clocks of the two servers are apart"),
        "{text}"
    );
    let late = at(now() - 90_000);
    let trouble = shake(late.server_config(), good_node.client_config(Expect::Manager))
        .await
        .unwrap_err();
    assert!(matches!(trouble, Trouble::Expired { .. }), "{trouble:?}");
    // The server says so of the client's.
    let node_identity = Identity::node(authority.cluster(), "n1");
    let expired = Tls::new(&credentials_at(&authority, &node_identity, now() - 90_000)).unwrap();
    assert_eq!(
        shake(good_manager.server_config(), expired.client_config(Expect::Manager)).await,
        Err(Trouble::OursExpired)
    );
    // Five minutes are forgiven.
    let grace = at(now() + 200);
    assert!(
        shake(grace.server_config(), good_node.client_config(Expect::Manager))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn renewed_credentials_count_for_configurations_that_are_in_use() {
    let authority = authority(1);
    let identity = Identity::manager(authority.cluster(), "m1");
    let server = Tls::new(&credentials_at(&authority, &identity, now() - 90_000)).unwrap();
    let client = node(&authority, "n1");
    let (server_config, client_config) = (server.server_config(), client.client_config(Expect::Manager));
    let shake_again = || shake(Arc::clone(&server_config), client_config.clone());
    assert!(matches!(shake_again().await, Err(Trouble::Expired { .. })));
    server.replace(&credentials_at(&authority, &identity, now())).unwrap();
    let old = client.serial();
    assert_eq!(shake_again().await, Ok(Some((client.identity(), old.clone()))));
    client
        .replace(&credentials_at(&authority, &client.identity(), now()))
        .unwrap();
    assert_ne!(client.serial(), old);
    assert_eq!(shake_again().await, Ok(Some((client.identity(), client.serial()))));
    let somebody = credentials_at(&authority, &Identity::node(authority.cluster(), "n2"), now());
    assert!(matches!(client.replace(&somebody), Err(TlsError::OtherMember { .. })));
}

#[tokio::test]
async fn an_authority_is_rotated_without_a_gap() {
    let old = authority(1);
    let mut both = authority(1);
    both.trust(&old.roots_pem()).unwrap();
    // The first step: everybody trusts both, and has a certificate of the old one.
    let with_both = |authority: &Authority, identity: &Identity| {
        let issued = credentials_at(authority, identity, now());
        Credentials::new(issued.key_pem(), issued.cert_pem(), &both.roots_pem()).unwrap()
    };
    let (manager, node) = (
        Identity::manager(old.cluster(), "m1"),
        Identity::node(old.cluster(), "n1"),
    );
    let server = Tls::new(&with_both(&old, &manager)).unwrap();
    let client = Tls::new(&with_both(&old, &node)).unwrap();
    let meet = async || {
        let there = shake(server.server_config(), client.client_config(Expect::Manager)).await;
        let back = shake(client.server_config(), server.client_config(Expect::AnyMember)).await;
        there.is_ok_and(|seen| seen.is_some()) && back.is_ok_and(|seen| seen.is_some())
    };
    assert!(meet().await, "both old");
    server.replace(&with_both(&both, &manager)).unwrap();
    assert!(meet().await, "one new");
    client.replace(&with_both(&both, &node)).unwrap();
    assert!(meet().await, "both new");
    // The last step: only the new one is trusted. Who has missed it all is out.
    both.trust_only_itself();
    server.replace(&credentials_at(&both, &manager, now())).unwrap();
    assert!(meet().await, "the server trusts the new one alone");
    let left_behind = Tls::new(&credentials_at(&old, &node, now())).unwrap();
    assert_eq!(
        shake(server.server_config(), left_behind.client_config(Expect::Manager)).await,
        Err(Trouble::OtherCluster)
    );
}

#[tokio::test]
async fn a_pinned_authority_is_all_that_a_newcomer_needs() {
    let (ours, theirs) = (authority(1), authority(2));
    let server = manager(&ours);
    for digits in [32, 64] {
        let seen = shake(server.server_config(), pinned_client_config(&ours.digest()[..digits])).await;
        assert_eq!(seen, Ok(None));
    }
    let wrong = [
        theirs.digest(),
        // Too short to pin anything.
        ours.digest()[..31].to_owned(),
        String::new(),
    ];
    for digest in wrong {
        let result = shake(server.server_config(), pinned_client_config(&digest)).await;
        assert_eq!(result, Err(Trouble::OtherCluster), "{digest}");
    }
    let result = shake(node(&ours, "n1").server_config(), pinned_client_config(&ours.digest())).await;
    assert_eq!(result.unwrap_err().to_string(), "it is node n1, not a manager");
    // The right authority's certificate sent along by somebody whom it did not sign.
    let own = credentials_at(&theirs, &Identity::manager(theirs.cluster(), "m1"), now());
    let leaf_end = own.cert_pem().find("-----END").unwrap() + "-----END CERTIFICATE-----\n".len();
    let posing = format!("{}{}", &own.cert_pem()[..leaf_end], ours.roots_pem());
    let posing = Credentials::new(own.key_pem(), &posing, own.roots_pem()).unwrap();
    let result = shake(
        Tls::new(&posing).unwrap().server_config(),
        pinned_client_config(&ours.digest()),
    )
    .await;
    assert_eq!(result, Err(Trouble::OtherCluster));
}

/// The authority after another one: with a bridge from it, and those before it.
fn after(before: &Authority, bridges: &str) -> (Authority, String) {
    let next = Authority::make(before.cluster(), now() - 86_400).unwrap();
    let bridges = format!(
        "{}{}{bridges}",
        before.bridge_to(&next, now() - 86_400).unwrap(),
        before.cert_pem()
    );
    (next.with_bridges(bridges.clone()), bridges)
}

#[tokio::test]
async fn who_knows_an_authority_before_it_is_led_to_the_present_one() {
    let first = authority(1);
    let (second, bridges) = after(&first, "");
    let (third, _) = after(&second, &bridges);
    for (present, before) in [(&second, vec![&first]), (&third, vec![&first, &second])] {
        let server = manager(present);
        for known in before.iter().copied().chain([present]) {
            let seen = shake(server.server_config(), pinned_client_config(&known.digest())).await;
            assert_eq!(seen, Ok(None), "a token that names {}", known.digest());
            // A member that has not heard of the change trusts its own authority alone.
            let node = node(known, "n1");
            let seen = shake(server.server_config(), node.anonymous_client_config(Expect::Manager)).await;
            assert_eq!(seen, Ok(None), "a member of {}", known.digest());
            assert!(present.known_digests().contains(&known.digest()));
        }
    }
    // Without the bridges, which are taken away in the end, it is another cluster's.
    let alone = manager(&Authority::load(&third.cert_pem(), third.key_pem(), &third.cert_pem()).unwrap());
    let result = shake(alone.server_config(), pinned_client_config(&first.digest())).await;
    assert_eq!(result, Err(Trouble::OtherCluster));
    let result = shake(
        alone.server_config(),
        node(&second, "n1").anonymous_client_config(Expect::Manager),
    )
    .await;
    assert_eq!(result, Err(Trouble::OtherCluster));
    // A bridge is for the same cluster only.
    assert!(first.bridge_to(&authority(2), now()).is_err());
}

#[tokio::test]
async fn what_is_no_tls_is_told() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 10);
    let client = pinned_client_config(&"0".repeat(64));
    let talk = async move {
        ours.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Not closed before it is read.
        ours
    };
    let name = ServerName::try_from("192.0.2.7").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (_ours, result) = tokio::join!(talk, connector.connect(name, theirs));
    assert_eq!(
        trouble(&result.unwrap_err()).unwrap().to_string(),
        "it answers, but not with TLS"
    );
    assert_eq!(trouble(&std::io::Error::other("x")), None);
}
