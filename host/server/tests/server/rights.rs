//! Who may do what: the table against the document, and every operation against every kind of principal.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use symphony_api::Code;
use symphony_core::digest::Digest;
use symphony_core::token::{ApiRole, Token, TokenId, TokenKind, TokenText};
use symphony_core::{Timestamp, keys, record};
use symphony_store::StoreExt as _;

use crate::harness::{AGENT_TOKEN, CLIENT_TOKEN, Harness};
use crate::openapi::routes;

#[test]
fn every_operation_has_a_right_and_there_are_no_others() {
    let of_document: BTreeSet<(String, String)> = routes()
        .into_iter()
        .map(|(method, path)| (method.to_string(), path))
        .collect();
    let of_table: BTreeSet<(String, String)> = symphony_server::rights()
        .into_iter()
        .map(|(method, path, _)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(of_document, of_table);
}

/// A path with its parameters filled in.
fn filled(path: &str) -> String {
    path.replace("{role}", "scheduler")
        .replace("{kind}", "volume")
        .replace("{project}", "web")
        .replace(['{', '}'], "")
}

/// A token as it lies in the store, that has expired.
async fn expired(harness: &Harness) -> String {
    let text = TokenText::new(TokenId::new([7; 8]), [8; 16], None);
    let token = Token {
        id: text.id(),
        kind: TokenKind::Api {
            role: ApiRole::Admin,
            project: None,
        },
        name: String::new(),
        secret_sha256: Digest::new(Sha256::digest(text.secret_hex()).into()),
        expires_at: Some(Timestamp::from_second(1_000).unwrap()),
        uses_left: None,
        created_by: "a test".into(),
        created_at: Timestamp::from_second(1).unwrap(),
    };
    let written = record::encode(&token).unwrap();
    harness.store.put(keys::token(token.id), written).await.unwrap();
    text.to_string()
}

/// A principal: its name, its token, and what it may; nothing: it is not let in at all.
type Asker = (&'static str, Option<String>, Option<&'static [&'static str]>);

async fn askers(harness: &Harness) -> Vec<Asker> {
    let token = async |role: &str, project: Option<&str>| {
        let made = harness.token(json!({"role": role, "project": project})).await;
        Some(made.1)
    };
    let (id, revoked) = harness.token(json!({"role": "admin"})).await;
    let path = format!("/v1/tokens/{id}");
    crate::harness::json(harness.ask(Method::DELETE, &path)).await;
    let member = token("member", Some("web")).await.unwrap();
    let wrong_secret = {
        let end = if member.contains("0.") { '1' } else { '0' };
        let cut = member.trim_end_matches('.');
        format!("{}{end}.", &cut[..cut.len() - 1])
    };
    assert_ne!(wrong_secret, member);
    vec![
        ("nobody", None, None),
        ("made up", Some("made-up".into()), None),
        (
            "of another cluster",
            Some(format!("sym1.{}.{}.", "0a".repeat(8), "0b".repeat(16))),
            None,
        ),
        ("wrong secret", Some(wrong_secret), None),
        ("expired", Some(expired(harness).await), None),
        ("revoked", Some(revoked), None),
        ("joins", token("block", None).await, Some(&[])),
        ("agent", Some(AGENT_TOKEN.into()), Some(&["agent"])),
        (
            "viewer of web",
            token("viewer", Some("web")).await,
            Some(&["any", "read"]),
        ),
        (
            "viewer of another",
            token("viewer", Some("other")).await,
            Some(&["any"]),
        ),
        (
            "member of another",
            token("member", Some("other")).await,
            Some(&["any"]),
        ),
        ("member of web", Some(member), Some(&["any", "read", "write"])),
        (
            "viewer of all",
            token("viewer", None).await,
            Some(&["any", "read", "read-all"]),
        ),
        (
            "operator",
            token("operator", None).await,
            Some(&["any", "read", "write", "read-all", "operate"]),
        ),
        (
            "admin",
            token("admin", None).await,
            Some(&["any", "read", "write", "read-all", "operate", "admin"]),
        ),
        (
            "client.toml",
            Some(CLIENT_TOKEN.into()),
            Some(&["any", "read", "write", "read-all", "operate", "admin"]),
        ),
    ]
}

#[tokio::test]
async fn every_operation_lets_in_whom_the_table_says_and_nobody_else() {
    let harness = Harness::start().await;
    harness.add_project("web").await;
    harness.add_project("other").await;
    for (name, token, rights) in askers(&harness).await {
        for (method, path, right) in symphony_server::rights() {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = harness.bare(method.clone(), &filled(path));
            if let Some(token) = &token {
                request = request.bearer_auth(token);
            }
            let place = format!("{name}: {method} {path} ({right})");
            let wanted = match rights {
                _ if right == "open" => None,
                None => Some(Code::Unauthorized),
                Some(rights) if rights.contains(&right) => None,
                Some(_) => Some(Code::Forbidden),
            };
            match wanted {
                Some(code) => {
                    let problem = harness.refused(request).await;
                    assert_eq!(problem.code, code, "{place}: {:?}", problem.problem);
                }
                None => {
                    // Whatever it says, it says past the gate.
                    let status = request.send().await.unwrap().status();
                    assert!(![401, 403].contains(&status.as_u16()), "{place}: {status}");
                }
            }
        }
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_refusal_says_what_would_be_needed() {
    let harness = Harness::start().await;
    harness.add_project("web").await;
    let (id, viewer) = harness
        .token(json!({"role": "viewer", "project": "web", "name": "ci"}))
        .await;
    let asked = |method, path: &str| harness.bare(method, path).bearer_auth(&viewer);
    let request = asked(Method::DELETE, "/v1/projects/web/volumes/v");
    let problem = harness.refused(request).await.is(Code::Forbidden);
    let wanted =
        format!("this needs a member of project web, or an operator, and token ci ({id}) is a viewer of project web");
    assert_eq!(problem.detail, wanted);
    // However it is written, it is another project.
    for path in [
        "/v1/projects/other/volumes",
        "/v1/projects/%77eb/volumes",
        "/v1/projects/web2/volumes",
    ] {
        harness.refused(asked(Method::GET, path)).await.is(Code::Forbidden);
    }
    // What only a manager can say by its certificate, nobody else can.
    let admin = r#"{"who":"me","rights":{"api":{"role":"admin","project":null}},"token":null}"#;
    let claimed = asked(Method::GET, "/v1/nodes").header("x-symphony-principal", admin);
    harness.refused(claimed).await.is(Code::Forbidden);
    let claimed = harness
        .bare(Method::GET, "/v1/nodes")
        .header("x-symphony-principal", admin);
    harness.refused(claimed).await.is(Code::Unauthorized);
    // A path that is not there, and a method that is not taken, are no secrets.
    harness
        .refused(asked(Method::GET, "/v1/nothing"))
        .await
        .is(Code::NotFound);
    harness
        .refused(asked(Method::PUT, "/v1/nodes"))
        .await
        .is(Code::MethodNotAllowed);
    harness
        .refused(harness.bare(Method::PUT, "/v1/nodes"))
        .await
        .is(Code::Unauthorized);
    harness
        .refused(harness.bare(Method::GET, "/healthz/"))
        .await
        .is(Code::Unauthorized);
    harness.stop().await;
}
