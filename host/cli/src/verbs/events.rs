//! `symphony events`: what happened.

use std::str::FromStr;

use clap::Args;
use symphony_api::client::{ListQuery, WatchQuery};
use symphony_api::v1::{Action, Event, Kind, Object};
use symphony_api::{Client, PAGE_MAX};

use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;
use crate::rows::{moment, severity};
use crate::story::{Story, belongs, with_duration};
use crate::table::plain;
use crate::target::Target;

/// The kinds that events are about, and what they are called too.
const KINDS: [(&str, &str); 9] = [
    ("machine", "machine"),
    ("vm", "machine"),
    ("volume", "volume"),
    ("image", "image"),
    ("network", "network"),
    ("net", "network"),
    ("node", "node"),
    ("plugin", "plugin"),
    ("slot", "slot"),
];
/// Longest name of what events are about.
const NAME_BYTES_MAX: usize = 256;

/// What `events` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  symphony events\n  symphony events machine/web1        # its story, with that of its volumes\n  symphony events volume/data --follow\n  symphony events --follow -o json | jq -r .message"
)]
pub struct EventsArgs {
    /// Only what is about this: machine/web1, volume/data, node/node-1, slot/scheduler/volume, …; a name or an id
    #[arg(value_name = "KIND/NAME")]
    about: Option<About>,
    /// Go on with what happens from now on, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest events to start with
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=2_000))]
    limit: u32,
}

/// What events are about. A machine's are those of what belongs to it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct About {
    kind: &'static str,
    name: String,
}

impl About {
    fn has(&self, event: &Event, project: &str) -> bool {
        let subject = &event.subject;
        if subject.project.as_deref().is_some_and(|own| own != project) {
            return false;
        }
        let itself = subject.kind == self.kind && (subject.name == self.name || subject.id == self.name);
        itself || self.kind == "machine" && belongs(event, &self.name)
    }
}

impl FromStr for About {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text
            .split_once('/')
            .filter(|(_, name)| !name.is_empty() && name.len() <= NAME_BYTES_MAX)
            .ok_or_else(|| format!("{text:?} is not of the form KIND/NAME, like machine/web1"))?;
        let known = KINDS.iter().find(|(word, _)| *word == kind);
        let kind = known.map(|(_, kind)| *kind).ok_or_else(|| {
            let words: Vec<_> = KINDS.iter().map(|(word, _)| *word).collect();
            format!("there are no events about a {kind:?}; there are {}", words.join(", "))
        })?;
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

/// Lists events, oldest first, and goes on with those to come.
pub(crate) async fn run(client: &Client, output: Output, args: &EventsArgs) -> Result<(), Failure> {
    let story = match &args.about {
        Some(about) if about.kind == "machine" => story(client, &about.name).await,
        _ => None,
    };
    let wanted = |event: &Event| {
        let about = args.about.as_ref();
        story.as_ref().is_some_and(|story| story.has(event))
            || about.is_none_or(|about| about.has(event, client.project()))
    };
    let (events, revision) = newest(client, args.limit, &wanted).await?;
    if !args.follow {
        return output.list(&events);
    }
    for event in &events {
        show(output, event)?;
    }
    let query = WatchQuery {
        kinds: vec![Kind::Event],
        from: Some(revision),
    };
    let lost = |error| failure("follow the events", error);
    let mut watch = client.watch(&query).await.map_err(lost)?;
    loop {
        let told = watch.next().await.map_err(lost)?;
        if let (Action::Put, Some(Object::Event(event))) = (told.action, told.object)
            && wanted(&event)
        {
            show(output, &event)?;
        }
    }
}

/// What belongs to a machine that is there: its volumes by their ids. One that is gone is known by its name alone.
async fn story(client: &Client, machine: &str) -> Option<Story> {
    let target: Target = machine.parse().ok()?;
    let machine = client.machine(target.as_str()).await.ok()?;
    let began = machine.meta.created_at;
    Some(Story::of(&machine, began))
}

/// The newest events of those wanted, oldest first, and the revision up to which they tell everything.
async fn newest(client: &Client, limit: u32, wanted: &impl Fn(&Event) -> bool) -> Result<(Vec<Event>, u64), Failure> {
    let mut query = ListQuery {
        limit: Some(PAGE_MAX),
        ..ListQuery::default()
    };
    let (mut events, mut revision) = (Vec::new(), None);
    loop {
        let page = client
            .events(&query)
            .await
            .map_err(|error| failure("list the events", error))?;
        // That of the first page: what came while the others were read is told by the watch.
        revision.get_or_insert(page.revision);
        events.extend(page.items.into_iter().filter(wanted));
        if page.next_page_token.is_none() || events.len() >= limit as usize {
            break;
        }
        query.page_token = page.next_page_token;
    }
    events.truncate(limit as usize);
    events.reverse();
    Ok((events, revision.unwrap_or_default()))
}

fn show(output: Output, event: &Event) -> Result<(), Failure> {
    output.item(event, &line(event), &event.id.to_string())
}

fn line(event: &Event) -> String {
    let subject = format!("{}/{}", event.subject.kind, event.subject.name);
    let text = format!(
        "{}  {:7}  {:16}  {subject:24}  {}",
        moment(event.at),
        severity(event.severity),
        event.reason,
        with_duration(event)
    );
    plain(&text) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        serde_json::from_value(serde_json::json!({
            "kind": "event", "id": "0192f0c1-2345-7abc-8def-0123456789ab", "at": "2026-11-23T11:55:00.123Z", "severity": "Normal",
            "reason": "placed", "subject": {"kind": "volume", "name": "data"}, "message": "on node-1\nby spread", "revision": 3,
        }))
        .unwrap()
    }

    #[test]
    fn one_event_is_one_line() {
        let mut event = event();
        let text = "2026-11-23T11:55:00Z  Normal   placed            volume/data               on node-1?by spread";
        assert_eq!(line(&event), format!("{text}\n"));
        event.details.insert("took_ms".into(), "2500".into());
        assert_eq!(line(&event), format!("{text} (2.5s)\n"));
    }

    #[test]
    fn a_machine_has_its_own_events_and_those_of_its_volumes() {
        let about = |text: &str| text.parse::<About>().unwrap();
        let mut event = event();
        (event.subject.project, event.subject.id) = (Some("default".into()), "an-id".into());
        let has = |event: &Event, text: &str| about(text).has(event, "default");
        assert!(has(&event, "volume/data") && has(&event, "volume/an-id"));
        assert!(!has(&event, "volume/other") && !has(&event, "machine/data") && !has(&event, "machine/web1"));
        assert!(!about("volume/data").has(&event, "lab"), "another project's");
        event.details.insert("machine".into(), "web1".into());
        assert!(has(&event, "machine/web1") && has(&event, "vm/web1") && !has(&event, "node/web1"));
        event.subject.kind = "machine".into();
        event.subject.name = "web1".into();
        assert!(has(&event, "machine/web1") && has(&event, "machine/an-id"));
    }

    #[test]
    fn subjects_are_checked() {
        assert_eq!(
            "slot/scheduler/volume".parse::<About>().unwrap().name,
            "scheduler/volume"
        );
        for wrong in [
            "",
            "web1",
            "machine/",
            "/web1",
            "pod/web1",
            &format!("machine/{}", "x".repeat(257)),
        ] {
            assert!(wrong.parse::<About>().is_err(), "{wrong}");
        }
    }
}
