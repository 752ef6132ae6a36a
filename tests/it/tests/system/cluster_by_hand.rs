//! The flow by which operators make a cluster, by its very commands, and what they do wrong on the way.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use symphony_api::v1::{Membership, Service, ServiceStatus};
use symphony_tests::process::Said;
use symphony_tests::{ByHand, until};

const ROLES: [&str; 4] = ["block", "image", "compute", "network"];

/// Gives a command to several control sockets at the same time.
fn at_once(cluster: &ByHand, names: &[&str], words: &[&str]) -> Vec<Said> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(move || cluster.at(name, words)))
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

async fn service(cluster: &ByHand, node: &str, role: &str, status: ServiceStatus) -> Service {
    until(&format!("the {role} service of {node} to be {status:?}"), async || {
        cluster
            .service("m2", node, role)
            .filter(|service| service.status == status)
    })
    .await
}

async fn is_ready(cluster: &ByHand, node: &str) {
    until(&format!("node {node} to be ready"), async || {
        let shown = cluster.by("m2", &["node", "show", node, "-o", "json"]);
        let node: serde_json::Value = serde_json::from_str(&shown.out).ok()?;
        (node["status"]["phase"] == "Ready").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_managers_that_begin_at_once_are_one_cluster_and_let_nodes_in_role_by_role() {
    let mut cluster = ByHand::start().await;
    let managers = ["m1", "m2", "m3"];
    for name in managers {
        cluster.manager(name);
    }
    for name in managers {
        cluster.waits(name).await;
    }
    let said = at_once(&cluster, &managers, &["manager", "init", "-o", "json"]);
    let clusters: BTreeSet<String> = said
        .into_iter()
        .map(|said| {
            serde_json::from_str::<Membership>(&said.good())
                .unwrap()
                .cluster
                .to_string()
        })
        .collect();
    assert_eq!(clusters.len(), 1, "one cluster, whoever was first: {clusters:?}");

    // Whoever is in is told so, by the old words too.
    for words in [&["manager", "init"][..], &["manager", "service", "init"]] {
        assert!(cluster.at("m2", words).refused(4).contains("already"));
    }

    cluster.agent("b1");
    cluster.waits("b1").await;
    for (role, manager) in ROLES.iter().zip(managers.iter().cycle()) {
        // Each manager makes tokens and lets nodes in, whoever leads.
        let token = cluster.token(manager, role, &[]);
        let address = cluster.address(manager);
        assert!(cluster.init("b1", role, &address, &token).good().contains(role));
        assert_eq!(
            cluster
                .init("b1", role, &address, &cluster.token(manager, role, &[]))
                .code,
            4,
            "it has the role {role} already"
        );
    }
    for role in ROLES {
        service(&cluster, "b1", role, ServiceStatus::Up).await;
    }
    let services = cluster.services("m3");
    assert_eq!(services.len(), managers.len() + ROLES.len(), "{services:?}");
    let listed: BTreeSet<&str> = services
        .iter()
        .filter(|service| service.role == "manager")
        .map(|service| service.node.as_str())
        .collect();
    assert_eq!(listed, BTreeSet::from(managers));
    for service in &services {
        assert_eq!(service.status, ServiceStatus::Up, "{service:?}");
        assert!(service.address.starts_with("https://127.0.0.1:"), "{service:?}");
        assert!(!service.version.is_empty(), "{service:?}");
    }
    let table = cluster.at("m1", &["manager", "service", "list", "-o", "wide"]).good();
    for word in ["ID", "ROLE", "NODE", "ADDRESS", "VERSION", "STATUS", "AGE"] {
        assert!(table.lines().next().unwrap().contains(word), "{table}");
    }

    is_ready(&cluster, "b1").await;
    let _ = cluster.by("m3", &["volume", "create", "data", "--size", "1MiB"]).good();
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_removed_and_come_back_with_a_new_token_only() {
    let mut cluster = ByHand::start().await;
    cluster.members(&["m1", "m2"]).await;
    let address = cluster.address("m2");
    for name in ["b1", "b2"] {
        cluster.agent(name);
        cluster.waits(name).await;
    }
    for (node, role) in [("b1", "block"), ("b1", "image"), ("b2", "block")] {
        let token = cluster.token("m1", role, &[]);
        let _ = cluster.init(node, role, &address, &token).good();
        service(&cluster, node, role, ServiceStatus::Up).await;
    }
    let _ = cluster.by("m1", &["node", "cordon", "b2"]).good();
    let _ = cluster.by("m1", &["volume", "create", "kept", "--size", "1MiB"]).good();

    let id = |node: &str, role: &str| cluster.service("m2", node, role).unwrap().id.to_string();
    let (block, image) = (id("b1", "block"), id("b1", "image"));
    let resources = cluster.at("m2", &["manager", "service", "remove", &block]).refused(4);
    assert!(resources.contains("resources"), "{resources}");
    let up = cluster.at("m2", &["manager", "remove", &image]).refused(4);
    assert!(up.contains("session"), "{up}");
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(cluster.at("m2", &["manager", "remove", nobody]).code, 3);
    let _ = cluster.at("m2", &["manager", "remove", "--force", &image]).good();
    // What was taken does not take the rest with it, not even when the agent comes again.
    cluster.kill("b1");
    service(&cluster, "b1", "block", ServiceStatus::Unknown).await;
    cluster.agent("b1");
    service(&cluster, "b1", "block", ServiceStatus::Up).await;
    assert_eq!(cluster.service("m1", "b1", "image"), None);
    let _ = cluster
        .at("m2", &["manager", "service", "remove", "--force", &block])
        .good();

    // Its certificate is worth nothing: the session ends, and neither it nor the process begun anew gets another.
    until("the agent to learn that it was removed", async || {
        cluster.log("b1").contains("was removed from the cluster").then_some(())
    })
    .await;
    assert_eq!(cluster.service("m1", "b1", "block"), None);
    assert_eq!(cluster.service("m1", "b1", "image"), None);
    let token = cluster.token("m2", "block", &[]);
    let _ = cluster.init("b1", "block", &address, &token).good();
    service(&cluster, "b1", "block", ServiceStatus::Up).await;
    is_ready(&cluster, "b1").await;
    let _ = cluster.by("m2", &["volume", "resize", "kept", "2MiB"]).good();

    // What is dead can be removed without force.
    cluster.kill("b2");
    let dead = service(&cluster, "b2", "block", ServiceStatus::Unknown)
        .await
        .id
        .to_string();
    let _ = cluster.at("m1", &["manager", "service", "remove", &dead]).good();
    assert_eq!(cluster.service("m2", "b2", "block"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_manager_is_removed_and_can_join_anew() {
    let mut cluster = ByHand::start().await;
    cluster.members(&["m1", "m2"]).await;
    let id = |name: &str| cluster.service("m2", name, "manager").unwrap().id.to_string();
    let (first, second) = (id("m1"), id("m2"));
    let up = cluster.at("m2", &["manager", "service", "remove", &first]).refused(4);
    assert!(up.contains("m1 is heard of"), "{up}");
    let own = cluster.at("m2", &["manager", "service", "remove", &second]).refused(4);
    assert!(own.contains("itself"), "{own}");
    cluster.kill("m1");
    service(&cluster, "m1", "manager", ServiceStatus::Unknown).await;
    let _ = cluster.at("m2", &["manager", "service", "remove", &first]).good();
    assert_eq!(cluster.services("m2").len(), 1);

    // Its certificate lets it in no more; it says how it may come back.
    cluster.manager("m1");
    assert_eq!(cluster.ended("m1").await, 1);
    let log = cluster.log("m1");
    assert!(
        log.contains("removed from its cluster") && log.contains("hint: "),
        "{log}"
    );
    std::fs::remove_dir_all(cluster.folder("m1").join("identity")).unwrap();
    cluster.manager("m1");
    cluster.waits("m1").await;
    let _ = cluster.at("m1", &["manager", "init"]).good();
    let both = cluster.services("m1");
    assert_eq!(both.len(), 2, "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_and_addresses_are_refused_with_what_to_do() {
    let mut cluster = ByHand::start().await;
    cluster.manager_alone("other");
    cluster.members(&["m1", "m2"]).await;
    let address = cluster.address("m2");
    for name in ["b1", "b2"] {
        cluster.agent(name);
        cluster.waits(name).await;
    }
    let used = cluster.token("m1", "block", &[]);
    let _ = cluster.init("b1", "block", &address, &used).good();
    let expired = cluster.token("m1", "block", &["--expires", "1s"]);
    let revoked = cluster.token("m1", "block", &[]);
    let id = revoked.split('.').nth(1).unwrap();
    let _ = cluster.at("m2", &["token", "revoke", id]).good();
    let image = cluster.token("m1", "image", &[]);
    let viewer = cluster.token("m1", "viewer", &[]);
    cluster.waits("other").await;
    let foreign = cluster.token("other", "block", &[]);
    let good = cluster.token("m1", "block", &[]);
    let secret = good.split('.').nth(2).unwrap();
    let guessed = good.replace(secret, &"0".repeat(secret.len()));
    let shortened = good.rsplit_once('.').unwrap().0.to_owned();
    until("a token to expire", async || {
        let said = cluster.init("b2", "block", &address, &expired);
        assert_eq!(
            said.code, 1,
            "a token for a second does not let a node in later: {said:?}"
        );
        said.err.contains("expired").then_some(())
    })
    .await;
    for (what, token, code, word) in [
        ("used twice", &used, 1, "used already"),
        ("expired", &expired, 1, "expired"),
        ("revoked", &revoked, 1, "no such token"),
        ("of another role", &image, 1, "role image"),
        ("for people", &viewer, 1, "viewer"),
        ("another cluster's", &foreign, 1, "cluster"),
        ("guessed", &guessed, 1, "no such token"),
        ("shortened", &shortened, 2, ""),
        ("garbage", &"garbage".to_owned(), 2, "sym1."),
        ("empty", &String::new(), 2, ""),
    ] {
        let told = cluster.init("b2", "block", &address, token).refused(code);
        assert!(told.contains(word), "{what}: {told}");
        assert!(told.contains("token create --role block"), "{what}: {told}");
    }
    for (what, address) in [
        ("another server", cluster.etcd().to_owned()),
        ("garbage", nonsense(b"\x00\xffwhat?\r\n\r\n")),
        (
            "a web server",
            nonsense(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        ),
        ("one that hangs up", nonsense(b"")),
        ("nobody", "127.0.0.1:1".to_owned()),
        ("no name", "manager.invalid".to_owned()),
    ] {
        let told = cluster.init("b2", "block", &address, &good).refused(1);
        assert!(
            told.contains("address of a manager") && told.contains(&address),
            "{what}: {told}"
        );
    }
    // Nothing of all that used the good token up.
    let _ = cluster.init("b2", "block", &address, &good).good();
    service(&cluster, "b2", "block", ServiceStatus::Up).await;
}

/// The address of a server that answers this to everybody.
fn nonsense(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        }
    });
    address
}
