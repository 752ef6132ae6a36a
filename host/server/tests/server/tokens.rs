//! Tokens: made, listed, revoked; and what those who are confined to a project see across projects.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use symphony_api::Code;
use symphony_core::{keys, record};
use symphony_server::{Always, Limits, ServerConfig, Tokens, serve};
use tokio_util::sync::CancellationToken;

use crate::harness::{AGENT_TOKEN, CLIENT_TOKEN, Harness, json as answer};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn its_text_is_answered_once_and_kept_nowhere() {
    let harness = Harness::start().await;
    let request = harness
        .ask(Method::POST, "/v1/tokens")
        .json(&json!({"role": "block", "name": "rack 1"}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let made: Value = response.json().await.unwrap();
    assert_eq!(
        (&made["kind"], &made["role"], &made["uses_left"]),
        (&json!("token"), &json!("block"), &json!(1))
    );
    assert_eq!(
        (&made["state"], &made["created_by"]),
        (&json!("active"), &json!("client.toml"))
    );
    let text = made["text"].as_str().unwrap();
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(
        (parts[0], parts[1], parts[3]),
        ("sym1", made["id"].as_str().unwrap(), "")
    );

    let (_, listed) = answer(harness.ask(Method::GET, "/v1/tokens")).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["name"], "rack 1");
    let (_, events) = answer(harness.ask(Method::GET, "/v1/events")).await;
    assert_eq!(events["items"][0]["reason"], "token-created");
    let key = keys::token(parts[1].parse().unwrap());
    let kept = harness.store.get(&key.into(), None).await.unwrap().unwrap();
    let kept = String::from_utf8(kept.value.to_vec()).unwrap();
    for place in [listed.to_string(), events.to_string(), kept] {
        assert!(!place.contains(parts[2]), "{place}");
    }

    let path = format!("/v1/tokens/{}", parts[1]);
    answer(harness.ask(Method::DELETE, &path)).await;
    harness
        .refused(harness.ask(Method::DELETE, &path))
        .await
        .is(Code::NotFound);
    harness
        .refused(harness.ask(Method::DELETE, "/v1/tokens/x"))
        .await
        .is(Code::NotFound);
    harness.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_with_its_place() {
    let harness = Harness::start().await;
    for (body, pointer) in [
        (json!({"role": "root"}), "/role"),
        (json!({"role": "member"}), "/project"),
        (json!({"role": "admin", "project": "default"}), "/project"),
        (json!({"role": "viewer", "uses": 1}), "/uses"),
        (json!({"role": "block", "uses": 0}), "/uses"),
        (json!({"role": "block", "expires_in_seconds": 0}), "/expires_in_seconds"),
    ] {
        let request = harness.ask(Method::POST, "/v1/tokens").json(&body);
        harness.refused(request).await.at(Code::InvalidArgument, pointer);
    }
    let request = harness
        .ask(Method::POST, "/v1/tokens")
        .json(&json!({"role": "member", "project": "nowhere"}));
    harness.refused(request).await.is(Code::ProjectNotFound);
    harness.stop().await;
}

#[tokio::test]
async fn who_is_confined_sees_what_is_its_own() {
    let harness = Harness::start().await;
    harness.add_node("n1", symphony_core::condition::Truth::True).await;
    harness.add_project("web").await;
    harness.add_project("other").await;
    for project in ["web", "other"] {
        let path = format!("/v1/projects/{project}/volumes");
        let body = json!({"name": format!("v-{project}"), "spec": {"size": 512}});
        answer(harness.ask(Method::POST, &path).json(&body)).await;
    }
    let (id, member) = harness.token(json!({"role": "member", "project": "web"})).await;
    let asked = |path: &str| harness.bare(Method::GET, path).bearer_auth(&member);
    let (_, events) = answer(asked("/v1/events")).await;
    let about: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["subject"]["project"].as_str().unwrap())
        .collect();
    assert!(
        !about.is_empty() && about.iter().all(|project| *project == "web"),
        "{events}"
    );
    for path in [
        "/v1/watch?kinds=nodes",
        "/v1/watch?project=other",
        "/v1/watch?kinds=plugins&project=web",
    ] {
        harness.refused(asked(path)).await.is(Code::Forbidden);
    }

    // All that a watch tells before its first mark of progress; then it ends with its token.
    let mut watch = asked("/v1/watch").send().await.unwrap();
    assert_eq!(watch.status(), 200);
    let mut told = String::new();
    let mut revoked = false;
    while let Some(piece) = tokio::time::timeout(PATIENCE, watch.chunk()).await.unwrap().unwrap() {
        told.push_str(std::str::from_utf8(&piece).unwrap());
        if told.contains("event: bookmark") && !revoked {
            revoked = true;
            let path = format!("/v1/tokens/{id}");
            answer(harness.ask(Method::DELETE, &path)).await;
        }
    }
    assert!(
        told.contains("v-web") && !told.contains("v-other") && !told.contains("\"n1\""),
        "{told}"
    );
    assert!(told.contains("event: error") && told.contains("unauthorized"), "{told}");
    harness.refused(asked("/v1/events")).await.is(Code::Unauthorized);
    harness.stop().await;
}

#[tokio::test]
async fn another_manager_knows_a_new_token_at_once_and_a_revoked_one_soon() {
    let harness = Harness::start().await;
    let stop = CancellationToken::new();
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        control_socket: None,
        tokens: Tokens {
            client: "another".into(),
            agent: Some(AGENT_TOKEN.into()),
        },
        tls: None,
        plain: true,
        advertise: None,
        manager: "m2".parse().unwrap(),
        audit_log: None,
        limits: Limits::default(),
    };
    let other = serve(
        config,
        harness.store.clone(),
        Arc::new(Always(harness.loops.clone())),
        stop.clone(),
    )
    .await
    .unwrap();
    let ask = async |token: &str| {
        let url = format!("http://{}/v1/nodes", other.address());
        let request = harness.bare(Method::GET, "/").bearer_auth(token).build().unwrap();
        let mut request = request;
        *request.url_mut() = url.parse().unwrap();
        harness.http().execute(request).await.unwrap().status().as_u16()
    };
    assert_eq!(
        ask(CLIENT_TOKEN).await,
        401,
        "that of a manager's folder is for that manager"
    );
    let (id, text) = harness.token(json!({"role": "viewer"})).await;
    assert_eq!(ask(&text).await, 200);
    let path = format!("/v1/tokens/{id}");
    answer(harness.ask(Method::DELETE, &path)).await;
    let refused = async {
        while ask(&text).await != 401 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    stop.cancel();
    other.stopped().await;
    harness.stop().await;
}

#[tokio::test]
async fn tokens_of_no_use_go_when_another_is_made() {
    let harness = Harness::start().await;
    let (id, _) = harness.token(json!({"role": "viewer", "expires_in_seconds": 60})).await;
    let key = keys::token(id.parse().unwrap());
    let load = async || harness.store.get(&key.clone().into(), None).await.unwrap();
    let mut token: symphony_core::token::Token = record::decode(&load().await.unwrap().value).unwrap();
    token.expires_at = Some(symphony_core::Timestamp::from_second(1_000).unwrap());
    symphony_store::StoreExt::put(&*harness.store, key.clone(), record::encode(&token).unwrap())
        .await
        .unwrap();
    harness.token(json!({"role": "viewer"})).await;
    assert!(load().await.is_none());
    harness.stop().await;
}
