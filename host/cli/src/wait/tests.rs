//! Waits against a manager that says what the test wants.

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::rows::samples::machine;

#[test]
fn the_newest_condition_that_does_not_hold_says_most() {
    let condition = |status, message: &str, second| Condition {
        kind: "k".into(),
        status,
        reason: "r".into(),
        message: message.into(),
        since: Timestamp::from_second(second).unwrap(),
    };
    assert_eq!(state("Ready", &[]), "Ready");
    let conditions = [
        condition(Truth::False, "old", 1),
        condition(Truth::Unknown, "45 % written", 2),
        condition(Truth::True, "fine", 3),
    ];
    assert_eq!(state("Creating", &conditions), "Creating: 45 % written");
}

#[tokio::test]
async fn a_wait_has_an_end_and_says_how_far_it_came() {
    let endpoint = symphony_api::Endpoint::Http("http://127.0.0.1:9".into());
    let client = Client::new(&endpoint, None, "p").unwrap();
    let goal = Goal {
        kind: Kind::Volume,
        id: "x".into(),
        revision: 1,
        state: "ready",
        limit: Duration::from_millis(5),
        story: None,
    };
    let mut progress = Progress::waiting("volume data", true);
    let going = async || Ok::<_, Failure>(Look::<()>::Going("Pending: no room".into()));
    let failure = until(&client, &goal, &mut progress, "volume data", going)
        .await
        .unwrap_err();
    assert_eq!(failure.message, "volume data is not ready after 5ms: Pending: no room");
    assert!(failure.hint.unwrap().contains("--timeout"));
}

/// A manager whose watch says this and then nothing more. Gives its client, and the path that the watch was asked by.
async fn telling(events: String) -> (Client, tokio::sync::oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (path, asked) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        path.send(request.lines().next().unwrap().to_owned()).unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all((head.to_owned() + &events).as_bytes()).await.unwrap();
        // The client goes first.
        _ = stream.read(&mut [0]).await;
    });
    let endpoint = symphony_api::Endpoint::Http(address);
    (Client::new(&endpoint, None, "default").unwrap(), asked)
}

fn event(kind: &str, name: &str, details: &serde_json::Value, message: &str, revision: u64) -> String {
    let id = "0192f0c1-2345-7abc-8def-0123456789ab";
    let object = serde_json::json!({
        "kind": "event", "id": id, "at": "2026-11-23T11:55:00.250Z", "severity": "Normal", "reason": "r",
        "subject": {"kind": kind, "project": "default", "name": name}, "message": message, "details": details,
        "revision": revision,
    });
    told("put", "event", &object, revision)
}

fn told(action: &str, kind: &str, object: &serde_json::Value, revision: u64) -> String {
    let data = serde_json::json!({"kind": kind, "object": object});
    format!("event: {action}\nid: {revision}\ndata: {data}\n\n")
}

fn story_of_web1(state: &'static str) -> Goal<'static> {
    let machine = machine();
    let id = machine.meta.id.to_string();
    Goal {
        kind: Kind::Machine,
        story: Some(Story::of(&machine, machine.meta.created_at)),
        id,
        revision: 7,
        state,
        limit: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_story_is_told_up_to_the_revision_that_ends_it() {
    let none = serde_json::json!({});
    let of_web1 = serde_json::json!({"machine": "web1", "took_ms": "320"});
    let object = serde_json::to_value(machine()).unwrap();
    let events = [
        event("machine", "web1", &none, "created", 7),
        event("machine", "web2", &none, "created too", 8),
        event("volume", "web1-root", &of_web1, "image written", 9),
        told("put", "machine", &object, 10),
        event("machine", "web1", &none, "runs", 11),
        event("machine", "web1", &none, "said after the end", 12),
    ];
    let (client, asked) = telling(events.concat()).await;
    let mut progress = Progress::waiting("machine web1", true);
    // Done at the first look: what led there must be told nevertheless.
    let look = async || Ok(Look::DoneAt("done", 11));
    let done = until(&client, &story_of_web1("running"), &mut progress, "machine web1", look)
        .await
        .unwrap();
    assert_eq!(done, "done");
    assert_eq!(
        progress.told,
        [
            "+250ms   machine/web1              created",
            "+250ms   volume/web1-root          image written (320ms)",
            "+250ms   machine/web1              runs",
        ]
    );
    let asked = asked.await.unwrap();
    assert!(
        asked.contains("from=6") && asked.contains("machines%2Cevents"),
        "from before the change itself: {asked}"
    );
}

#[tokio::test]
async fn a_change_of_the_object_wakes_and_its_end_ends_the_story() {
    let none = serde_json::json!({});
    let object = serde_json::to_value(machine()).unwrap();
    let events = [
        event("machine", "web1", &none, "its disks are removed", 8),
        told("delete", "machine", &object, 9),
    ];
    let (client, _asked) = telling(events.concat()).await;
    let mut progress = Progress::waiting("machine web1", true);
    let mut looks = 0;
    until(
        &client,
        &story_of_web1("gone"),
        &mut progress,
        "machine web1",
        async || {
            looks += 1;
            Ok(match looks {
                1 => Look::Going("Deleting".to_owned()),
                _ => Look::DoneAt((), u64::MAX),
            })
        },
    )
    .await
    .unwrap();
    assert_eq!(looks, 2);
    assert_eq!(
        progress.told,
        ["+250ms   machine/web1              its disks are removed"]
    );
}
