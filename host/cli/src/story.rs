//! What happened to a machine and to what belongs to it, as lines for people. Text out; never asks anybody.

use std::time::Duration;

use jiff::Timestamp;
use symphony_api::v1::{Event, Machine};

use crate::table::plain;

/// The detail of an event that says how long something took, in milliseconds.
const TOOK: &str = "took_ms";
/// The detail of an event of another object that belongs to machines: their names, with commas.
const MACHINE: &str = "machine";

/// The events of one machine and of its volumes.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    project: String,
    name: String,
    id: String,
    /// Ids of its volumes.
    volumes: Vec<String>,
    began: Timestamp,
}

impl Story {
    /// Of a machine; times count from `began`.
    pub(crate) fn of(machine: &Machine, began: Timestamp) -> Self {
        Self {
            project: machine.meta.project.clone(),
            name: machine.meta.name.clone(),
            id: machine.meta.id.to_string(),
            volumes: machine
                .spec
                .volumes
                .iter()
                .map(|volume| volume.id.to_string())
                .collect(),
            began,
        }
    }

    /// The line of an event, when it belongs to this story.
    pub(crate) fn line(&self, event: &Event) -> Option<String> {
        if !self.has(event) {
            return None;
        }
        let since = event.at.duration_since(self.began).max(jiff::SignedDuration::ZERO);
        let subject = format!("{}/{}", event.subject.kind, event.subject.name);
        let line = format!(
            "+{:<7} {subject:24}  {}",
            span(since.unsigned_abs()),
            with_duration(event)
        );
        Some(plain(&line))
    }

    /// Whether an event belongs to it.
    pub(crate) fn has(&self, event: &Event) -> bool {
        let subject = &event.subject;
        if self.volumes.contains(&subject.id) {
            return true;
        }
        if subject.kind == MACHINE && !subject.id.is_empty() {
            return subject.id == self.id;
        }
        let own = subject.project.as_ref().is_none_or(|project| *project == self.project);
        own && belongs(event, &self.name)
    }
}

/// Whether an event is about the machine of this name, or about something that belongs to it.
pub(crate) fn belongs(event: &Event, machine: &str) -> bool {
    let itself = event.subject.kind == MACHINE && event.subject.name == machine;
    let of = event.details.get(MACHINE);
    itself || of.is_some_and(|names| names.split(',').any(|name| name == machine))
}

/// How long what an event tells of took, when it says so.
pub(crate) fn took(event: &Event) -> Option<String> {
    let milliseconds = event.details.get(TOOK)?.parse().ok()?;
    Some(span(Duration::from_millis(milliseconds)))
}

/// Its message, with how long it took behind it, when it does not say so itself.
pub(crate) fn with_duration(event: &Event) -> String {
    match took(event) {
        Some(took) if !event.message.contains(" took ") => format!("{} ({took})", event.message),
        _ => event.message.clone(),
    }
}

/// A short span of time: `320ms`, `1.2s`, `75s`, `12m`.
fn span(span: Duration) -> String {
    match span.as_millis() {
        milliseconds @ 0..1_000 => format!("{milliseconds}ms"),
        milliseconds @ 1_000..60_000 => format!("{}.{}s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        milliseconds @ 60_000..600_000 => format!("{}s", milliseconds / 1_000),
        milliseconds => format!("{}m", milliseconds / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::samples::machine;

    const ID: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

    fn event(kind: &str, name: &str, id: &str, details: &serde_json::Value) -> Event {
        serde_json::from_value(serde_json::json!({
            "kind": "event", "id": ID, "at": "2026-11-23T11:55:01.250Z", "severity": "Normal", "reason": "image-written",
            "subject": {"kind": kind, "project": "default", "name": name, "id": id}, "message": "tiny is written",
            "details": details, "revision": 3,
        }))
        .unwrap()
    }

    fn story() -> Story {
        Story::of(&machine(), "2026-11-23T11:55:00Z".parse().unwrap())
    }

    #[test]
    fn volumes_are_known_by_their_ids_too() {
        let id = machine().spec.volumes[0].id.to_string();
        assert!(story().has(&event("volume", "web1-root", &id, &serde_json::json!({}))));
    }

    #[test]
    fn a_machine_and_its_volumes_are_told_with_times() {
        let volume = event(
            "volume",
            "web1-root",
            "x",
            &serde_json::json!({"machine": "web1", "took_ms": "1234"}),
        );
        assert_eq!(
            story().line(&volume).unwrap(),
            "+1.2s    volume/web1-root          tiny is written (1.2s)"
        );
        let mut said = volume;
        said.message = "allocate took 1234 ms".to_owned();
        assert!(story().line(&said).unwrap().ends_with("took 1234 ms"), "once is enough");
        let machine = event("machine", "web1", ID, &serde_json::json!({}));
        assert_eq!(
            story().line(&machine).unwrap(),
            "+1.2s    machine/web1              tiny is written"
        );
    }

    #[test]
    fn what_belongs_to_others_is_not_told() {
        let nobodys = serde_json::json!({});
        let of_web1 = serde_json::json!({"machine": "web0,web1"});
        assert_eq!(story().line(&event("volume", "web1", "x", &nobodys)), None);
        assert_eq!(
            story().line(&event("machine", "web1", "another", &nobodys)),
            None,
            "one of the same name that was there before"
        );
        let mut foreign = event("volume", "web1-root", "x", &of_web1);
        foreign.subject.project = Some("other".to_owned());
        assert_eq!(story().line(&foreign), None);
    }

    #[test]
    fn spans_are_short_and_nonsense_is_no_duration() {
        let of = |ms| span(Duration::from_millis(ms));
        assert_eq!(
            [of(0), of(999), of(1_000), of(59_999), of(75_000), of(720_000)],
            ["0ms", "999ms", "1.0s", "59.9s", "75s", "12m"]
        );
        assert_eq!(
            took(&event("volume", "a", "x", &serde_json::json!({"took_ms": "soon"}))),
            None
        );
    }
}
