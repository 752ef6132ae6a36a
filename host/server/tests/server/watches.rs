//! Watches: the state, what comes after it, and going on where one was.

use std::time::Duration;

use reqwest::Method;
use symphony_api::client::{Watch, WatchQuery};
use symphony_api::v1::{Action, Kind, Object, WatchEvent};
use symphony_api::{Client, Code, Endpoint};
use symphony_core::condition::Truth;
use symphony_server::Limits;
use symphony_store::{Revision, StoreExt as _};

use crate::harness::{CLIENT_TOKEN, Harness};
use crate::volumes::volume;

fn query(kinds: &[Kind], from: Option<u64>) -> WatchQuery {
    WatchQuery {
        kinds: kinds.to_vec(),
        from,
    }
}

async fn next(watch: &mut Watch) -> WatchEvent {
    tokio::time::timeout(Duration::from_secs(30), watch.next())
        .await
        .expect("something happens")
        .unwrap()
}

/// The next event that is no bookmark, as `action name`.
async fn change(watch: &mut Watch) -> String {
    loop {
        let event = next(watch).await;
        let name = match &event.object {
            Some(Object::Volume(volume)) => volume.meta.name.clone(),
            Some(Object::Node(node)) => node.meta.name.clone(),
            Some(Object::Event(event)) => format!("{} {}", event.reason, event.subject.name),
            Some(other) => format!("{:?}", other.kind()),
            None => continue,
        };
        return format!("{} {name}", event.action.as_str());
    }
}

#[tokio::test]
async fn the_state_comes_first_and_then_what_happens() {
    let harness = Harness::start().await;
    let client = harness.client();
    harness.add_node("n1", Truth::True).await;
    client.create_volume(&volume("v1", "1MiB")).await.unwrap();
    client.create_volume(&volume("v2", "1MiB")).await.unwrap();
    let mut watch = client.watch(&query(&[Kind::Volume, Kind::Node], None)).await.unwrap();
    for expected in ["put v1", "put v2", "put n1"] {
        assert_eq!(change(&mut watch).await, expected);
        assert_eq!(watch.revision(), None, "half of a state is no place to go on from");
    }
    let mark = next(&mut watch).await;
    assert_eq!(
        (mark.action, mark.revision),
        (Action::Bookmark, Some(harness.revision().await))
    );
    let made = client.create_volume(&volume("v3", "1MiB")).await.unwrap();
    assert_eq!(change(&mut watch).await, "put v3");
    assert_eq!(watch.revision(), Some(made.meta.revision));
    client.delete_volume("v3", None).await.unwrap();
    assert_eq!(change(&mut watch).await, "put v3");
    harness.store.delete("v1/volume/default/v3").await.unwrap();
    assert_eq!(change(&mut watch).await, "delete v3");
    harness.stop().await;
}

#[tokio::test]
async fn a_watch_goes_on_from_a_revision_with_no_gap_and_no_repetition() {
    let harness = Harness::start().await;
    let client = harness.client();
    let from = client.create_volume(&volume("v0", "1MiB")).await.unwrap().meta.revision;
    for n in 1..20 {
        client.create_volume(&volume(&format!("v{n}"), "1MiB")).await.unwrap();
    }
    let mut resumed = client.watch(&query(&[Kind::Volume], Some(from))).await.unwrap();
    for n in 1..20 {
        assert_eq!(change(&mut resumed).await, format!("put v{n}"));
        if n % 5 == 0 {
            let from = resumed.revision();
            resumed = client.watch(&query(&[Kind::Volume], from)).await.unwrap();
        }
    }
    // A volume and its event are of one revision: the first of them is no place to go on from.
    let mut both = client
        .watch(&query(&[Kind::Volume, Kind::Event], Some(from)))
        .await
        .unwrap();
    let (first, second) = (next(&mut both).await, next(&mut both).await);
    assert_eq!((first.revision, second.revision), (None, Some(from + 1)));
    harness.stop().await;
}

