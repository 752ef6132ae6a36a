//! The control socket: services and health, for its owner and root.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use symphony_api::{Client, Code, Endpoint};
use symphony_core::condition::Truth;

use crate::harness::Harness;

#[tokio::test]
async fn it_serves_services_without_a_token_and_nothing_else() {
    let harness = Harness::start().await;
    harness.add_node("n1", Truth::Unknown).await;
    let mode = std::fs::metadata(&harness.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = Client::new(&Endpoint::Socket(harness.socket.clone()), None, "default").unwrap();
    client.ready().await.unwrap();
    let services = client.services().await.unwrap().items;
    assert_eq!(services.len(), 3);
    client.remove_service(&services[1].id.to_string(), false).await.unwrap();
    assert_eq!(client.all_nodes(None).await.unwrap_err().code(), Some(Code::NotFound));
    assert_eq!(client.volume("v").await.unwrap_err().code(), Some(Code::NotFound));
    let socket = harness.socket.clone();
    harness.stop().await;
    assert!(!socket.exists(), "it goes with the manager");
}

/// As root the test can ask as somebody else; else there is nobody else to ask as.
#[tokio::test]
async fn somebody_else_is_kept_out() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let harness = Harness::start().await;
    let folder = harness.socket.parent().unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ask = || {
        let socket = harness.socket.clone();
        tokio::task::spawn_blocking(move || {
            let mut curl = Command::new("setpriv");
            curl.args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "curl",
                "-sS",
                "--max-time",
                "20",
                "--unix-socket",
            ]);
            curl.arg(socket)
                .args(["-w", "%{http_code}", "http://localhost/v1/services"])
                .output()
                .unwrap()
        })
    };
    let closed = ask().await.unwrap();
    assert!(
        !closed.status.success(),
        "the socket's rights keep it closed: {closed:?}"
    );
    // And when someone changed the rights, the manager looks at who comes.
    std::fs::set_permissions(&harness.socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let answer = String::from_utf8(ask().await.unwrap().stdout).unwrap();
    assert!(
        answer.ends_with("403") && answer.contains("\"code\":\"forbidden\""),
        "{answer}"
    );
    harness.stop().await;
}
