//! Getting into a cluster: by hand and by configuration, with every token and manager that is no good, and cut anywhere.

use std::collections::BTreeSet;

use axum::Router;
use axum::routing::any;
use symphony_core::node::Role;
use symphony_pki::{Authority, Identity, LIFE, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::cluster;
use crate::desk::{Desk, init, status, token_of};
use crate::manager::Manager;
use crate::process::{Folder, PROGRAM};
use crate::work::Wanted;

async fn bench() -> (Desk, Manager) {
    let desk = Desk::default();
    let manager = Manager::start_with(desk.routes()).await;
    desk.set_managers(&[&manager.address]);
    (desk, manager)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_let_in_role_by_role_and_works_at_once() {
    let (desk, manager) = bench().await;
    let folder = Folder::outside("");
    let mut agent = folder.launch(&[]);
    let socket = folder.path().join("control.sock");
    assert_eq!(agent.line(), format!("waiting n1 {}", socket.display()));
    let known = status(folder.path()).await;
    assert_eq!((known.cluster, known.roles.len(), known.cert_expires), (None, 0, None));

    let token = desk.token(Role::Block, 1);
    let known = init(folder.path(), Role::Block, &manager.address, &token)
        .await
        .unwrap();
    assert_eq!(known.cluster, Some(cluster::authority().cluster().to_string()));
    assert_eq!(
        (known.roles, known.managers),
        (BTreeSet::from([Role::Block]), vec![manager.address.clone()])
    );
    let agent = agent.ready().unwrap();
    let mut session = manager.session().await;
    assert_eq!(
        (session.hello.roles.clone(), session.hello.pools.len()),
        (vec![Role::Block], 1)
    );
    assert_eq!(session.hello.protocol, symphony_protocol::PROTOCOL_VERSION);
    Wanted::empty(4096).make(&mut session).await.unwrap().unwrap();
    assert_eq!(status(folder.path()).await.session, Some(manager.address.clone()));

    // Again: used up, and not needed.
    let refusal = init(folder.path(), Role::Block, &manager.address, &token)
        .await
        .unwrap_err();
    let text = format!(
        "node n1 has the role block already, in cluster {}",
        cluster::authority().cluster()
    );
    assert_eq!((refusal.code.as_str(), refusal.detail), ("already_enrolled", text));
    let refusal = init(folder.path(), Role::Image, &manager.address, &token)
        .await
        .unwrap_err();
    assert_eq!(refusal.detail, "the token is for the role block, not for image");

    // Another role: a new session says so, and what runs goes on.
    let token = desk.token(Role::Image, 1);
    let known = init(folder.path(), Role::Image, &manager.address, &token)
        .await
        .unwrap();
    assert_eq!(known.roles, BTreeSet::from([Role::Block, Role::Image]));
    let mut session = manager.session().await;
    assert_eq!(session.hello.roles, [Role::Block, Role::Image]);
    let picture = crate::work::Picture::raw(1);
    let import = crate::work::Import::new(&picture);
    import.make(&mut session, &agent.data_url).await.unwrap().unwrap();

    // It is in for good.
    assert!(agent.end().success());
    assert!(!socket.exists());
    let agent = folder.start();
    assert_eq!(manager.session().await.hello.roles, [Role::Block, Role::Image]);
    assert!(agent.end().success());
}

/// An empty folder, or none, is enough to begin with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_need_be_configured() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("a/b");
    let mut command = std::process::Command::new(PROGRAM);
    command
        .args(["--exit-with-stdin", "--name", "n7", "--config-dir"])
        .arg(&folder);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, format!("waiting n7 {}/control.sock\n", folder.display()));
    assert_eq!(status(&folder).await.node.as_str(), "n7");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_no_good_is_told_in_words() {
    let (desk, manager) = bench().await;
    let folder = Folder::outside("");
    let mut agent = folder.launch(&[]);
    agent.line();
    let used = desk.token(Role::Block, 0);
    let image = desk.token(Role::Image, 1);
    let expired = desk.token(Role::Block, u32::MAX);
    let stranger = Authority::make(Uuid::from_u128(9), 0).unwrap();
    let address = manager.address.as_str();
    for (token, code, detail) in [
        (
            token_of(&stranger.digest(), 1),
            "token_wrong_cluster",
            format!(
                "the token is of another cluster than the manager at {address}; make one there with `symphony token create --role block`"
            ),
        ),
        (
            expired,
            "token_expired",
            "the token expired at 2026-11-23T10:00:00Z".to_owned(),
        ),
        (used, "token_used", "the token was used already".to_owned()),
        (
            image,
            "token_wrong_role",
            "the token is for the role image, not for block".to_owned(),
        ),
        (
            token_of(&cluster::authority().digest(), 99),
            "token_unknown",
            "there is no such token".to_owned(),
        ),
    ] {
        let refusal = init(folder.path(), Role::Block, address, &token).await.unwrap_err();
        assert_eq!((refusal.code.as_str(), refusal.detail), (code, detail));
    }
    // A node of another key has the name.
    let good = desk.token(Role::Block, 9);
    let other = Folder::outside("");
    let mut second = other.launch(&[]);
    second.line();
    init(other.path(), Role::Block, address, &good).await.unwrap();
    let refusal = init(folder.path(), Role::Block, address, &good).await.unwrap_err();
    assert_eq!(
        (refusal.code.as_str(), refusal.detail.as_str()),
        ("already_enrolled", "node n1 is a member already, with another key")
    );
    // A node is in one cluster only.
    let refusal = init(other.path(), Role::Image, address, &token_of(&stranger.digest(), 1))
        .await
        .unwrap_err();
    let text = format!(
        "the token is of another cluster than the one that this node is in ({}); a node is in one cluster only",
        cluster::authority().cluster()
    );
    assert_eq!((refusal.code.as_str(), refusal.detail), ("token_wrong_cluster", text));
    assert!(agent.end().success() && second.end().success());
    assert!(!folder.path().join("enrolled.json").exists());
    for folder in [&folder, &other] {
        assert!(!folder.log().contains(&good[30..60]), "a secret is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_is_none_is_told_in_words() {
    let (desk, manager) = bench().await;
    let token = desk.token(Role::Block, 1);
    let folder = Folder::outside("");
    let mut agent = folder.launch(&[]);
    agent.line();
    let plain = talks(Some(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")).await;
    let silent = talks(None).await;
    let own = cluster::manager();
    let website = cluster::serve(own, Router::new().fallback(any(|| async { "<html>hello</html>" }))).await;
    let missing = cluster::serve(own, Router::new()).await;
    let by_node = cluster::serve(&cluster::tls(&cluster::node("n9")), desk.routes()).await;
    let nobody = "127.0.0.1:1";
    for (address, code, detail) in [
        (
            &plain,
            "manager_unreachable",
            format!("TLS with the manager at {plain} failed: it answers, but not with TLS"),
        ),
        (
            &website,
            "manager_unreachable",
            format!(
                "what answers at {website} is no manager (its answer can't be understood: expected value at line 1 column 1)"
            ),
        ),
        (
            &missing,
            "manager_unreachable",
            format!("what answers at {missing} is no manager (it answered with HTTP status 404 and no reason)"),
        ),
        (
            &by_node,
            "manager_unreachable",
            format!("TLS with the manager at {by_node} failed: it is node n9, not a manager"),
        ),
        (
            &silent,
            "manager_unreachable",
            format!("the manager at {silent} can't be reached (no connection within 5 s)"),
        ),
        (
            &nobody.to_owned(),
            "manager_unreachable",
            format!("the manager at {nobody} can't be reached (Connection refused (os error 111))"),
        ),
    ] {
        let refusal = init(folder.path(), Role::Block, address, &token).await.unwrap_err();
        assert_eq!((refusal.code.as_str(), refusal.detail), (code, detail));
    }
    // None of them has cost the token.
    init(folder.path(), Role::Block, &manager.address, &token)
        .await
        .unwrap();
    assert!(agent.ready().unwrap().end().success());
}

/// A listener that says something to everybody, or nothing.
async fn talks(answer: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if let Some(answer) = answer {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
            held.push(stream);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_apart_are_named() {
    let (desk, manager) = bench().await;
    let folder = Folder::outside("");
    let mut agent = folder.launch(&[]);
    agent.line();
    let token = desk.token(Role::Block, 1);
    for ahead in [3_600, -3_600] {
        desk.set_ahead(ahead);
        let refusal = init(folder.path(), Role::Block, &manager.address, &token)
            .await
            .unwrap_err();
        assert_eq!(refusal.code, "clock_skew");
        assert!(
            refusal.detail.contains("the clocks are 3") && refusal.detail.contains("s apart"),
            "{refusal:?}"
        );
    }
    // A manager whose certificate is not valid yet by the clock here: its own is fresh.
    let identity = Identity::manager(cluster::authority().cluster(), "m2");
    let early = cluster::credentials(cluster::authority(), &identity, cluster::now() + 3_600, LIFE);
    let early = cluster::serve(&Tls::new(&early).unwrap(), desk.routes()).await;
    let refusal = init(folder.path(), Role::Block, &early, &token).await.unwrap_err();
    assert!(
        refusal.detail.starts_with(&format!(
            "TLS with the manager at {early} failed: its certificate is valid from "
        )) && refusal
            .detail
            .ends_with("Z: the clocks of the two servers are apart; set them (timedatectl)"),
        "{refusal:?}"
    );
    desk.set_ahead(0);
    init(folder.path(), Role::Block, &manager.address, &token)
        .await
        .unwrap();
    assert!(agent.ready().unwrap().end().success());
}

/// The power may go at any moment: asking again with the same token is always right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_anywhere_costs_no_token() {
    for point in [
        "agent.init.before_request",
        "agent.init.after_answer",
        "pki.save.before_roots",
        "pki.save.before_cert",
        "pki.save.after_cert",
        "agent.enrolled.before_save",
        "agent.enrolled.after_save",
    ] {
        let (desk, manager) = bench().await;
        let folder = Folder::outside("");
        let token = desk.token(Role::Block, 1);
        let mut agent = folder.launch(&[("SYMPHONY_CRASH_AT", point)]);
        agent.line();
        let cut = tokio::spawn({
            let (path, address, token) = (folder.path().to_owned(), manager.address.clone(), token.clone());
            async move { init(&path, Role::Block, &address, &token).await }
        });
        let ended = tokio::task::spawn_blocking(|| agent.wait()).await.unwrap();
        assert!(!ended.success(), "{point} was not passed");
        assert!(cut.await.is_err(), "{point}: it was answered");
        let mut agent = folder.launch(&[]);
        let agent = if point == "agent.enrolled.after_save" {
            agent.ready()
        } else {
            assert!(agent.line().starts_with("waiting"), "{point}");
            init(folder.path(), Role::Block, &manager.address, &token)
                .await
                .unwrap();
            agent.ready()
        };
        assert_eq!(manager.session().await.hello.roles, [Role::Block], "{point}");
        assert!(agent.unwrap().end().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_with_tokens_gets_in_by_itself() {
    let (desk, manager) = bench().await;
    let (block, image) = (desk.token(Role::Block, 1), desk.token(Role::Image, 1));
    let address = &manager.address;
    let folder = Folder::outside(&format!(
        "roles = [\"block\", \"image\"]\n[join]\nmanagers = [\"127.0.0.1:1\", \"{address}\"]\ntokens = [\"{block}\", \"{image}\"]\n"
    ));
    let mut agent = folder.launch(&[]);
    agent.line();
    let agent = agent.ready().unwrap();
    let roles = loop {
        // It may be in for one before it is in for both.
        let roles = manager.session().await.hello.roles.clone();
        if roles.len() == 2 {
            break roles;
        }
    };
    assert_eq!(roles, [Role::Block, Role::Image]);
    assert!(agent.end().success());
    // Its tokens are used up, and it does not need them any more.
    let agent = folder.start();
    assert_eq!(manager.session().await.hello.roles, [Role::Block, Role::Image]);
    assert!(agent.end().success());
    assert!(!folder.log().contains("no use"), "{}", folder.log());
}
