//! The document: committed, whole, and true about who is let in.

use std::path::PathBuf;

use reqwest::Method;

use crate::harness::Harness;

/// Every operation of the document.
pub(crate) fn routes() -> Vec<(Method, String)> {
    let document = serde_json::to_value(symphony_server::openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes())
                && !method.is_safe() | (method == Method::GET)
            {
                routes.push((method, path.clone()));
            }
        }
    }
    assert!(routes.len() >= 28, "{routes:?}");
    routes
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../api/openapi.json");
    let document = symphony_server::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "host/api/openapi.json is out of date: run UPDATE_OPENAPI=1 cargo test -p symphony-server --test server openapi"
    );
}

#[tokio::test]
async fn the_document_is_served_and_describes_problems() {
    let harness = Harness::start().await;
    let (_, document) = crate::harness::json(harness.ask(Method::GET, "/openapi.json")).await;
    assert_eq!(document, serde_json::to_value(symphony_server::openapi()).unwrap());
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for schema in [
        "Problem",
        "Volume",
        "Image",
        "Node",
        "Plugin",
        "Slot",
        "Event",
        "Service",
        "WatchedObject",
        "Explanation",
        "Preview",
    ] {
        assert!(schemas.contains_key(schema), "{schema}: {:?}", schemas.keys());
    }
    let text = document.to_string();
    let ids: Vec<&str> = text
        .split("\"operationId\":\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(ids.len(), routes().len());
    assert_eq!(
        ids.iter().collect::<std::collections::HashSet<_>>().len(),
        ids.len(),
        "{ids:?}"
    );
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to and missing");
    }
    harness.stop().await;
}
