//! The form of server-sent events.

use bytes::Bytes;
use serde::Serialize;
use symphony_api::Problem;
use symphony_api::v1::{Action, Object};
use symphony_store::Revision;

/// A sign of life: a comment, which readers pass over.
pub(super) fn heartbeat() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// An object and what happened to it. The id is there when nothing more of its revision follows.
pub(super) fn change(action: Action, object: &Object, id: Option<Revision>) -> Result<Bytes, serde_json::Error> {
    event(action.as_str(), object, id)
}

/// All up to this revision was told.
pub(super) fn bookmark(revision: Revision) -> Bytes {
    Bytes::from(format!(
        "event: bookmark\nid: {revision}\ndata: {{\"revision\":{revision}}}\n\n"
    ))
}

/// The end of a watch, and why.
pub(super) fn error(problem: &Problem) -> Result<Bytes, serde_json::Error> {
    event("error", problem, None)
}

fn event(kind: &str, data: &impl Serialize, id: Option<Revision>) -> Result<Bytes, serde_json::Error> {
    // JSON as it is written here has no line breaks, so it is one line of data.
    let data = serde_json::to_string(data)?;
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Ok(Bytes::from(format!("event: {kind}\n{id}data: {data}\n\n")))
}
