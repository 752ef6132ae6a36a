//! Being in a cluster: certificates renewed and revoked, managers that come and go, an authority that is replaced.

use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use symphony_core::node::Role;
use symphony_pki::{Authority, Credentials, Identity, LIFE, Tls};
use symphony_protocol::enrol::Refusal;
use symphony_protocol::{Members, SESSION_PATH};

use crate::cluster;
use crate::desk::{Desk, init, status};
use crate::manager::Manager;
use crate::process::{Folder, PATIENCE};
use crate::work::Wanted;

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

fn kept(folder: &Folder) -> Credentials {
    Credentials::load(&folder.path().join("identity")).unwrap().unwrap()
}

/// A folder of a node whose certificate was issued so many seconds ago.
fn issued_before(seconds: u64, manager: &str) -> Folder {
    let folder = Folder::new(manager);
    let at = cluster::now() - seconds;
    let old = cluster::credentials(cluster::authority(), &cluster::node("n1"), at, LIFE);
    cluster::enrol(folder.path(), &old, &["block"], &[manager]);
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_in_time_and_after_it() {
    // Two thirds of a day, and three days: of a node that was off.
    for seconds in [58_000, 3 * 86_400] {
        let desk = Desk::default();
        let manager = Manager::start_with(desk.routes()).await;
        let folder = issued_before(seconds, &manager.address);
        let old = kept(&folder);
        let agent = folder.start();
        until("a new certificate", || kept(&folder).serial() != old.serial()).await;
        assert!(kept(&folder).expires() > cluster::now() + 86_000 && desk.renewed() == 1);
        assert_eq!(kept(&folder).key_pem(), old.key_pem());
        let mut session = manager.session().await;
        Wanted::empty(4096).make(&mut session).await.unwrap().unwrap();
        assert!(agent.end().success());
        assert_eq!(desk.renewed(), 1, "one is enough");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_is_tried_until_it_works_and_cut_anywhere() {
    let desk = Desk::default();
    let manager = Manager::start_with(desk.routes()).await;
    let folder = issued_before(58_000, "127.0.0.1:1");
    let credentials = kept(&folder);
    cluster::enrol(
        folder.path(),
        &credentials,
        &["block"],
        &["127.0.0.1:1", &manager.address],
    );
    for point in ["agent.renewal.before_save", "pki.save.before_cert"] {
        let agent = folder.launch(&[("SYMPHONY_CRASH_AT", point)]);
        assert!(!agent.wait().success(), "{point}");
        assert_eq!(kept(&folder).serial(), credentials.serial(), "{point}");
    }
    let agent = folder.start();
    until("a new certificate", || kept(&folder).serial() != credentials.serial()).await;
    assert!(agent.end().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_where_the_leader_is_and_to_the_next_when_that_dies() {
    let leader = Manager::start().await;
    let address = leader.address.clone();
    let elsewhere = move || {
        let refusal = Refusal {
            code: Refusal::NOT_LEADER.to_owned(),
            detail: "m2 leads".to_owned(),
            leader: Some(address.clone()),
        };
        async move { (StatusCode::MISDIRECTED_REQUEST, Json(refusal)) }
    };
    let follower = cluster::serve(cluster::manager(), Router::new().route(SESSION_PATH, post(elsewhere))).await;
    let folder = Folder::new(&follower);
    let agent = folder.start();
    let session = leader.session().await;
    // It says so once it has read its welcome.
    while status(folder.path()).await.session != Some(leader.address.clone()) {
        tokio::task::yield_now().await;
    }
    // It hears of another, which lasts.
    let next = Manager::start().await;
    let members = Members {
        managers: vec![next.address.clone(), "127.0.0.1:1".to_owned()],
        ..Members::default()
    };
    session.tell(members).await;
    let enrolled = folder.path().join("enrolled.json");
    until("the other manager is kept", || {
        std::fs::read_to_string(&enrolled).unwrap().contains(&next.address)
    })
    .await;
    drop(session);
    let session = next.session().await;
    drop(session);
    assert!(agent.end().success());
    let agent = folder.start();
    drop(next.session().await);
    assert!(agent.end().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_opens_nothing_and_a_removed_node_may_come_back() {
    let desk = Desk::default();
    let manager = Manager::start_with(desk.routes()).await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let session = manager.session().await;
    let other = cluster::tls(&cluster::node("n2"));
    let url = format!("{}/data/v1/blobs/{}", agent.data_url, "0".repeat(64));
    let client = cluster::client_of(&other);
    let ask = async || client.get(&url).send().await.unwrap().status().as_u16();
    assert_eq!(ask().await, 404);
    let members = Members {
        revoked: vec![other.serial()],
        ..Members::default()
    };
    session.tell(members).await;
    while ask().await != 401 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It is itself removed: that is said, and with a new token it is let in again, by the same key.
    desk.forget();
    session
        .tell(Members {
            renew: true,
            ..Members::default()
        })
        .await;
    until("the refusal is said", || {
        folder.log().contains(
            "the certificate was not renewed, trying again: node n1 is no member of this cluster: it was never let in, or was removed",
        )
    })
    .await;
    let token = desk.token(Role::Block, 1);
    let known = init(folder.path(), Role::Block, &manager.address, &token)
        .await
        .unwrap();
    assert_eq!(known.roles.len(), 1, "what it was before is over");
    assert!(agent.end().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_authority_is_trusted_when_the_leader_says_so() {
    let manager = Manager::start().await;
    let folder = Folder::new(&manager.address);
    let agent = folder.start();
    let session = manager.session().await;
    // The next authority of the same cluster, and a manager that it has certified.
    let next = Authority::make(cluster::authority().cluster(), cluster::now()).unwrap();
    let identity = Identity::manager(next.cluster(), "m2");
    let issued = cluster::credentials(&next, &identity, cluster::now(), LIFE);
    let both = format!("{}{}", cluster::authority().roots_pem(), next.roots_pem());
    let new = Credentials::new(issued.key_pem(), issued.cert_pem(), &both).unwrap();
    let client = cluster::client_of(&Tls::new(&new).unwrap());
    let url = format!("{}/data/v1/blobs/{}", agent.data_url, "0".repeat(64));
    assert!(client.get(&url).send().await.is_err(), "it is a stranger yet");
    let members = Members {
        roots_pem: Some(both.clone()),
        ..Members::default()
    };
    session.tell(members).await;
    until("both are trusted", || kept(&folder).roots_pem() == both).await;
    // Kept before it is used.
    while client.get(&url).send().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Rubbish changes nothing.
    let members = Members {
        roots_pem: Some("rubbish".to_owned()),
        ..Members::default()
    };
    session.tell(members).await;
    until("it is said", || {
        folder.log().contains("the roots that a manager sent are not taken")
    })
    .await;
    assert_eq!(client.get(&url).send().await.unwrap().status().as_u16(), 404);
    assert!(agent.end().success());
}
