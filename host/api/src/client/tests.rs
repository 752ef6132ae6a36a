//! The client against addresses, sockets and small servers that answer what they are told.

mod failover;

use super::*;

#[test]
fn addresses_are_checked_before_anything_is_sent() {
    for wrong in [
        "",
        "localhost:1",
        "ftp://x",
        "http://",
        "http://x/path",
        "http://u@x",
        "https://x",
    ] {
        assert!(
            Client::new(&Endpoint::Http(wrong.into()), None, "p").is_err(),
            "{wrong}"
        );
    }
    let client = Client::new(&Endpoint::Http("http://127.0.0.1:1/".into()), Some("secret"), "p").unwrap();
    assert_eq!(client.address(), "http://127.0.0.1:1");
    assert!(!format!("{client:?}").contains("secret"));
}

#[test]
fn loopback_is_known_by_its_address() {
    for (address, own) in [
        ("http://127.0.0.1:1", true),
        ("http://127.9.9.9", true),
        ("http://[::1]:1", true),
        ("http://localhost:1", true),
        ("http://localhost.example:1", false),
        ("http://10.0.0.1:1", false),
        ("http://[2001:db8::1]:1", false),
    ] {
        assert_eq!(is_loopback(&parse_address(address).unwrap()), own, "{address}");
    }
}

#[test]
fn only_an_own_socket_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let client = |path: &Path| Client::new(&Endpoint::Socket(path.to_owned()), None, "p");
    let path = folder.path().join("s");
    assert!(matches!(client(&path), Err(ClientError::Socket { .. })));
    std::fs::write(folder.path().join("f"), "").unwrap();
    assert!(matches!(
        client(&folder.path().join("f")),
        Err(ClientError::NoSocket(_))
    ));
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(client(&path).is_ok());
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
        assert!(matches!(client(&path), Err(ClientError::ForeignSocket(_))));
    }
}
