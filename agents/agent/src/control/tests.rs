//! The socket's rights, and what is said over it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::config::Config;

fn membership(folder: &Path) -> Membership {
    std::fs::write(folder.join("agent.toml"), "name = \"n1\"\nroles = [\"block\"]\n").unwrap();
    Membership::open(&Config::load(folder).unwrap()).unwrap()
}

async fn say(path: &Path, request: &str) -> (u16, String) {
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn init(path: &Path, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("POST {INIT_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    say(path, &format!("{head}{body}")).await
}

#[tokio::test]
async fn it_is_private_answers_and_takes_the_place_of_a_dead_one_only() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than the path of a socket may be.
    let folder = folder.path().join("d".repeat(120));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("control.sock");
    let socket = ControlSocket::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    assert!(matches!(ControlSocket::bind(&path), Err(ControlError::Taken { .. })));
    drop(socket);
    assert!(!path.exists());
    fs::write(&path, "mine").unwrap();
    assert!(ControlSocket::bind(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no draft is left");
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let socket = ControlSocket::bind(&path).expect("what a killed agent leaves is no hindrance");
    let end = CancellationToken::new();
    let served = tokio::spawn(socket.serve(membership(folder.path()), end.clone()));
    let (status, body) = say(
        &path,
        &format!("GET {STATUS_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
    .await;
    let known: AgentStatus = serde_json::from_str(&body).unwrap();
    assert_eq!((status, known.node.as_str(), known.cluster), (200, "n1", None));
    let token = format!("sym1.{}.{}.{}", "1".repeat(16), "2".repeat(32), "3".repeat(32));
    let cases = [
        (
            "block",
            "192.0.2.1",
            "hush",
            "token_malformed",
            "a token looks like sym1.ID.SECRET.CA",
        ),
        (
            "block",
            "http://m1",
            token.as_str(),
            "bad_address",
            "that is no address of a manager: \"http://m1\" is not of the form ADDRESS or ADDRESS:PORT, like 192.0.2.10:15760",
        ),
        (
            "image",
            "192.0.2.1",
            token.as_str(),
            "role_not_configured",
            "agent.toml says roles = {\"block\"}, and image is not among them; add it there and start the agent again, or leave roles out",
        ),
        (
            "block",
            "192.0.2.1",
            &format!("sym1.{}.{}.", "1".repeat(16), "2".repeat(32)),
            "token_unknown",
            "the token names no cluster, so no manager can be trusted with it; make one with `symphony token create --role block`",
        ),
    ];
    for (role, manager, token, code, detail) in cases {
        let body = format!(r#"{{"role":"{role}","manager":"{manager}","token":"{token}"}}"#);
        let (status, body) = init(&path, &body).await;
        let refusal: Refusal = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, refusal.code.as_str(), refusal.detail.as_str()),
            (409, code, detail)
        );
    }
    assert_eq!(init(&path, r#"{"role":"king"}"#).await.0, 400);
    assert_eq!(init(&path, &"x".repeat(BODY_BYTES_MAX + 1)).await.0, 413);
    let nowhere = say(&path, "GET /v1/nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(nowhere.0 == 404 && nowhere.1.contains("control socket of an agent"));
    assert!(
        !folder.path().join("identity").exists(),
        "nothing was asked, nothing was made"
    );
    end.cancel();
    served.await.unwrap();
    assert!(!path.exists());
}

#[test]
fn root_and_the_own_user_are_trusted() {
    assert!(is_trusted(0) && is_trusted(own_uid()));
    assert!(!is_trusted(own_uid() + 1));
}
