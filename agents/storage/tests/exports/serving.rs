//! Who may write and who may not, by what really comes into the file.

use symphony_agent::StepError;
use symphony_core::plan::export::Step;

use super::lab::{Node, VOLUME, can, client, exports, key, kill, plain, said, serve, settings, stop};

#[tokio::test]
async fn one_writes_and_nobody_else() {
    if !can() {
        return;
    }
    let node = Node::new();
    let fact = node.fact();
    assert_eq!((fact.floor, fact.served), (0, None));
    for _ in 0..2 {
        node.exports.run(&serve(1), &key(1)).await.unwrap();
    }
    let served = node.served();
    assert_eq!(served.settings, settings(1));
    assert!(!served.connected && node.servers().len() == 1);
    let port = served.port;
    let wrote = client(port, 1, &key(1), &["write -P 7 0 4k", "flush"]);
    assert!(wrote.status.success(), "{}", said(&wrote));
    assert_eq!(std::fs::read(node.file()).unwrap()[..4096], [7; 4096]);
    // Another key, no key, and another generation's name.
    let refused = [
        client(port, 1, &key(2), &["write -P 9 0 4k"]),
        plain(port, 1),
        client(port, 2, &key(1), &["write -P 9 0 4k"]),
    ];
    for output in refused {
        assert!(!output.status.success(), "{}", said(&output));
    }
    assert_eq!(std::fs::read(node.file()).unwrap()[..4096], [7; 4096]);

    // It moves on: what was, is over, with its own key and with the new one.
    node.exports.run(&serve(2), &key(2)).await.unwrap();
    let port = node.served().port;
    for (generation, key) in [(1, key(1)), (1, key(2)), (2, key(1))] {
        let output = client(port, generation, &key, &["write -P 9 0 4k"]);
        assert!(!output.status.success(), "generation {generation}: {}", said(&output));
    }
    let wrote = client(port, 2, &key(2), &["read -P 7 0 4k", "write -P 8 0 4k", "flush"]);
    assert!(wrote.status.success(), "{}", said(&wrote));
    assert_eq!(std::fs::read(node.file()).unwrap()[..4096], [8; 4096]);
    let over = node.exports.run(&serve(1), &key(1)).await;
    assert!(matches!(over, Err(StepError::Other(_))), "{over:?}");
    // The end of what is over already touches nobody.
    node.exports.run(&stop(1), &key(1)).await.unwrap();
    assert_eq!(node.served().settings, settings(2));

    for _ in 0..2 {
        node.exports.run(&stop(2), &key(2)).await.unwrap();
    }
    let fact = node.fact();
    assert_eq!((fact.floor, fact.served), (3, None));
    assert!(node.servers().is_empty());
    let keys = node.top.path().join("exports").join(VOLUME).join("keys");
    assert!(!keys.exists(), "a key stays that opens nothing");
    for generation in [1, 2] {
        let over = node.exports.run(&serve(generation), &key(generation)).await;
        assert!(over.is_err(), "{generation}");
    }
    node.exports.run(&serve(3), &key(3)).await.unwrap();
}

#[tokio::test]
async fn the_next_agent_finds_what_is_served_and_a_killed_server_comes_back_to_its_client() {
    if !can() {
        return;
    }
    let node = Node::new();
    node.exports.run(&serve(1), &key(1)).await.unwrap();
    let (served, servers) = (node.served(), node.servers());
    // Another agent, with what the first has kept.
    let next = exports(node.top.path());
    next.run(&serve(1), &key(1)).await.unwrap();
    assert_eq!(node.servers(), servers, "it was started again");
    // A client is seen, and stays when the server is killed.
    let port = served.port;
    let holds = std::thread::spawn(move || client_that_waits(port));
    while !node.fact().served.is_some_and(|served| served.connected) {
        tokio::task::yield_now().await;
    }
    kill(servers[0]);
    while !node.servers().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.fact().served, None);
    next.run(&serve(1), &key(1)).await.unwrap();
    assert_eq!(node.served().port, port, "its client looks for it there");
    let output = holds.join().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::read(node.file()).unwrap()[4096..8192], [6; 4096]);
}

/// Writes after a while, and waits for its server meanwhile.
fn client_that_waits(port: u16) -> std::process::Output {
    let keys = tempfile::tempdir().unwrap();
    std::fs::write(keys.path().join("keys.psk"), format!("n2:{}\n", key(1).reveal())).unwrap();
    let (keys, name) = (keys.path().display(), settings(1).name);
    std::process::Command::new("qemu-io")
        .args(["-c", "sleep 1000", "-c", "write -P 6 4k 4k", "-c", "flush", "--object"])
        .arg(format!("tls-creds-psk,id=tls,endpoint=client,username=n2,dir={keys}"))
        .arg("--image-opts")
        .arg(format!(
            "driver=nbd,server.type=inet,server.host=127.0.0.1,server.port={port},export={name},tls-creds=tls,\
             reconnect-delay=120"
        ))
        .output()
        .unwrap()
}

#[tokio::test]
async fn what_is_not_a_volume_of_this_node_is_not_served() {
    if !can() {
        return;
    }
    let node = Node::new();
    let with = |change: fn(&mut symphony_core::plan::export::Settings)| {
        let mut settings = settings(1);
        change(&mut settings);
        Step::Serve {
            object: VOLUME.to_owned(),
            settings,
        }
    };
    let other = Step::Serve {
        object: VOLUME.replace("abcdef", "abcdee"),
        settings: settings(1),
    };
    for wrong in [
        with(|settings| settings.pool = "other".to_owned()),
        with(|settings| settings.name = "x,writable=on".to_owned()),
        with(|settings| settings.listen = "127.0.0.1,tls-creds=none".to_owned()),
        with(|settings| settings.client = "n2\nn3:00".to_owned()),
        with(|settings| settings.generation = 0),
        other,
    ] {
        assert!(node.exports.run(&wrong, &key(1)).await.is_err(), "{wrong:?}");
    }
    // A link would serve another file.
    let file = node.file();
    std::fs::rename(&file, file.with_extension("kept")).unwrap();
    std::os::unix::fs::symlink(file.with_extension("kept"), &file).unwrap();
    assert!(node.exports.run(&serve(1), &key(1)).await.is_err());
    assert!(node.servers().is_empty() && node.fact().floor == 0);
}
