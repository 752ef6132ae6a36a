//! The audit log: who wrote and who was refused, without secrets, each line bound to the one before.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use symphony_api::Code;

use crate::harness::{CLIENT_TOKEN, Harness, json as answer};

#[tokio::test]
async fn writes_and_refusals_are_in_it_and_reads_are_not() {
    let harness = Harness::start().await;
    let (_, volume) = answer(harness.post_volume(&json!({"name": "v", "spec": {"size": 512}}))).await;
    answer(harness.ask(Method::GET, "/v1/projects/default/volumes")).await;
    let (id, text) = harness.token(json!({"role": "viewer", "name": "ci"})).await;
    let denied = harness
        .bare(Method::DELETE, "/v1/projects/default/volumes/v?x=secret")
        .bearer_auth(&text)
        .header("X-Request-Id", "mine");
    harness.refused(denied).await.is(Code::Forbidden);
    harness
        .refused(harness.bare(Method::GET, "/v1/nodes"))
        .await
        .is(Code::Unauthorized);

    let (_, log) = answer(harness.ask(Method::GET, "/v1/audit?limit=4")).await;
    let lines = log["items"].as_array().unwrap();
    let short = |line: &Value| {
        let text = |field: &str| line[field].as_str().unwrap_or("?").to_owned();
        (
            text("principal"),
            text("method"),
            text("path"),
            line["status"].as_u64().unwrap(),
        )
    };
    let seen: Vec<_> = lines.iter().map(short).collect();
    let wanted = |principal: &str, method: &str, path: &str, status| {
        (principal.to_owned(), method.to_owned(), path.to_owned(), status)
    };
    assert_eq!(
        seen,
        [
            wanted("-", "GET", "/v1/nodes", 401),
            wanted(
                &format!("token ci ({id})"),
                "DELETE",
                "/v1/projects/default/volumes/v",
                403
            ),
            wanted("client.toml", "POST", "/v1/tokens", 201),
            wanted("client.toml", "POST", "/v1/projects/default/volumes", 201),
        ]
    );
    assert_eq!(lines[1]["request_id"], "mine");
    assert_eq!(lines[3]["project"], "default");
    assert_eq!(lines[3]["revision"], volume["revision"]);
    assert!(lines[3]["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{log}");

    let file = std::fs::read_to_string(harness.socket.with_file_name("audit.log")).unwrap();
    assert!(
        !file.contains(CLIENT_TOKEN) && !file.contains("secret") && !file.contains(text.split('.').nth(2).unwrap())
    );
    let mut before = "0".repeat(64);
    for line in file.lines() {
        assert_eq!(
            serde_json::from_str::<Value>(line).unwrap()["prev"],
            before.as_str(),
            "{line}"
        );
        before = hex::encode(Sha256::digest(line));
    }
    for limit in [0, 501] {
        let path = format!("/v1/audit?limit={limit}");
        harness
            .refused(harness.ask(Method::GET, &path))
            .await
            .at(Code::InvalidArgument, "limit");
    }
    harness.stop().await;
}

/// A log that can't be written stops nothing, and is counted.
#[tokio::test]
async fn a_log_that_can_not_be_written_stops_nothing() {
    let harness = Harness::start().await;
    let log = harness.socket.with_file_name("audit.log");
    // Nothing was written yet, so the log is not open yet.
    std::fs::create_dir(&log).unwrap();
    answer(harness.post_volume(&json!({"name": "v", "spec": {"size": 512}}))).await;
    let (_, read) = answer(harness.ask(Method::GET, "/v1/audit")).await;
    assert_eq!(read["items"], json!([]));
    let metrics = harness
        .ask(Method::GET, "/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(metrics.contains("symphony_audit_lost_total 1"), "{metrics}");
    std::fs::remove_dir(&log).unwrap();
    answer(harness.post_volume(&json!({"name": "w", "spec": {"size": 512}}))).await;
    let (_, read) = answer(harness.ask(Method::GET, "/v1/audit")).await;
    assert_eq!(
        (&read["items"][0]["lost"], &read["items"][0]["path"]),
        (&json!(1), &json!("/v1/projects/default/volumes"))
    );
    harness.stop().await;
}