#[tokio::test]
async fn last_event_id_wins_over_the_query() {
    let harness = Harness::start().await;
    let client = harness.client();
    let from = client.create_volume(&volume("v0", "1MiB")).await.unwrap().meta.revision;
    client.create_volume(&volume("v1", "1MiB")).await.unwrap();
    let request = harness
        .ask(Method::GET, "/v1/watch?kinds=volumes&from=1")
        .header("Last-Event-ID", from.to_string());
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !text.contains("event: put") {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(
        text.contains("\"v1\"") && !text.contains("\"v0\"") && text.contains(&format!("id: {}\n", from + 1)),
        "{text}"
    );
    harness.stop().await;
}

#[tokio::test]
async fn history_that_is_gone_is_said_so() {
    let harness = Harness::start().await;
    let client = harness.client();
    let from = client.create_volume(&volume("v0", "1MiB")).await.unwrap().meta.revision;
    for n in 1..5 {
        client.create_volume(&volume(&format!("v{n}"), "1MiB")).await.unwrap();
    }
    harness.store.compact(Revision(from + 3)).await.unwrap();
    let path = format!("/v1/watch?from={from}");
    harness
        .refused(harness.ask(Method::GET, &path))
        .await
        .is(Code::RevisionCompacted);
    assert_eq!(
        client
            .watch(&query(&[], Some(from)))
            .await
            .err()
            .and_then(|error| error.code()),
        Some(Code::RevisionCompacted)
    );
    let mut newer = client.watch(&query(&[Kind::Volume], Some(from + 3))).await.unwrap();
    assert_eq!(change(&mut newer).await, "put v4");
    harness.stop().await;
}

#[tokio::test]
async fn what_can_not_be_watched_is_refused() {
    let harness = Harness::start().await;
    let cases = [
        ("kinds=secrets", "kinds"),
        ("project=..", "project"),
        ("from=x", "from"),
        ("from=999999", "from"),
    ];
    for (query, pointer) in cases {
        let path = format!("/v1/watch?{query}");
        harness
            .refused(harness.ask(Method::GET, &path))
            .await
            .at(Code::InvalidArgument, pointer);
    }
    let odd = harness.ask(Method::GET, "/v1/watch").header("Last-Event-ID", "abc");
    harness.refused(odd).await.at(Code::InvalidArgument, "Last-Event-ID");
    harness.stop().await;
}

#[tokio::test]
async fn another_project_is_not_seen() {
    let harness = Harness::start().await;
    let other = Client::new(&Endpoint::Http(harness.base.clone()), Some(CLIENT_TOKEN), "other").unwrap();
    harness.add_project("other").await;
    let from = harness.revision().await;
    let mut watch = other
        .watch(&query(&[Kind::Volume, Kind::Event], Some(from)))
        .await
        .unwrap();
    harness.client().create_volume(&volume("theirs", "1MiB")).await.unwrap();
    other.create_volume(&volume("mine", "1MiB")).await.unwrap();
    let mut seen = [change(&mut watch).await, change(&mut watch).await];
    seen.sort();
    assert_eq!(seen, ["put created mine", "put mine"]);
    harness.stop().await;
}

#[tokio::test]
async fn watches_are_counted_and_end_with_the_manager() {
    let harness = Harness::with(Limits {
        watches: 2,
        ..Limits::default()
    })
    .await;
    let client = harness.client();
    let mut first = client.watch(&query(&[], None)).await.unwrap();
    let second = client.watch(&query(&[], None)).await.unwrap();
    harness
        .refused(harness.ask(Method::GET, "/v1/watch"))
        .await
        .is(Code::TooManyRequests);
    drop(second);
    // The seat is free as soon as the server sees the connection end.
    let third = loop {
        match client.watch(&query(&[], None)).await {
            Ok(watch) => break watch,
            Err(error) => assert_eq!(error.code(), Some(Code::TooManyRequests)),
        }
        tokio::task::yield_now().await;
    };
    drop(third);
    assert_eq!(next(&mut first).await.action, Action::Bookmark);
    harness.stop().await;
}
