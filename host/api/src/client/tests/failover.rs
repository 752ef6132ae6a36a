//! Several managers: the next is asked when one is gone, frozen or leaderless; what may be done twice alone is repeated.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::client::{ListQuery, WatchQuery};
use crate::problem::{Code, Problem};
use crate::v1::CreateToken;

const NODES: &str = r#"{"items":[],"revision":7}"#;

fn ok(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn problem(code: Code) -> String {
    let body = serde_json::to_string(&Problem::new(code, "now")).unwrap();
    ok(&body).replace("200 OK", &format!("{} X", code.status()))
}

/// A server that gives its answers in order, the last of them ever after, and counts. It ends with its runtime.
async fn server(answers: Vec<String>) -> (String, Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, heads) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counted, kept) = (asked.clone(), heads.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read_buf(&mut head).await {
                    Ok(1..) => {}
                    _ => break,
                }
            }
            let number = counted.fetch_add(1, Ordering::SeqCst);
            kept.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let answer = answers.get(number).or(answers.last()).unwrap();
            _ = stream.write_all(answer.as_bytes()).await;
            // The rest of the body is read, so that closing does not reset what was answered.
            _ = stream.shutdown().await;
            tokio::spawn(async move { _ = stream.read_to_end(&mut Vec::new()).await });
        }
    });
    (address, asked, heads)
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn client(addresses: &[&str]) -> Client {
    Client::new(&Endpoint::Http(addresses.join(",")), None, "p").unwrap()
}

fn token() -> CreateToken {
    serde_json::from_value(serde_json::json!({"role": "admin"})).unwrap()
}

#[tokio::test]
async fn no_leader_is_waited_out_and_told() {
    for code in [Code::NoLeader, Code::StoreUnavailable, Code::NotReady] {
        let (address, asked, _) = server(vec![problem(code), problem(code), problem(code), ok(NODES)]).await;
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = said.clone();
        let mut client = client(&[&address]).with_notice(move |text| kept.lock().unwrap().push(text.to_owned()));
        client.patience.notice = Duration::ZERO;
        client.nodes(&ListQuery::default()).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 4);
        assert_eq!(said.lock().unwrap().len(), 1, "told once: {said:?}");
        assert!(said.lock().unwrap()[0].ends_with("trying again"));
    }
}

#[tokio::test]
async fn patience_has_an_end() {
    let (address, asked, _) = server(vec![problem(Code::NoLeader)]).await;
    let mut client = client(&[&address]);
    client.patience.long = Duration::from_millis(350);
    let error = client.nodes(&ListQuery::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::NoLeader));
    assert!((1..=3).contains(&asked.load(Ordering::SeqCst)));
    assert_eq!(
        Patience::default().long,
        Duration::from_secs(15),
        "longer than a failover takes"
    );
}

#[tokio::test]
async fn what_may_not_be_repeated_is_sent_once() {
    let (address, asked, _) = server(vec![problem(Code::NoLeader), ok("{}")]).await;
    let error = client(&[&address]).create_token(&token()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::NoLeader));
    // Broken off without an answer: it may have been done.
    let (broken, asked_too, _) = server(vec![String::new()]).await;
    let (other, never, _) = server(vec![ok("{}")]).await;
    assert!(client(&[&broken, &other]).create_token(&token()).await.is_err());
    let counts = [&asked, &asked_too, &never].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts, [1, 1, 0]);
}

#[tokio::test]
async fn the_next_manager_is_asked_when_one_can_not_be_reached() {
    let (good, asked, heads) = server(vec![ok(NODES)]).await;
    let (gone, gone_too) = (nobody().await, nobody().await);
    let client = client(&[&gone, &gone_too, &good]);
    client.nodes(&ListQuery::default()).await.unwrap();
    assert_eq!(client.address(), good);
    // A write too: nothing was sent to those that are gone. All clones ask the one that was found.
    _ = client.clone().create_token(&token()).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(heads.lock().unwrap()[1].starts_with("POST /v1/tokens "), "{heads:?}");

    let (good, asked, heads) = server(vec![ok("{}")]).await;
    let client = self::client(&[&gone, &good]);
    _ = client.create_token(&token()).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1, "{heads:?}");
}

#[tokio::test]
async fn an_upload_looks_for_its_manager_first() {
    let (good, asked, heads) = server(vec![ok("")]).await;
    let gone = nobody().await;
    let reader = std::io::Cursor::new(b"bytes".to_vec());
    _ = client(&[&gone, &good])
        .create_image("i", None, Upload::new(reader, Some(5)))
        .await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let heads = heads.lock().unwrap();
    assert!(
        heads[0].starts_with("GET /healthz ") && heads[1].starts_with("POST "),
        "{heads:?}"
    );
}

#[tokio::test]
async fn of_several_the_one_that_knows_the_leader_answers() {
    let (cut_off, asked, _) = server(vec![problem(Code::StoreUnavailable)]).await;
    let (good, _, _) = server(vec![ok(NODES)]).await;
    let gone = nobody().await;
    client(&[&gone, &cut_off, &good])
        .nodes(&ListQuery::default())
        .await
        .unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn managers_that_start_are_waited_for_when_there_are_several() {
    let (gone, later) = (nobody().await, nobody().await);
    let address = later.trim_start_matches("http://").to_owned();
    let client = client(&[&gone, &later]);
    let asking = tokio::spawn(async move { client.nodes(&ListQuery::default()).await });
    tokio::time::sleep(Duration::from_millis(250)).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(ok(NODES).as_bytes()).await.unwrap();
    assert!(asking.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_watch_goes_on_at_another_manager_where_it_was() {
    let stream = |id: u64| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nevent: bookmark\nid: {id}\ndata: {{}}\n\n"
        )
    };
    let (first, _, _) = server(vec![stream(7), problem(Code::NoLeader)]).await;
    let (second, _, heads) = server(vec![problem(Code::NoLeader), stream(9)]).await;
    let mut watch = client(&[&first, &second]).watch(&WatchQuery::default()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().revision, Some(7));
    assert_eq!(watch.next().await.unwrap().revision, Some(9));
    let heads = heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.contains("from=7")), "{heads:?}");
}

#[tokio::test]
async fn a_watch_that_nobody_resumes_is_lost() {
    let bookmark = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nevent: bookmark\nid: 7\ndata: {}\n\n";
    let (address, asked, _) = server(vec![bookmark.to_owned(), problem(Code::NoLeader)]).await;
    let mut client = client(&[&address]);
    client.patience.long = Duration::from_millis(400);
    let mut watch = client.watch(&WatchQuery::default()).await.unwrap();
    watch.next().await.unwrap();
    assert!(matches!(watch.next().await, Err(ClientError::WatchLost)));
    assert!((1..=4).contains(&asked.load(Ordering::SeqCst)));
}

#[test]
fn a_list_of_addresses_has_an_end() {
    let many = vec!["http://127.0.0.1:1"; 17].join(",");
    assert!(Client::new(&Endpoint::Http(many), None, "p").is_err());
}
