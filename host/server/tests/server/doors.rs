//! What every request meets: tokens, sizes, types, unknown paths, faults, and the end of the server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::Method;
use serde_json::json;
use symphony_api::Code;
use symphony_server::{Always, Limits, ServeError, ServerConfig, Tokens, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::harness::{CLIENT_TOKEN, Harness};
use crate::volumes::volume;

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let harness = Harness::start().await;
    for path in [
        "/",
        "/v1",
        "/v2/nodes",
        "/v1/projects/default/volumes/",
        "/v1/slots/scheduler",
    ] {
        harness.refused(harness.ask(Method::GET, path)).await.is(Code::NotFound);
    }
    let request = harness.ask(Method::PUT, "/v1/projects/default/volumes");
    let response = request.try_clone().unwrap().send().await.unwrap();
    let allow = response.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    harness.refused(request).await.is(Code::MethodNotAllowed);
    harness
        .refused(harness.ask(Method::GET, "/v1/slots/scheduler/machine"))
        .await
        .is(Code::NotFound);
    harness
        .refused(harness.ask(Method::GET, "/v1/nodes/%ff"))
        .await
        .is(Code::InvalidArgument);
    harness.stop().await;
}

#[tokio::test]
async fn a_request_keeps_the_name_that_it_was_given() {
    let harness = Harness::start().await;
    let named = harness.ask(Method::GET, "/v1/nodes/x").header("X-Request-Id", "mine-1");
    assert_eq!(harness.refused(named).await.is(Code::NotFound).request_id, "mine-1");
    let odd = harness.ask(Method::GET, "/v1/nodes/x").header("X-Request-Id", "a b");
    assert_ne!(harness.refused(odd).await.is(Code::NotFound).request_id, "a b");
    let fine = harness.ask(Method::GET, "/v1/nodes").send().await.unwrap();
    assert!(fine.headers().contains_key("x-request-id"));
    harness.stop().await;
}

#[tokio::test]
async fn bodies_of_another_type_or_form_are_refused() {
    let harness = Harness::start().await;
    let path = "/v1/projects/default/volumes";
    let good = json!({"name": "v", "spec": {"size": 512}}).to_string();
    for kind in ["text/plain", "application/xml", "application/jsonx", ""] {
        let request = harness
            .ask(Method::POST, path)
            .header("content-type", kind)
            .body(good.clone());
        harness.refused(request).await.is(Code::UnsupportedMediaType);
    }
    harness
        .refused(harness.ask(Method::POST, path).body(good.clone()))
        .await
        .is(Code::UnsupportedMediaType);
    for body in ["", "{", "[1]", "null", "\u{0}", &good[1..], &format!("{good}{good}")] {
        let request = harness
            .ask(Method::POST, path)
            .header("content-type", "application/json")
            .body(body.to_owned());
        harness.refused(request).await.is(Code::MalformedBody);
    }
    let charset = harness
        .ask(Method::POST, path)
        .header("content-type", "application/json; charset=utf-8")
        .body(good);
    assert_eq!(charset.send().await.unwrap().status(), 201);
    harness.stop().await;
}

/// Sends a request's head and nothing more; answers the answer's head.
async fn head_only(harness: &Harness, path: &str, kind: &str, length: u64) -> String {
    let mut socket = TcpStream::connect(harness.base.trim_start_matches("http://"))
        .await
        .unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_TOKEN}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(30), socket.read(&mut answer))
        .await
        .expect("an answer without the body");
    answer.truncate(read.unwrap());
    String::from_utf8(answer).unwrap()
}

/// Sends without end until the server answers; how many bytes were taken.
async fn endless(harness: &Harness, path: &str, kind: &str) -> (Code, u64) {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = sent.clone();
    let piece = Bytes::from(vec![b' '; 64 << 10]);
    let pieces = stream::repeat_with(move || {
        counter.fetch_add(piece.len() as u64, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::io::Error>(piece.clone())
    });
    let request = harness
        .ask(Method::POST, path)
        .header("content-type", kind)
        .body(reqwest::Body::wrap_stream(pieces));
    let code = harness.refused(request).await.code;
    (code, sent.load(std::sync::atomic::Ordering::Relaxed))
}

#[tokio::test]
async fn huge_bodies_are_refused_before_they_are_read() {
    let harness = Harness::start().await;
    let (volumes, plugins) = ("/v1/projects/default/volumes", "/v1/plugins");
    let before = harness.revision().await;
    let json = head_only(&harness, volumes, "application/json", 1 << 30).await;
    assert!(
        json.starts_with("HTTP/1.1 413") && json.contains("application/problem+json"),
        "{json}"
    );
    let component = head_only(&harness, plugins, "application/wasm", 100 << 20).await;
    assert!(component.starts_with("HTTP/1.1 413"), "{component}");
    let (code, sent) = endless(&harness, volumes, "application/json").await;
    assert_eq!(code, Code::TooLarge);
    assert!(sent < 64 << 20, "{sent} bytes were taken of a body that may have 1 MiB");
    let (code, sent) = endless(&harness, plugins, "application/wasm").await;
    assert_eq!(code, Code::TooLarge);
    assert!(
        sent < 128 << 20,
        "{sent} bytes were taken of a component that may have 32 MiB"
    );
    assert_eq!(harness.revision().await, before);
    harness.stop().await;
}

#[tokio::test]
async fn a_real_client_with_a_huge_body_gets_the_answer() {
    let harness = Harness::start().await;
    for (path, kind, length) in [
        ("/v1/projects/default/volumes", "application/json", 1_u64 << 30),
        ("/v1/plugins", "application/wasm", 100 << 20),
    ] {
        let piece = Bytes::from(vec![b' '; 1 << 20]);
        let count = usize::try_from(length >> 20).unwrap();
        let pieces = stream::iter(std::iter::repeat_n(piece, count).map(Ok::<_, std::io::Error>));
        let request = harness
            .ask(Method::POST, path)
            .header("content-type", kind)
            .header("content-length", length);
        harness
            .refused(request.body(reqwest::Body::wrap_stream(pieces)))
            .await
            .is(Code::TooLarge);
    }
    harness.stop().await;
}

/// A client that sends all before it reads, as simple ones do.
#[tokio::test]
async fn a_client_that_only_sends_gets_the_answer_too() {
    let harness = Harness::start().await;
    for (path, kind) in [
        ("/v1/projects/default/volumes", "application/json"),
        ("/v1/plugins", "text/plain"),
    ] {
        let mut socket = TcpStream::connect(harness.base.trim_start_matches("http://"))
            .await
            .unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_TOKEN}\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\n\r\n",
            12 << 20
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket
            .write_all(&vec![b' '; 12 << 20])
            .await
            .expect("the whole body is taken");
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.expect("the answer is there");
        assert!(answer.starts_with(b"HTTP/1.1 41"), "{answer:?}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = Limits {
        body_timeout: Duration::from_millis(50),
        head_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let harness = Harness::with(limits).await;
    let answer = head_only(&harness, "/v1/projects/default/volumes", "application/json", 10).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("did not come in time"),
        "{answer}"
    );
    let mut socket = TcpStream::connect(harness.base.trim_start_matches("http://"))
        .await
        .unwrap();
    socket.write_all(b"GET /healthz HTT").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "half a head is cut off");
    harness.stop().await;
}

#[tokio::test]
async fn a_fault_of_the_manager_is_one_answer_and_no_more() {
    let harness = Harness::start().await;
    let request = harness
        .ask(Method::POST, "/v1/plugins")
        .header("content-type", "application/wasm")
        .body("panic");
    harness.refused(request).await.is(Code::Internal);
    assert_eq!(
        harness.bare(Method::GET, "/healthz").send().await.unwrap().status(),
        200
    );
    harness.stop().await;
}

#[tokio::test]
async fn health_and_metrics_are_told() {
    let harness = Harness::start().await;
    let text = harness
        .bare(Method::GET, "/readyz")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(text, "ok\n");
    *harness.loops.not_ready.lock().unwrap() = Some("no leader".into());
    let problem = harness
        .refused(harness.bare(Method::GET, "/readyz"))
        .await
        .is(Code::NotReady);
    assert_eq!(problem.detail, "no leader");
    assert!(harness.client().ready().await.is_err());
    assert_eq!(
        harness.bare(Method::GET, "/healthz").send().await.unwrap().status(),
        200
    );
    let metrics = harness.client().metrics().await.unwrap();
    assert!(
        metrics.contains("loops 1\n") && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    assert_eq!(metrics.matches("# EOF").count(), 1);
    let line = "symphony_http_requests_total{method=\"GET\",route=\"/readyz\",status=\"503\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    harness.stop().await;
}

#[tokio::test]
async fn both_versions_of_http_are_spoken() {
    let harness = Harness::start().await;
    for (http, version) in [
        (
            reqwest::Client::builder()
                .tls_backend_preconfigured(symphony_pki::trusting_nobody())
                .http2_prior_knowledge()
                .build()
                .unwrap(),
            reqwest::Version::HTTP_2,
        ),
        (
            reqwest::Client::builder()
                .tls_backend_preconfigured(symphony_pki::trusting_nobody())
                .http1_only()
                .build()
                .unwrap(),
            reqwest::Version::HTTP_11,
        ),
    ] {
        let response = http.get(format!("{}/healthz", harness.base)).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
    harness.stop().await;
}

#[tokio::test]
async fn what_others_can_reach_must_be_allowed() {
    let harness = Harness::start().await;
    let config = |listen: &str, client: &str| ServerConfig {
        listen: listen.parse().unwrap(),
        control_socket: None,
        tokens: Tokens {
            client: client.into(),
            agent: Some("a".into()),
        },
        tls: None,
        plain: true,
        advertise: None,
        manager: "m2".parse().unwrap(),
        audit_log: None,
        limits: Limits::default(),
    };
    let start = |config| {
        serve(
            config,
            harness.store.clone(),
            Arc::new(Always(harness.loops.clone())),
            CancellationToken::new(),
        )
    };
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        assert!(
            matches!(start(config(listen, "t")).await, Err(ServeError::Remote(_))),
            "{listen}"
        );
    }
    assert!(matches!(
        start(config("127.0.0.1:0", "")).await,
        Err(ServeError::EmptyToken)
    ));
    let taken = harness.base.trim_start_matches("http://");
    assert!(matches!(
        start(config(taken, "t")).await,
        Err(ServeError::Listen { .. })
    ));
    harness.stop().await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_their_turn() {
    let harness = Harness::with(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let mut first = TcpStream::connect(harness.base.trim_start_matches("http://"))
        .await
        .unwrap();
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 15];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let waiting = tokio::spawn(harness.bare(Method::GET, "/healthz").send());
    // It can't have been answered, however long this takes: the only seat is held.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    harness.stop().await;
}

#[tokio::test]
async fn the_server_ends_in_time_whatever_is_under_way() {
    let harness = Harness::with(Limits {
        drain: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    harness.client().create_volume(&volume("v", "1MiB")).await.unwrap();
    let mut stuck = TcpStream::connect(harness.base.trim_start_matches("http://"))
        .await
        .unwrap();
    let head = format!(
        "POST /v1/projects/default/images?name=i HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_TOKEN}\r\n\
         content-type: application/octet-stream\r\ncontent-length: 100\r\n\r\nhalf"
    );
    stuck.write_all(head.as_bytes()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), harness.stop())
        .await
        .expect("it ends");
}
